"""Changing sample rates with libswresample (through PyAV): good filters, 1–2 ms of delay.

A stream keeps its filter between calls; soxr's stream resampler, which pipecat uses, would hold
back 20–160 ms instead.
"""

from __future__ import annotations

import av
import numpy as np


class Resampler:
    """A mono stream from one rate to another; `feed` in any portions, `drain` at the end."""

    def __init__(self, from_hz: int, to_hz: int):
        self.from_hz, self.to_hz = from_hz, to_hz
        self._swr = av.AudioResampler(format="flt", layout="mono", rate=to_hz)
        self._fed_samples = 0

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        """float32 [samples] at `from_hz` → float32 [about samples·to/from] at `to_hz`."""
        if self.from_hz == self.to_hz or not len(pcm):
            return pcm
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm, np.float32)[None], format="flt", layout="mono"
        )
        frame.sample_rate = self.from_hz
        frame.pts = self._fed_samples
        self._fed_samples += len(pcm)
        return _joined(self._swr.resample(frame))

    def drain(self) -> np.ndarray:
        """Return what the filter still holds; the stream is over."""
        return (
            np.zeros(0, np.float32)
            if self.from_hz == self.to_hz
            else _joined(self._swr.resample(None))
        )


def resample(pcm: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """A whole clip: float32 [samples] at `from_hz` → float32 at `to_hz`, same duration ±1 sample."""
    stream = Resampler(from_hz, to_hz)
    return np.concatenate([stream.feed(pcm), stream.drain()]) if from_hz != to_hz else pcm


def _joined(frames: list[av.AudioFrame]) -> np.ndarray:
    if not frames:
        return np.zeros(0, np.float32)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
