"""Steady noise taken out of a caller's audio before a small recogniser hears it.

A Wiener filter with a smoothed signal-to-noise ratio (Ephraim and Malah, 1984) that learns what the
room sounds like whenever nobody speaks, and leaves a third of the amplitude at least: what a
recogniser cannot bear is holes.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

HOP_SAMPLES = 160
_WINDOW_SAMPLES = 3 * HOP_SAMPLES
DELAY_SAMPLES = _WINDOW_SAMPLES - HOP_SAMPLES  # the output lags so far
_LEAST_GAIN = 0.3
_KEPT = 0.9  # of the last frame's ratio
_FOLLOW, _FALL, _RISE = 0.04, 0.2, 1.002  # how the noise follows, per frame
_SPEECH = 4.0  # power so far above the noise is not noise, and so far below it was none
_FIRST_FRAMES = 10  # are believed to be noise
_LEAST_POWER = 2.0**-30  # of the noise, a 16-bit step squared: keeps digital silence from dividing


class NoiseGain:
    """How much amplitude to leave of each frequency, frame by frame of 10 ms.

    The noise of each frequency is its mean power where there may be noise only, and hardly moves
    below speech.

    Args:
        shape: Of a frame's powers.
        before: Frames that come before the first that is heard in full.
    """

    def __init__(self, shape: tuple[int, ...], before: int = 0) -> None:
        self._noise, self._smooth = np.zeros(shape), np.zeros(shape)
        self._ratio = np.zeros(shape)  # of the last frame, after its gain
        self._frames = -before

    def of(self, power: np.ndarray) -> np.ndarray:
        """The gains of the next frame, from its powers."""
        over_noise = power / self._learn(power)
        ratio = _KEPT * self._ratio + (1 - _KEPT) * np.maximum(over_noise - 1, 0)
        gain = np.maximum(ratio / (1 + ratio), _LEAST_GAIN)
        self._ratio = gain**2 * over_noise
        return gain

    def _learn(self, power: np.ndarray) -> np.ndarray:
        """The noise's power after one more frame."""
        self._frames += 1
        if self._frames <= _FIRST_FRAMES:
            self._noise = self._noise + (power - self._noise) / max(self._frames, 1)
            self._smooth = self._noise
        else:
            self._smooth = self._smooth + 0.3 * (power - self._smooth)
            share = np.where(self._smooth * _SPEECH < self._noise, _FALL, _FOLLOW)
            followed = self._noise + share * (
                np.minimum(power, _SPEECH * self._noise) - self._noise
            )
            quiet = self._smooth < _SPEECH * self._noise
            self._noise = np.where(quiet, followed, self._noise * _RISE)
        self._noise = np.maximum(self._noise, _LEAST_POWER)
        return self._noise


class NoiseFilter:
    """A streaming filter for 16 kHz audio in [-1, 1], by frames of 10 ms (`filter`) or not (`push`)."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)  # less than a frame
        self._early_samples = DELAY_SAMPLES  # of what comes out next, from before the audio
        self._window = np.sqrt(np.hanning(_WINDOW_SAMPLES + 1)[:-1] / 1.5)
        self._last = np.zeros(DELAY_SAMPLES)  # the samples before this frame
        self._tail = np.zeros(DELAY_SAMPLES)  # what earlier windows add to the next frames
        self._gain = NoiseGain((_WINDOW_SAMPLES // 2 + 1,), before=DELAY_SAMPLES // HOP_SAMPLES)

    def filter(self, audio: np.ndarray) -> np.ndarray:
        """Filter whole frames; the answer is as long and `DELAY_SAMPLES` late."""
        heard = np.concatenate((self._last, audio))
        self._last = heard[len(audio) :]
        spectra = np.fft.rfft(
            self._window * sliding_window_view(heard, _WINDOW_SAMPLES)[::HOP_SAMPLES]
        )
        gains = [self._gain.of(power) for power in spectra.real**2 + spectra.imag**2]
        frames = self._window * np.fft.irfft(gains * spectra)
        out = np.concatenate((self._tail, np.zeros(len(audio))))
        for start, frame in zip(range(0, len(audio), HOP_SAMPLES), frames, strict=True):
            out[start : start + _WINDOW_SAMPLES] += frame
        self._tail = out[len(audio) :]
        return out[: len(audio)]

    def push(self, audio: np.ndarray) -> np.ndarray:
        """Filter any number of samples; what comes out, float32, is late but begins where they did."""
        audio = np.concatenate((self._rest, audio))
        whole = len(audio) // HOP_SAMPLES * HOP_SAMPLES
        self._rest = audio[whole:]
        if not whole:
            return np.zeros(0, np.float32)
        out = self.filter(audio[:whole])[self._early_samples :]
        self._early_samples = max(self._early_samples - whole, 0)
        return out.astype(np.float32)

    def finish(self) -> np.ndarray:
        """What has not come out yet, and silence until its last frame is full."""
        return self.push(np.zeros(-len(self._rest) % HOP_SAMPLES + DELAY_SAMPLES, np.float32))

    def copy(self) -> NoiseFilter:
        """A filter that goes on from here by itself."""
        twin = copy(self)
        twin._gain = copy(self._gain)
        return twin
