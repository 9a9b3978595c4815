"""A speaker between two others: the pace and tune of one, resonances on the way to the other's.

There are few people among the synthesisers, but very many pairs of them. Both say the same sentence;
their phones tell which moment of one is which of the other, and each moment of the first is filtered
by a share of what its spectral envelope lacks to the second's.
"""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray
from scipy.signal import istft, stft

from asr.interface import SAMPLE_RATE_HZ
from training.speech.utterance import Utterance

_WINDOW, _HOP = 512, 128
_QUEFRENCIES = 32  # what is finer than this is pitch (below 500 Hz), not resonance
_STRONGEST = 2.3  # of the filter, nepers: 20 dB
_SILENCE = 1e-4


def blend(one: Utterance, other: Utterance, share: float) -> Utterance:
    """Move the voice of `one` towards the voice of `other`.

    Args:
        one: A sentence, with phones.
        other: The same sentence by somebody else, with phones.
        share: How far to go: 0 leaves `one` as it is, 1 gives it the other's resonances.

    Returns:
        The sentence with the times of `one`; float32 within [-1, 1].
    """
    _, seconds, own = _spectrum(one.pcm)
    _, theirs_s, theirs = _spectrum(other.pcm)
    envelope, goal = _envelope(own), _envelope(theirs)
    places = np.interp(_same_moment(one, other, seconds), theirs_s, np.arange(len(theirs_s)))
    change = share * (goal[:, places.round().astype(int)] - envelope)
    level = change.mean(0, keepdims=True)  # loudness stays as it is
    own = own * np.exp(np.clip(change - level, -_STRONGEST, _STRONGEST))
    _, pcm = istft(own, SAMPLE_RATE_HZ, nperseg=_WINDOW, noverlap=_WINDOW - _HOP)
    pcm = pcm[: len(one.pcm)]
    return Utterance((pcm / max(1.0, np.abs(pcm).max())).astype(np.float32), one.words, one.phones)


def _spectrum(pcm: NDArray[np.float32]) -> tuple[NDArray, NDArray, NDArray]:
    return stft(pcm, SAMPLE_RATE_HZ, nperseg=_WINDOW, noverlap=_WINDOW - _HOP)


def _envelope(spectrum: NDArray) -> NDArray:
    """Log magnitude without its harmonics, nepers [bins, frames], from the low quefrencies."""
    cepstrum = np.fft.irfft(np.log(np.abs(spectrum) + _SILENCE), axis=0)
    cepstrum[_QUEFRENCIES : 1 - _QUEFRENCIES] = 0
    return np.fft.rfft(cepstrum, axis=0).real


def _same_moment(one: Utterance, other: Utterance, seconds: NDArray) -> NDArray:
    """When the other says what `one` says at each of these times."""
    here, there = ([p.text for p in said.phones] for said in (one, other))
    own_s, their_s = [0.0], [0.0]
    for block in SequenceMatcher(None, here, there, autojunk=False).get_matching_blocks():
        for i in range(block.size):
            mine, yours = one.phones[block.a + i], other.phones[block.b + i]
            own_s += [mine.start_s, mine.end_s]
            their_s += [yours.start_s, yours.end_s]
    return np.interp(seconds, [*own_s, one.seconds], [*their_s, other.seconds])
