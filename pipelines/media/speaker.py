"""The caller's loudspeaker: a WebRTC track that pulls from the playout, 20 ms at a time, on schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from pipelines.media.opus import FRAME_SAMPLES, OpusEncoder, rtp_packet, silent_payload
from pipelines.media.pace import Pace
from pipelines.media.threads import media_thread

_FLUSH_PACKETS = 2  # of silence through the encoder, so that the last syllable is not cut off
_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)

Pull = Callable[[int], np.ndarray | None]


class Speaker(MediaStreamTrack):
    """Outgoing audio, already encoded: silence costs nothing, speech is mono Opus."""

    kind = "audio"

    def __init__(self, pull: Pull, on_tick: Callable[[], None]):
        """Create it.

        Args:
            pull: Given a number of samples at 24 kHz, returns float32 [samples], or None for silence.
            on_tick: Called every 20 ms before the pull; the call's wall clock.
        """
        super().__init__()
        self._pull = pull
        self._on_tick = on_tick
        self._encoder = OpusEncoder()
        self._pace = Pace()
        self._index = 0
        self._flush_packets = 0

    def spare_the_line(self) -> None:
        """Send less, 20 ms later, for the rest of the call."""
        if self._encoder.frames == 1:
            self._encoder = OpusEncoder(sparing=True)

    async def recv(self) -> av.Packet:
        """One packet, when it is due."""
        encoder = self._encoder
        pulled = [await self._frame() for _ in range(encoder.frames)]
        packet = rtp_packet(await self._payload(pulled, encoder), self._index)
        self._index += encoder.frames
        return packet

    async def _frame(self) -> np.ndarray | None:
        if self.readyState != "live":
            raise MediaStreamError
        await self._pace.turn()
        self._on_tick()
        return self._pull(FRAME_SAMPLES)

    async def _payload(self, pulled: list[np.ndarray | None], encoder: OpusEncoder) -> bytes:
        if any(pcm is not None for pcm in pulled):
            self._flush_packets = _FLUSH_PACKETS
        elif self._flush_packets:
            self._flush_packets -= 1
        else:
            return silent_payload(sparing=encoder.frames > 1)
        pcm = np.concatenate([_SILENCE if pcm is None else pcm for pcm in pulled])
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(media_thread(), encoder.encode, pcm)
