"""SIP messages (RFC 3261) and the session descriptions they carry (RFC 4566), as far as calls need."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from urllib.parse import unquote

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
_OUR_DTMF_TYPE = 101
_SIP_PORT = 5060
_MOST_PAYLOAD_TYPE = 127  # RFC 3550 5.1: seven bits
# What an answer says to each direction (RFC 3264 6.1).
_MIRRORED = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}
_NOWHERE = "0.0.0.0"  # how older phones say that they hold (RFC 3264 8.4)
_DEAF = {
    "sendrecv": "sendonly",
    "sendonly": "sendonly",
    "recvonly": "inactive",
    "inactive": "inactive",
}
_HOST = re.compile(r"^c=IN (IP\d \S+)", re.M)
_DIRECTION = re.compile(r"^a=(sendrecv|sendonly|recvonly|inactive)\b", re.M)


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
    """The user or number of an address, bare: `<sip:%2B4930;npdi@host>` and `tel:+4930` → `+4930`."""
    found = re.search(r"\bsips?:([^@;:>\s]+)[^@>\s]*@|\btel:([^;>\s]+)", address)
    return unquote(found[1] or found[2]) if found else ""


def domain_of(address: str) -> str:
    """Host of a SIP address, with its port if it names one."""
    found = re.search(r"\bsips?:(?:[^@>\s]*@)?([^;?>\s]+)", address)
    return found[1] if found else ""


def address_of(uri: str) -> tuple[str, int] | None:
    """Host and port of a SIP address; None for a name that would have to be looked up."""
    found = re.match(r"sip:(?:[^@;>]*@)?(\d+\.\d+\.\d+\.\d+)(?::(\d+))?", uri)
    port = int(found[2] or _SIP_PORT) if found else 0
    return (found[1], port) if found and _is_reachable(found[1], port) else None


def way_back(request: SipMessage, source: tuple[str, int]) -> tuple[str, int]:
    """Where a request from `source` is answered: there, or at the port it names (RFC 3261 18.2.2, 3581)."""
    via = request.get("via")
    sent_by = re.match(r"SIP/2\.0/UDP\s+[\w.-]+(?::(\d{1,5}))?\s*(?:[;,]|$)", via)
    if sent_by is None or re.search(r";\s*rport", via.split(",")[0]):
        return source
    port = int(sent_by[1] or _SIP_PORT)
    return (source[0], port) if _is_reachable(source[0], port) else source


def tag_of(party: str) -> str:
    """The tag in a From or To; empty without one."""
    found = re.search(r";\s*tag=([^;\s]+)", party.rpartition(">")[2])
    return found[1] if found else ""


def read_key(info: SipMessage) -> str:
    """The key of a telephone that an INFO tells of; empty when it tells of none."""
    found = re.search(r"^(?:Signal\s*=\s*)?([0-9*#A-D])\s*$", info.body, re.M)
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
        direction: `sendrecv`; on hold `sendonly` or `inactive`, for it hears nothing.
        declined_before: The offered m= lines before the chosen one, as an answer declines them.
        declined_after: Likewise those after it.
    """

    host: str
    port: int
    payload_type: int
    law: str
    dtmf_type: int | None
    direction: str = "sendrecv"
    declined_before: tuple[str, ...] = ()
    declined_after: tuple[str, ...] = ()

    @property
    def listens(self) -> bool:
        """Whether the other side wants to hear anything just now."""
        return self.direction in ("sendrecv", "recvonly")


def read_offer(sdp: str) -> MediaOffer | None:
    """The first G.711 stream of a description, in the order the caller prefers.

    Returns:
        None without one, or when nothing can be sent where it should go.
    """
    session, *streams = re.split(r"^(?=m=)", sdp, flags=re.M)
    host, direction = _first(_HOST, session), _first(_DIRECTION, session)
    declined = tuple(_declined(stream) for stream in streams)
    for place, stream in enumerate(streams):
        offer = _read_stream(stream, host, direction)
        if offer is not None:
            return replace(
                offer, declined_before=declined[:place], declined_after=declined[place + 1 :]
            )
    return None


