"""The caller's loudspeaker: a WebRTC track that pulls 20 ms from the playout on an absolute schedule."""

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

_FLUSH_FRAMES = 2  # of silence through the encoder, so that the last syllable is not cut off

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
        self._flush_frames = 0

    async def recv(self) -> av.Packet:
        """One packet, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        await self._pace.turn()
        self._on_tick()
        payload = await self._payload(self._pull(FRAME_SAMPLES))
        packet = rtp_packet(payload, self._index)
        self._index += 1
        return packet

    async def _payload(self, pcm: np.ndarray | None) -> bytes:
        if pcm is not None:
            self._flush_frames = _FLUSH_FRAMES
        elif self._flush_frames:
            self._flush_frames -= 1
            pcm = np.zeros(FRAME_SAMPLES, np.float32)
        else:
            return silent_payload()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(media_thread(), self._encoder.encode, pcm)
