"""The jitter buffer: packets in order, released at once.

aiortc's own holds back 80 ms, and after one lost packet 280 ms for the rest of the call. One RTP
packet of audio is one frame, so nothing has to be collected: a packet that is in order leaves the
moment it comes, a gap is given up on after `hold` newer packets, and whatever waited drains at once.
"""

from __future__ import annotations

from dataclasses import dataclass

_SEQUENCE_BITS = 16
_RESTART_PACKETS = 250  # a jump of more than five seconds is a new stream, not a loss
_RESTART_RUN = 5  # so is a jump back from which nothing returns


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One RTP packet of audio.

    Attributes:
        sequence: RTP sequence number, 16 bits.
        timestamp: RTP timestamp in ticks of the codec's clock.
        payload: The encoded frame.
        payload_type: Which negotiated codec it is in.
    """

    sequence: int
    timestamp: int
    payload: bytes
    payload_type: int = 0


def signed_distance(newer: int, older: int, bits: int = _SEQUENCE_BITS) -> int:
    """How far `newer` lies ahead of `older` on a counter that wraps at 2**bits."""
    half = 1 << (bits - 1)
    return (newer - older + half) % (1 << bits) - half


class JitterBuffer:
    """Orders one stream's packets; never holds more than `hold` of them.

    Attributes:
        lost: Packets that never came, or came too late to be used.
        late: Packets that came after their place had been given up.
    """

    def __init__(self, hold: int = 2):
        """Create it.

        Args:
            hold: How many newer packets a gap is waited for: two are 40 ms, enough for reordering.
        """
        self.lost = 0
        self.late = 0
        self._hold = hold
        self._late_run = 0
        self._next: int | None = None
        self._waiting: dict[int, AudioPacket] = {}

    def add(self, packet: AudioPacket) -> list[AudioPacket]:
        """Take a packet in; return those that are now due, in order. A lost one is just missing."""
        if self._next is None:
            self._next = packet.sequence
        ahead = signed_distance(packet.sequence, self._next)
        self._late_run = self._late_run + 1 if ahead < 0 else 0
        if abs(ahead) > _RESTART_PACKETS or self._late_run > _RESTART_RUN:
            self._late_run = 0
            released = self._in_order()
            self._waiting.clear()
            self._next = packet.sequence + 1 & 0xFFFF
            return [*released, packet]
        if ahead < 0:
            self.late += 1
            return []
        self._waiting[packet.sequence] = packet
        if packet.sequence != self._next and len(self._waiting) > self._hold:
            self.lost += signed_distance(self._oldest(), self._next)
            self._next = self._oldest()
        return self._run_from_next()

    def _oldest(self) -> int:
        assert self._next is not None
        start = self._next
        return min(self._waiting, key=lambda sequence: signed_distance(sequence, start))

    def _run_from_next(self) -> list[AudioPacket]:
        released = []
        while (packet := self._waiting.pop(self._next, None)) is not None:  # type: ignore[arg-type]
            released.append(packet)
            self._next = packet.sequence + 1 & 0xFFFF
        return released

    def _in_order(self) -> list[AudioPacket]:
        start = self._next or 0
        return sorted(self._waiting.values(), key=lambda p: signed_distance(p.sequence, start))
