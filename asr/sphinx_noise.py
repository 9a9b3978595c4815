"""Steady noise taken out of a caller's audio before pocketsphinx hears it.

pocketsphinx knows a way of its own, but it meets every utterance afresh; between utterances there is
all the time in the world to learn what the room sounds like. A Wiener filter with a smoothed
signal-to-noise ratio (Ephraim and Malah, 1984) leaves a third of the amplitude at least: what a
recogniser cannot bear is holes.
"""

from __future__ import annotations

import numpy as np

HOP_SAMPLES = 160
_WINDOW_SAMPLES = 3 * HOP_SAMPLES
DELAY_SAMPLES = _WINDOW_SAMPLES - HOP_SAMPLES  # the output lags so far
_LEAST_GAIN = 0.3
_KEPT = 0.9  # of the last frame's ratio
_FOLLOW, _FALL, _RISE = 0.04, 0.2, 1.002  # how the noise follows, per frame
_SPEECH = 4.0  # power so far above the noise is not noise, and so far below it was none
_FIRST_FRAMES = 10  # are believed to be noise
_LEAST_POWER = 1.0  # of the noise, in squared 16-bit steps: keeps digital silence from dividing


class NoiseFilter:
    """A streaming filter for 16 kHz audio, any number of frames of 10 ms at a time.

    The noise of each frequency is its mean power where there may be noise only, and hardly moves
    below speech.
    """

    def __init__(self) -> None:
        self._window = np.sqrt(np.hanning(_WINDOW_SAMPLES + 1)[:-1] / 1.5)
        self._last = np.zeros(DELAY_SAMPLES)  # the samples before this frame
        self._tail = np.zeros(DELAY_SAMPLES)  # what earlier windows add to the next frames
        bins = _WINDOW_SAMPLES // 2 + 1
        self._noise, self._smooth = np.zeros(bins), np.zeros(bins)
        self._frames = -DELAY_SAMPLES // HOP_SAMPLES  # until then, windows begin before the audio
        self._ratio = np.zeros(bins)  # of the last frame, after its gain

    def filter(self, pcm16: bytes) -> bytes:
        """Filter whole frames of 16-bit samples; the answer is as long and `DELAY_SAMPLES` late."""
        audio = np.frombuffer(pcm16, np.int16).astype(np.float64)
        out = [self._frame(hop) for hop in audio.reshape(-1, HOP_SAMPLES)]
        return np.clip(np.concatenate(out), -32768, 32767).astype(np.int16).tobytes()

    def _frame(self, hop: np.ndarray) -> np.ndarray:
        heard = np.concatenate((self._last, hop))
        self._last = heard[HOP_SAMPLES:]
        spectrum = np.fft.rfft(self._window * heard)
        power = spectrum.real**2 + spectrum.imag**2
        noise = self._learn(power)
        over_noise = power / noise
        ratio = _KEPT * self._ratio + (1 - _KEPT) * np.maximum(over_noise - 1, 0)
        gain = np.maximum(ratio / (1 + ratio), _LEAST_GAIN)
        self._ratio = gain**2 * over_noise
        framed = self._window * np.fft.irfft(gain * spectrum)
        framed[:DELAY_SAMPLES] += self._tail
        self._tail = framed[HOP_SAMPLES:]
        return framed[:HOP_SAMPLES]

    def _learn(self, power: np.ndarray) -> np.ndarray:
        """The noise's power after one more frame."""
        self._frames += 1
        if self._frames <= _FIRST_FRAMES:
            self._noise += (power - self._noise) / max(self._frames, 1)
            self._smooth = self._noise.copy()
        else:
            self._smooth += 0.3 * (power - self._smooth)
            share = np.where(self._smooth * _SPEECH < self._noise, _FALL, _FOLLOW)
            followed = self._noise + share * (
                np.minimum(power, _SPEECH * self._noise) - self._noise
            )
            quiet = self._smooth < _SPEECH * self._noise
            self._noise = np.where(quiet, followed, self._noise * _RISE)
        self._noise = np.maximum(self._noise, _LEAST_POWER)
        return self._noise
