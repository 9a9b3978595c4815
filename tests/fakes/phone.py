"""A softphone: places a SIP call, talks G.711 over RTP in real time, records what it hears."""

import asyncio
import re
import struct

import numpy as np

from pipelines.phone import g711
from pipelines.phone.sip_message import SipMessage, parse

LINE_HZ = 8_000


class Phone:
    """One call.

    Attributes: `answers` status codes received, `answer` the last of them to an INVITE, `heard` float32
    pieces, `hung_up`, `referred` the requests to call somebody else.
    """

    def __init__(self, server, *, law="PCMA", codecs=None, lose_every=0):
        self.server = server
        self.law = law
        self.lose_every = lose_every
        self.codecs = codecs or ("8 101" if law == "PCMA" else "0 101")
        self.answers = []
        self.answer = None
        self.heard = []
        self.hung_up = asyncio.Event()
        self.acknowledges_refusals = True
        self.contact = self.behind = ""  # for a proxy: the phone's address, the phone's Via
        self.caller = ""  # in place of its own address
        self.more_headers = []
        self.referred = []
        self.takes_referrals = 202
        self._final = asyncio.Event()
        self._to = f"<sip:agent@{server[0]}:{server[1]}>"
        self._speech = np.zeros(0, np.float32)
        self._keys = []
        self._presses = 0

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._rtp, _ = await loop.create_datagram_endpoint(
            lambda: _Port(self._on_rtp), ("127.0.0.1", 0)
        )
        self._sip, _ = await loop.create_datagram_endpoint(
            lambda: _Port(self._on_sip), ("127.0.0.1", 0)
        )
        return self

    async def __aexit__(self, *_):
        if getattr(self, "_clock", None):
            self._clock.cancel()
        self._sip.close()
        self._rtp.close()

    async def dial(self, *, ack=True):
        """Place the call; returns the final status."""
        self.invite()
        await asyncio.wait_for(self._final.wait(), 10)
        if self.answers[-1] == 200 and ack:
            self._send("ACK")
            self._clock = asyncio.create_task(self._talk())
        return self.answers[-1]

    @property
    def media_port(self):
        """Where it hears."""
        return self._rtp.get_extra_info("sockname")[1]

    def invite(self, cseq=1, port=None):
        """Ask for the call, to be heard at `port`, and wait for nothing."""
        port = port or self.media_port
        body = (
            f"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio {port} RTP/AVP {self.codecs}\r\n"
            "a=rtpmap:101 telephone-event/8000\r\n"
        )
        self._send("INVITE", body, cseq)

    def say(self, pcm):
        """Speak float32 at 8 kHz."""
        self._speech = np.concatenate([self._speech, pcm])

    def press(self, digit):
        """Press a key: its end event, three times."""
        self._presses += 1
        self._keys += [(self._presses, "0123456789*#".index(digit))] * 3

    def hang_up(self):
        """End the call."""
        self._send("BYE", cseq=2)

    def tell(self, fragment, cseq=2):
        """Tell how the call fares that was asked for by a REFER."""
        self._send("NOTIFY", fragment, cseq)

    def give_up(self):
        """Hang up before anybody answered."""
        self._send("CANCEL", branch="INVITE")

    def junk(self):
        """Send what is neither SIP nor RTP."""
        for data in (b"", b"\0", b"\xff" * 40, b"INVITE x\r\n\r\n", struct.pack("!BB", 0x80, 8)):
            self._sip.sendto(data, self.server)
            if getattr(self, "_media", None):
                self._rtp.sendto(data, self._media)

    def _send(self, method, body="", cseq=1, branch=""):
        host, port = self._sip.get_extra_info("sockname")
        message = SipMessage(
            f"{method} sip:agent@{self.server[0]} SIP/2.0",
            [
                (
                    "via",
                    f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK-{branch or method}-{cseq};rport",
                ),
                ("from", f"<{self.caller or f'sip:+4930555@{host}:{port}'}>;tag=phone"),
                ("to", self._to),
                ("call-id", f"call-{port}"),
                ("cseq", f"{cseq} {method}"),
                ("contact", self.contact or f"<sip:phone@{host}:{port}>"),
                *(("via", via) for via in [self.behind] if via),
                *self.more_headers,
            ],
            body,
        )
        self._sip.sendto(message.encode(), self.server)

    def _on_sip(self, data):
        message = parse(data)
        if message.method in ("BYE", "REFER"):
            status = 200 if message.method == "BYE" else self.takes_referrals
            if message.method == "BYE":
                self.hung_up.set()
            else:
                self.referred.append(message)
            if status:
                headers = [h for h in message.headers if h[0] != "contact"]
                reply = SipMessage(f"SIP/2.0 {status} Answered", headers)
                self._sip.sendto(reply.encode(), self.server)
            return
        status = int(message.start.split()[1])
        self.answers.append(status)
        if status >= 200 and "INVITE" in message.get("cseq"):
            self.answer = message
            if status == 200:
                self._to = message.get("to")
            found = re.search(r"c=IN IP4 (\S+)[^$]*m=audio (\d+)", message.body)
            if found:
                self._media = (found[1], int(found[2]))
            if status >= 300 and self.acknowledges_refusals:
                self._send("ACK", cseq=message.get("cseq").split()[0], branch="INVITE")
            self._final.set()

    def _on_rtp(self, data):
        self.heard.append(g711.decode(data[12:], self.law))

    async def _talk(self):
        loop = asyncio.get_running_loop()
        begun, n = loop.time(), 0
        kind = 8 if self.law == "PCMA" else 0
        while True:
            piece, self._speech = self._speech[:160], self._speech[160:]
            piece = np.pad(piece, (0, 160 - len(piece)))
            if not self.lose_every or n % self.lose_every:
                header = struct.pack("!BBHII", 0x80, kind, n & 0xFFFF, n * 160, 7)
                self._rtp.sendto(header + g711.encode(piece, self.law), self._media)
            if self._keys:
                press, key = self._keys.pop(0)
                event = struct.pack("!BBHII", 0x80, 101, n & 0xFFFF, press * 1_000, 7)
                self._rtp.sendto(event + bytes([key, 0x80, 0, 160]), self._media)
            n += 1
            await asyncio.sleep(max(0.0, begun + n * 0.020 - loop.time()))


class _Port(asyncio.DatagramProtocol):
    def __init__(self, on_data):
        self._on_data = on_data

    def datagram_received(self, data, addr):
        self._on_data(data)
