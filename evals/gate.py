"""Where speech begins and ends in a recording: a calibrated energy gate.

A neural detector quantises to 32 ms and smears boundaries by tens of milliseconds; an energy gate
has a small constant bias, which is subtracted. Biases were measured on synthesised speech with
known boundaries, sent through Opus as WebRTC does it (20 ms packets, 96 kb/s, of which 6.5 ms are
the codec's look-ahead); the residual is ±10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_WINDOW_S = 0.010
_HOP_S = 0.005


@dataclass(frozen=True, slots=True)
class GateOptions:
    """Thresholds and biases of a path.

    Attributes:
        onset_dbfs: RMS level at which speech begins; low, so that weak fricatives count.
        offset_dbfs: Level under which it has ended; higher, so that codec ringing does not.
        hangover_s: Silence shorter than this lies inside a segment.
        onset_bias_s: How late the gate finds an onset on this path.
        offset_bias_s: How late it finds an offset.
    """

    onset_dbfs: float = -50.0
    offset_dbfs: float = -40.0
    hangover_s: float = 0.200
    onset_bias_s: float = -0.0052
    offset_bias_s: float = 0.0069


PCM = GateOptions()
# Through our own caller, read off an agent whose reactions are known (tests/evals): constant to 0.2 ms.
OPUS = GateOptions(onset_bias_s=0.0071, offset_bias_s=0.0122)


@dataclass(frozen=True, slots=True)
class Segment:
    """Speech from `on_s` to `off_s`, seconds from the start of the recording."""

    on_s: float
    off_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.off_s - self.on_s


def levels_dbfs(pcm: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """RMS level of each 10 ms window, one every 5 ms; shape [hops], -120 dBFS for digital silence."""
    window, hop = int(_WINDOW_S * sample_rate_hz), int(_HOP_S * sample_rate_hz)
    if len(pcm) < window:
        return np.zeros(0)
    energy = np.concatenate([[0.0], np.cumsum(pcm.astype(np.float64) ** 2)])
    starts = np.arange(0, len(pcm) - window + 1, hop)
    mean = (energy[starts + window] - energy[starts]) / window
    return 10 * np.log10(np.maximum(mean, 1e-12))


def segments(pcm: np.ndarray, sample_rate_hz: int, options: GateOptions = PCM) -> list[Segment]:
    """Find stretches of speech.

    A stretch begins where the level first exceeds `onset_dbfs` before reaching `offset_dbfs`, and
    ends after the last window above `offset_dbfs`; gaps up to the hangover are bridged.

    Args:
        pcm: float32 mono.
        sample_rate_hz: Its rate.
        options: Thresholds and biases of the path it came through.
    """
    levels = levels_dbfs(pcm, sample_rate_hz)
    loud = np.flatnonzero(levels >= options.offset_dbfs)
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) * _HOP_S > options.hangover_s)
    firsts = loud[np.concatenate([[0], breaks + 1])]
    lasts = loud[np.concatenate([breaks, [len(loud) - 1]])]
    found, floor = [], 0
    for first, last in zip(firsts, lasts, strict=True):
        onset = first
        while onset > floor and levels[onset - 1] >= options.onset_dbfs:
            onset -= 1
        floor = last + 1
        # A window counts from its centre when it rises and to its centre when it falls.
        centre_s = _WINDOW_S / 2
        found.append(
            Segment(
                float(onset * _HOP_S + centre_s - options.onset_bias_s),
                float(last * _HOP_S + centre_s - options.offset_bias_s),
            )
        )
    return found
