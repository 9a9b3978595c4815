"""Outside judges of speech: a recogniser that never heard the voice, and plain measures of a speaker.

Word error is pocketsphinx's, with its bundled language model or with the one made from our grammar;
the teacher's own score on the same sentences always stands beside it, because pocketsphinx is a weak
judge. A speaker is described by median pitch and by the mean and spread of a smooth spectrum, which
is all in which our made speakers differ.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pocketsphinx
import torch
from rapidfuzz.distance import Levenshtein
from scipy.signal import resample_poly

from asr.interface import SAMPLE_RATE_HZ as EAR_RATE_HZ
from asr.sphinx_listener import OUR_MODEL
from training.voice.losses import log_mel
from tts.interface import SAMPLE_RATE_HZ

_EAR_FRAME_S = 0.01
_QUIET_S = 0.2
_THIN_HZ = 8_000


@cache
def _decoder(ours: bool) -> pocketsphinx.Decoder:
    own = OUR_MODEL if ours else {}
    return pocketsphinx.Decoder(samprate=EAR_RATE_HZ, loglevel="FATAL", **own)


@cache
def _aligner() -> pocketsphinx.Decoder:
    return pocketsphinx.Decoder(samprate=EAR_RATE_HZ, loglevel="FATAL", lm=None)


def hear(pcm: np.ndarray, *, ours: bool) -> list[str]:
    """Words pocketsphinx makes of float32 24 kHz audio, with our language model or its own."""
    decoder = _decoder(ours)
    _listen(decoder, pcm)
    found = decoder.hyp()
    return found.hypstr.lower().split() if found else []


def word_ends(pcm: np.ndarray, words: list[str]) -> list[float] | None:
    """Seconds at which each of `words` ends in the audio, by pocketsphinx's forced alignment.

    It is right to 80 ms on 19 of 20 words of the teacher, whose times are known. None if it lacks a
    word or loses its way.
    """
    decoder = _aligner()
    if any(decoder.lookup_word(word) is None for word in words):
        return None
    decoder.set_align_text(" ".join(words))
    _listen(decoder, pcm)
    found = [piece for piece in decoder.seg() or () if piece.word[0] not in "<[("]
    if len(found) != len(words):
        return None
    return [(piece.end_frame + 1) * _EAR_FRAME_S - _QUIET_S for piece in found]


def _listen(decoder: pocketsphinx.Decoder, pcm: np.ndarray) -> None:
    """Have a decoder hear float32 24 kHz audio between two short silences."""
    narrow = resample_poly(pcm, 2, 3)
    quiet = np.zeros(round(_QUIET_S * EAR_RATE_HZ))
    narrow = np.concatenate([quiet, narrow / (np.abs(narrow).max() + 1e-9) * 0.6, quiet])
    # Digital silence upsets its noise estimate; -80 dBFS of hiss does not disturb anyone.
    narrow += np.random.default_rng(0).normal(0, 1e-4, len(narrow))
    decoder.start_utt()
    decoder.process_raw((narrow * 32_767).astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()


def plain_words(text: str) -> list[str]:
    """The words of a text as a recogniser would write them."""
    return re.sub(r"[^a-z' ]", " ", text.lower().replace("mm-hm", "")).split()


def word_errors(pairs: list[tuple[str, np.ndarray]], *, ours: bool) -> np.ndarray:
    """int64 [pairs, 2]: word edits and words of each (text, audio) pair."""
    counted = []
    for text, pcm in pairs:
        said = plain_words(text)
        counted.append((Levenshtein.distance(said, hear(pcm, ours=ours)), len(said)))
    return np.array(counted)


def rate(counted: np.ndarray) -> float:
    """Word error rate of rows of `word_errors`."""
    wrong, words = counted.sum(0)
    return float(wrong / words)


def pitch_hz(pcm: np.ndarray) -> float:
    """Median fundamental frequency of the voiced windows of float32 24 kHz audio; NaN if none."""
    lags, strength = _periods(pcm)
    voiced = lags[strength > 0.5]
    return float(_THIN_HZ / np.median(voiced)) if len(voiced) else float("nan")


def periodicity(pcm: np.ndarray) -> float:
    """How alike the voiced sound is to itself a pitch period later, at most about 1; hoarseness lowers it.

    The mean autocorrelation of the more periodic half of the loud windows; NaN if there are none.
    """
    strength = np.sort(_periods(pcm)[1])
    return float(strength[len(strength) // 2 :].mean()) if len(strength) else float("nan")


def _periods(pcm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best lag of each loud 40 ms window, samples at 8 kHz, and its normalised autocorrelation."""
    narrow = resample_poly(pcm, 1, SAMPLE_RATE_HZ // _THIN_HZ)
    window, hop = 320, 160
    if len(narrow) < window:
        return np.zeros(0, int), np.zeros(0)
    windows = np.lib.stride_tricks.sliding_window_view(narrow, window)[::hop]
    windows = windows[windows.std(1) > 0.3 * windows.std(1).max()] * np.hanning(window)
    spectrum = np.abs(np.fft.rfft(windows, 2 * window)) ** 2
    correlation = np.fft.irfft(spectrum)[:, : window // 2]
    taper = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(window), 2 * window)) ** 2)[: window // 2]
    correlation = correlation / (correlation[:, :1] + 1e-9) / (taper / taper[0])
    lags = slice(_THIN_HZ // 320, _THIN_HZ // 65)
    best = correlation[:, lags].argmax(1) + lags.start
    return best, np.take_along_axis(correlation, best[:, None], 1)[:, 0]


def sounding_until_s(pcm: np.ndarray) -> float:
    """When the last sound ends: the last 10 ms above -45 dBFS."""
    steps = np.sqrt(np.square(pcm[: len(pcm) // 240 * 240]).reshape(-1, 240).mean(1))
    loud = np.flatnonzero(steps > 10 ** (-45 / 20))
    return float(loud[-1] + 1) * 0.01 if len(loud) else 0.0


def final_rise_semitones(pcm: np.ndarray) -> float:
    """How far the pitch of the last 0.3 s of sound lies above that of the whole; NaN if unvoiced."""
    end = round(sounding_until_s(pcm) * SAMPLE_RATE_HZ)
    last = pcm[max(end - round(0.3 * SAMPLE_RATE_HZ), 0) : end]
    return float(12 * np.log2(pitch_hz(last) / pitch_hz(pcm)))


def speaker_traits(pcm: np.ndarray) -> np.ndarray:
    """[49] log pitch (weighted), then mean and spread of 24 mel bands over the loud frames."""
    mel = log_mel(torch.from_numpy(pcm)[None], 24, 1024, 256)[0].numpy()
    loud = mel[mel.mean(1) > np.quantile(mel.mean(1), 0.5)]
    shape = loud.mean(0) - loud.mean()
    return np.concatenate([[4 * np.log(pitch_hz(pcm))], shape, loud.std(0)])


def clicks(pcm: np.ndarray) -> int:
    """Samples that jump far more than their neighbourhood does: what is heard as a click."""
    jump = np.abs(np.diff(pcm, 2))
    around = np.maximum(np.sqrt(np.convolve(jump**2, np.ones(480) / 480, "same")), 1e-4)
    return int((jump > 14 * around).sum())


def blemishes(pcm: np.ndarray) -> dict[str, float]:
    """Level, peak, offset and clicks per second of one utterance."""
    return {
        "dbfs": float(20 * np.log10(np.sqrt((pcm**2).mean()) + 1e-9)),
        "peak": float(np.abs(pcm).max()),
        "offset": float(pcm.mean()),
        "clicks_per_s": clicks(pcm) / len(pcm) * SAMPLE_RATE_HZ,
    }
