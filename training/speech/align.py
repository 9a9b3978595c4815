"""Word and phone times of speech whose synthesiser tells none: those of the same sentence said by another.

Both sentences become cepstra every 10 ms, and dynamic time warping finds which moment of one is which of
the other (Sakoe and Chiba 1978, here with steps of none, one or two frames of the model).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct

from asr.frontend import LogMel
from asr.interface import SAMPLE_RATE_HZ
from training.speech.utterance import Timed, Utterance

_FRAME_S = 0.01
_BINS, _FLOOR, _CEPSTRA = 80, -1.0, 16
_UNEVEN = 1.5  # costs as much as this distance: sounds are seldom held or passed over


def like(pcm: NDArray[np.float32], model: Utterance) -> Utterance:
    """Give a sentence the words and phones of a model, where they are said in it.

    Args:
        pcm: float32 [samples] at 16 kHz.
        model: The same sentence by somebody else, at about any pace.

    Returns:
        `pcm` with the model's words and phones, at its own times.
    """
    own, theirs = _cepstra(pcm), _cepstra(model.pcm)
    # To one length: then both mostly step alike.
    stretch = np.linspace(0, len(theirs) - 1, len(own))
    path = _warp(own, theirs[stretch.round().astype(int)])
    theirs_s = stretch[path] * _FRAME_S
    own_s = np.arange(len(own)) * _FRAME_S
    # Where the model stands still the last moment counts: `theirs_s` must grow to be read backwards.
    grows = np.append(np.diff(theirs_s) > 0, True)
    end_s = len(pcm) / SAMPLE_RATE_HZ

    def moved(parts: tuple[Timed, ...]) -> tuple[Timed, ...]:
        times = [t for part in parts for t in (part.start_s, part.end_s)]
        there = np.interp(times, theirs_s[grows], own_s[grows]).clip(0, end_s)
        starts, ends = there[::2].tolist(), there[1::2].tolist()
        return tuple(Timed(p.text, a, b) for p, a, b in zip(parts, starts, ends, strict=True))

    return Utterance(pcm, moved(model.words), moved(model.phones))


def _cepstra(pcm: NDArray[np.float32]) -> NDArray:
    """Cepstra and their slopes [frames, 2 x _CEPSTRA], each of unit variance over the sentence."""
    mel = LogMel(_BINS, _FLOOR).clip(torch.from_numpy(pcm)[None])[0].numpy()
    static = dct(mel.T, norm="ortho")[:, :_CEPSTRA]
    both = np.concatenate([static, np.gradient(static, axis=0)], axis=1)
    return (both - both.mean(0)) / (both.std(0) + 1e-6)


def _warp(own: NDArray, theirs: NDArray) -> NDArray:
    """For each frame of `own` the frame of `theirs`, int [frames]; both are equally long."""
    squares = (own**2).sum(1)[:, None] + (theirs**2).sum(1)[None] - 2 * own @ theirs.T
    cost = np.sqrt(np.maximum(squares, 0))
    frames = len(own)
    steps = np.zeros(cost.shape, np.int8)
    best = np.full(frames, np.inf)
    best[0] = cost[0, 0]
    for i in range(1, frames):
        stay, one, two = best + _UNEVEN, np.roll(best, 1), np.roll(best, 2) + _UNEVEN
        one[:1], two[:2] = np.inf, np.inf
        choices = np.stack([stay, one, two])
        steps[i] = choices.argmin(0)
        best = choices.min(0) + cost[i]
    path = np.zeros(frames, int)
    path[-1] = frames - 1
    for i in range(frames - 1, 0, -1):
        path[i - 1] = path[i] - steps[i, path[i]]
    return path