def write_answer(offer: MediaOffer, host: str, port: int, session: int, version: int) -> str:
    """Accept an offer: where to send, the same codec back, and nothing else of what it offers."""
    audio = _audio(port, {offer.payload_type: offer.law}, offer.dtmf_type)
    direction = f"a={_MIRRORED[offer.direction]}"
    streams = [*offer.declined_before, *audio, direction, *offer.declined_after]
    return _description(host, session, version, streams)


def write_offer(agreed: MediaOffer | None, host: str, port: int, session: int, version: int) -> str:
    """Offer all that we speak, in the place of what was agreed before (RFC 3264 8)."""
    audio = [*_audio(port, _LAWS, _OUR_DTMF_TYPE), "a=sendrecv"]
    if agreed is not None:
        audio = [*agreed.declined_before, *audio, *agreed.declined_after]
    return _description(host, session, version, audio)


def _description(host: str, session: int, version: int, streams: list[str]) -> str:
    origin = f"o=- {session} {version} IN IP4 {host}"
    return "\r\n".join(["v=0", origin, "s=-", f"c=IN IP4 {host}", "t=0 0", *streams, ""])


def _audio(port: int, laws: dict[int, str], dtmf_type: int | None) -> list[str]:
    types = [*laws] + ([dtmf_type] if dtmf_type is not None else [])
    lines = [f"m=audio {port} RTP/AVP {' '.join(map(str, types))}"]
    lines += [f"a=rtpmap:{payload_type} {law}/8000" for payload_type, law in laws.items()]
    if dtmf_type is not None:
        lines += [f"a=rtpmap:{dtmf_type} telephone-event/8000", f"a=fmtp:{dtmf_type} 0-16"]
    return [*lines, "a=ptime:20"]


def _read_stream(stream: str, host: str, direction: str) -> MediaOffer | None:
    """An audio stream that we can serve; what it says itself goes before what is said for all."""
    # Not RTP/SAVP: whoever asks for encryption must not be answered in the clear.
    media = re.match(r"m=audio (\d{1,5}) RTP/AVP ([\d ]+)", stream)
    host = (_first(_HOST, stream) or host).removeprefix("IP4 ")
    if media is None or not _is_reachable(host, int(media[1])):
        return None
    direction = _first(_DIRECTION, stream) or direction or "sendrecv"
    if host == _NOWHERE:
        direction = _DEAF[direction]
    rtpmap = re.findall(r"^a=rtpmap:(\d{1,3}) ([\w-]+)/8000", stream, re.M)
    named = {int(payload_type): name.upper() for payload_type, name in rtpmap}
    numbers = map(int, re.findall(r"\b\d{1,3}\b", media[2]))
    offered = [payload_type for payload_type in numbers if payload_type <= _MOST_PAYLOAD_TYPE]
    for payload_type in offered:
        law = named.get(payload_type, _LAWS.get(payload_type, ""))
        if law in _LAWS.values():
            events = (p for p in offered if named.get(p) == "TELEPHONE-EVENT")
            return MediaOffer(host, int(media[1]), payload_type, law, next(events, None), direction)
    return None


def _first(pattern: re.Pattern[str], description: str) -> str:
    found = pattern.search(description)
    return found[1] if found else ""


def _declined(stream: str) -> str:
    """An offered m= line with port 0 (RFC 3264 6)."""
    return re.sub(r"^(m=\S+) \S+", r"\1 0", stream.split("\n")[0].rstrip("\r"))


def _is_reachable(host: str, port: int) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return 0 < port < 65_536


def _titled(name: str) -> str:
    special = {"call-id": "Call-ID", "cseq": "CSeq", "www-authenticate": "WWW-Authenticate"}
    return special.get(name, name.title())
