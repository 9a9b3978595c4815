"""RTP (RFC 3550) with G.711 and telephone events (RFC 4733): one call's audio, paced every 20 ms."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from contextlib import ExitStack

from loguru import logger

from pipelines.media.conceal import Concealer
from pipelines.media.jitter import AudioPacket, JitterBuffer, signed_distance
from pipelines.media.pace import Pace
from pipelines.phone import g711
from pipelines.phone.line import LINE_HZ, PACKET_SAMPLES, PhoneLine
from pipelines.phone.sip_message import MediaOffer

_HEADER = struct.Struct("!BBHII")
_VERSION = 0x80
_MARKER = 0x80
_EVENT_END = 0x80
_DIGITS = "0123456789*#ABCD"
_COMFORT_NOISE = 13  # RFC 3389: a phone that sends no silence tells what it sounds like
_LONGEST_GAP_SAMPLES = LINE_HZ  # a longer silence is a hold, not a loss
_QUIET_LINE_S = 0.2
_SILENT_LINE_S, _HELD_LINE_S = 30.0, 600.0
_MOVES_AFTER_S = 2.0  # while the caller is heard, nobody else is


class RtpSession(asyncio.DatagramProtocol):
    """Both directions of one call.

    Attributes:
        port: Local UDP port.
        lost: Packets that never came.
    """

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._offer: MediaOffer | None = None
        self._line: PhoneLine | None = None
        self._hosts: set[str] = set()
        self._described: tuple[str, int] = ("", 0)
        self._remote = self._described
        self._source: int | None = None  # the stream that is heard; its numbers are its own
        self._jitter = JitterBuffer()
        self._concealer = Concealer(LINE_HZ)
        self._expected: int | None = None
        self._last_event: int | None = None
        self._filled_samples = 0  # stood for audio that may still come
        self._heard_s = self._sound_s = 0.0
        self._stays_until_s = 0.0
        self.port = 0

    async def open(self, host: str, caller: str) -> None:
        """Bind a free port; `send_to` must say what goes over it before anybody talks.

        Args:
            host: Address to bind it on.
            caller: The address that the call came from.
        """
        self._hosts = {caller}
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=_even_port(host))
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def send_to(self, offer: MediaOffer) -> None:
        """Send where and as the other side now wants to hear us; saying it again changes nothing."""
        known, self._offer = self._offer is not None, offer
        self._heard_s = asyncio.get_running_loop().time()  # a long hold may have ended
        if (offer.host, offer.port) == self._described:
            return
        self._hosts.add(offer.host)
        self._remote = self._described = (offer.host, offer.port)
        if known:  # packets from where it was are still under way
            self._stays_until_s = self._heard_s + _MOVES_AFTER_S

    def close(self) -> None:
        """Free the port. Idempotent."""
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One packet. Whatever is not ours is ignored: the port is open to anyone."""
        if self._line is None or self._offer is None or len(data) < _HEADER.size:
            return
        first, kind, sequence, timestamp, source = _HEADER.unpack_from(data)
        start = _HEADER.size + 4 * (first & 15)
        if first & 0x10 and len(data) >= start + 4:  # header extension
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        payload, kind = data[start:], kind & 0x7F
        if first >> 6 != 2 or not payload:
            return
        ours = (self._offer.payload_type, self._offer.dtmf_type, _COMFORT_NOISE)
        if kind not in ours or not self._is_from(addr):
            return
        self._heard_s = asyncio.get_running_loop().time()
        self._stays_until_s = self._heard_s + _MOVES_AFTER_S
        if kind == self._offer.dtmf_type:
            self._take_event(payload, timestamp)
        if kind != self._offer.payload_type:
            return
        self._sound_s = self._heard_s
        if source != self._source:
            self._source, self._jitter, self._expected = source, JitterBuffer(), None
        for packet in self._jitter.add(AudioPacket(sequence, timestamp, payload)):
            self._hear(packet)

    def _is_from(self, addr: tuple[str, int]) -> bool:
        """Whether the other side sends from there, perhaps since just now.

        Symmetric RTP: behind NAT the address in the description is not where its audio comes from.
        """
        if addr == self._remote:
            return True
        now_s = asyncio.get_running_loop().time()
        if addr[0] not in self._hosts or now_s < self._stays_until_s:
            return False
        self._remote = addr
        return True

    def _take_event(self, payload: bytes, timestamp: int) -> None:
        """A key: its end is sent three times with the same timestamp."""
        assert self._line is not None
        if len(payload) >= 4 and payload[1] & _EVENT_END and timestamp != self._last_event:
            self._last_event = timestamp
            if payload[0] < len(_DIGITS):
                self._line.key(_DIGITS[payload[0]])

    def _hear(self, packet: AudioPacket) -> None:
        assert self._line is not None
        assert self._offer is not None
        if not self._offer.listens:
            self._expected = None
            return
        if self._expected is not None:
            gap = signed_distance(packet.timestamp, self._expected, 32) - self._filled_samples
            if 0 < gap <= _LONGEST_GAP_SAMPLES:
                self._line.hear(self._concealer.fill(gap))
        self._filled_samples = 0
        pcm = g711.decode(packet.payload, self._offer.law)
        self._concealer.heard(pcm)
        self._line.hear(pcm)
        self._expected = packet.timestamp + len(pcm) & 0xFFFFFFFF

    async def talk(self, line: PhoneLine) -> None:
        """Talk until nothing has come for 30 s, or ten minutes on hold: the other side is gone.

        One packet leaves every 20 ms, silence included: it keeps NAT open. As many are heard: a phone
        that sends no silence must not stop the conversation's clock. Audio that came before is not
        for the conversation. On hold nothing leaves and the music is not the caller: the conversation
        stands still, and goes on at the very sample where it was.
        """
        self._line = line
        assert self._offer is not None
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        sequence, timestamp = random.randrange(1 << 16), random.randrange(1 << 32)
        source, marker, pace = random.randrange(1 << 32), _MARKER, Pace()
        self._heard_s = self._sound_s = loop.time()
        while loop.time() - self._heard_s <= self._patience_s:
            skipped = await pace.turn()
            timestamp = timestamp + (1 + skipped) * PACKET_SAMPLES & 0xFFFFFFFF
            if skipped:  # or the other side would take all that follows for late
                marker = _MARKER
            if not self._offer.listens:
                marker = _MARKER
                continue
            if loop.time() - self._sound_s > _QUIET_LINE_S:
                self._filled_samples += PACKET_SAMPLES
                line.hear(self._concealer.fill(PACKET_SAMPLES))
            payload = g711.encode(line.pull(), self._offer.law)
            kind, marker = self._offer.payload_type | marker, 0
            header = _HEADER.pack(_VERSION, kind, sequence, timestamp, source)
            self._transport.sendto(header + payload, self._remote)
            sequence = sequence + 1 & 0xFFFF
        logger.info("a phone line fell silent for {} s", self._patience_s)

    @property
    def _patience_s(self) -> float:
        assert self._offer is not None
        return _SILENT_LINE_S if self._offer.direction == "sendrecv" else _HELD_LINE_S


def _even_port(host: str) -> socket.socket:
    """A free port for RTP: old phones take an odd one for the even one below it (RFC 3550 11)."""
    with ExitStack() as odd:  # held until then, so that none is offered twice
        while True:
            found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            found.bind((host, 0))
            if found.getsockname()[1] % 2 == 0:
                return found
            odd.enter_context(found)
