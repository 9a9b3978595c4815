"""An agent whose reactions are known exactly: the harness proves itself on it.

It answers a fixed time after the caller falls silent and stops on the first active frame while it
speaks. Every emit and cut is logged on the monotonic clock the caller also uses.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription

from evals.caller import FRAME_S, Mouth, use_short_buffer
from evals.gate import levels_dbfs
from evals.heard import SAMPLE_RATE_HZ

_ACTIVE_DBFS = -45.0


@dataclass
class MockAgent:
    """Speaks `reply` (float32, 48 kHz) `silence_s` after the caller stops; yields at once.

    Attributes:
        reply: What it says each time.
        silence_s: How long it waits.
        began_s: Monotonic times at which each reply's first sample was handed to the encoder.
        cut_s: Monotonic times at which a reply was cut off.
    """

    reply: np.ndarray
    silence_s: float = 0.300
    began_s: list[float] = field(default_factory=list)
    cut_s: list[float] = field(default_factory=list)

    async def offer(self, sdp: str, kind: str) -> dict[str, str]:
        """Answer a caller's offer."""
        self._pc = RTCPeerConnection()
        self._voice = Mouth()
        self._pc.on("track", lambda track: self._start(track))
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp, kind))
        use_short_buffer(self._pc)
        self._pc.addTrack(self._voice)
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        local = self._pc.localDescription
        return {"sdp": local.sdp, "type": local.type}

    async def close(self) -> None:
        """Hang up."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._pc.close()

    def _start(self, track: MediaStreamTrack) -> None:
        self._task = asyncio.create_task(self._converse(track))

    async def _converse(self, track: MediaStreamTrack) -> None:
        heard, silent_s = False, 0.0
        while True:
            frame = await track.recv()
            assert isinstance(frame, av.AudioFrame)
            pcm = frame.to_ndarray().reshape(-1, len(frame.layout.channels)).mean(1) / 32768
            if levels_dbfs(pcm, SAMPLE_RATE_HZ).max(initial=-120) >= _ACTIVE_DBFS:
                heard, silent_s = True, 0.0
                if self._voice.speaking:
                    self._voice.hush()
                    self.cut_s.append(self._handed_over_s())
            else:
                silent_s += FRAME_S
            if heard and silent_s >= self.silence_s:
                heard = False
                self._voice.say(self.reply)
                self.began_s.append(self._handed_over_s())

    def _handed_over_s(self) -> float:
        """When the next frame starts: what changes now is audible from there."""
        assert self._voice.began_s is not None
        return max(time.monotonic(), self._voice.began_s + len(self._voice.sent) * FRAME_S)
