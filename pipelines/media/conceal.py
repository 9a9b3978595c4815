"""Filling the place of lost audio, so that a recogniser's clock stays true.

Waveform substitution in the spirit of ITU-T G.711 Appendix I: the last pitch period is repeated and
faded out over 60 ms; what is missing beyond that is silence of the right length.
"""

from __future__ import annotations

import numpy as np

_HISTORY_S = 0.040
_SHORTEST_PERIOD_S, _LONGEST_PERIOD_S = 0.0025, 0.015
_FADE_S = 0.060


class Concealer:
    """Remembers the last 40 ms of a mono stream and continues them when nothing comes."""

    def __init__(self, sample_rate_hz: int):
        self._rate_hz = sample_rate_hz
        self._history = np.zeros(round(_HISTORY_S * sample_rate_hz), np.float32)
        self._filled_samples = 0  # since something arrived

    def heard(self, pcm: np.ndarray) -> None:
        """Remember audio that did arrive: float32 [samples]."""
        self._filled_samples = 0
        self._remember(pcm)

    def _remember(self, pcm: np.ndarray) -> None:
        keep = len(self._history)
        self._history = np.concatenate([self._history, pcm])[-keep:].astype(np.float32)

    def fill(self, n_samples: int) -> np.ndarray:
        """Return `n_samples` of float32 to stand for what was lost, in one piece or in several."""
        period = self._period_samples()
        cycle = self._history[-period:]
        fade_samples = round(_FADE_S * self._rate_hz)
        missing = self._filled_samples + np.arange(n_samples, dtype=np.float32)
        self._filled_samples += n_samples
        continued = np.resize(cycle, n_samples)
        self._remember(continued)
        return (continued * np.maximum(0.0, 1.0 - missing / fade_samples)).astype(np.float32)

    def _period_samples(self) -> int:
        """The lag at which the last 20 ms resemble the past best."""
        shortest = round(_SHORTEST_PERIOD_S * self._rate_hz)
        longest = round(_LONGEST_PERIOD_S * self._rate_hz)
        window = len(self._history) - longest
        recent = self._history[-window:]
        lags = np.arange(shortest, longest + 1)
        past = np.lib.stride_tricks.sliding_window_view(self._history, window)
        candidates = past[len(self._history) - window - lags]
        energy = np.sqrt((candidates**2).sum(axis=1)) + 1e-6
        return int(lags[np.argmax(candidates @ recent / energy)])
