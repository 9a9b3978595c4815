"""SIP messages (RFC 3261) and the session descriptions they carry (RFC 4566), as far as calls need."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address

_COMPACT = {
    "c": "content-type",
    "f": "from",
    "i": "call-id",
    "l": "content-length",
    "m": "contact",
    "t": "to",
    "v": "via",
}
_LAWS = {0: "PCMU", 8: "PCMA"}
_MOST_PAYLOAD_TYPE = 127  # RFC 3550 5.1: seven bits


@dataclass(frozen=True)
class SipMessage:
    """A request or a response.

    Attributes:
        start: The start line.
        headers: (lower-case name, value), in order, compact names written out.
        body: What follows the headers.
    """

    start: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""

    @property
    def is_response(self) -> bool:
        """A response begins with the version."""
        return self.start.startswith("SIP/2.0")

    @property
    def method(self) -> str:
        """INVITE, ACK, BYE, …; empty for a response."""
        return "" if self.is_response else self.start.split(" ", 1)[0]

    def get(self, name: str) -> str:
        """The first value of a header; empty when it is absent."""
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        """All values of a header, in order."""
        return [value for key, value in self.headers if key == name]

    def encode(self) -> bytes:
        """As it goes over the wire, with its Content-Length."""
        lines = [self.start, *(f"{_titled(k)}: {v}" for k, v in self.headers)]
        body = self.body.encode()
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}"])
        return head.encode() + b"\r\n\r\n" + body


def parse(datagram: bytes) -> SipMessage | None:
    """Read a datagram; None when it is not SIP (a keep-alive, a scan, junk)."""
    head, _, body = datagram.decode("utf-8", "replace").partition("\r\n\r\n")
    lines = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
    if not re.fullmatch(r"(SIP/2\.0 \d{3} .*)|([A-Z]+ \S+ SIP/2\.0)", lines[0]):
        return None
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            headers.append((_COMPACT.get(name, name), value.strip()))
    message = SipMessage(lines[0], headers, body)
    return message if all(map(message.get, ("call-id", "cseq", "from", "to"))) else None


def user_of(address: str) -> str:
    """The user part of a SIP address: `"Ann" <sip:+4930@host>;tag=1` → `+4930`."""
    found = re.search(r"sips?:([^@;>]+)@", address)
    return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class MediaOffer:
    """What the other side wants to send and hear.

    Attributes:
        host: Where its RTP goes: an IPv4 address, never a name that would have to be looked up.
        port: Likewise.
        payload_type: Of G.711 in its RTP packets.
        law: `PCMU` or `PCMA`.
        dtmf_type: Payload type of telephone events; None when it sends none.
    """

    host: str
    port: int
    payload_type: int
    law: str
    dtmf_type: int | None


def read_offer(sdp: str) -> MediaOffer | None:
    """The first G.711 stream of a description, in the order the caller prefers.

    Returns:
        None without one, or when nothing can be sent where it should go.
    """
    media = re.search(r"^m=audio (\d{1,5}) \S+ ([\d ]+)", sdp, re.M)
    host = re.search(r"^c=IN IP4 (\S+)", sdp, re.M)
    if media is None or host is None or not _is_reachable(host[1], int(media[1])):
        return None
    rtpmap = re.findall(r"^a=rtpmap:(\d{1,3}) ([\w-]+)/8000", sdp, re.M)
    named = {int(payload_type): name.upper() for payload_type, name in rtpmap}
    numbers = map(int, re.findall(r"\b\d{1,3}\b", media[2]))
    offered = [payload_type for payload_type in numbers if payload_type <= _MOST_PAYLOAD_TYPE]
    for payload_type in offered:
        law = named.get(payload_type, _LAWS.get(payload_type, ""))
        if law in _LAWS.values():
            events = (p for p in offered if named.get(p) == "TELEPHONE-EVENT")
            return MediaOffer(host[1], int(media[1]), payload_type, law, next(events, None))
    return None


def write_answer(offer: MediaOffer, host: str, port: int, session: int) -> str:
    """Accept an offer: where to send, and the same codec back."""
    types = [offer.payload_type] + ([offer.dtmf_type] if offer.dtmf_type is not None else [])
    lines = [
        "v=0",
        f"o=- {session} {session} IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {' '.join(map(str, types))}",
        f"a=rtpmap:{offer.payload_type} {offer.law}/8000",
    ]
    if offer.dtmf_type is not None:
        lines += [
            f"a=rtpmap:{offer.dtmf_type} telephone-event/8000",
            f"a=fmtp:{offer.dtmf_type} 0-16",
        ]
    return "\r\n".join([*lines, "a=ptime:20", "a=sendrecv", ""])


def _is_reachable(host: str, port: int) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return 0 < port < 65_536


def _titled(name: str) -> str:
    special = {"call-id": "Call-ID", "cseq": "CSeq", "www-authenticate": "WWW-Authenticate"}
    return special.get(name, name.title())
