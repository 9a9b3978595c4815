"""Judging and preparing a recording that is to become a voice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.audiofile import read_audio
from common.errors import AudioError
from tts.interface import SAMPLE_RATE_HZ

MIN_S, MAX_S = 3.0, 25.0
"""Voices are best from 3 to 25 s of speech (arXiv 2603.25551 §3)."""
SILENCE_DBFS = -50.0
LEVEL_DBFS = -23.0
"""Speech is brought to this level, so that voices do not differ in loudness."""
CLIPPED_SHARE = 0.001
MIN_SNR_DB = 15.0
_TELEPHONE_HZ = 4_500
_TELEPHONE_DB = -50.0  # of all that is there; in speech recorded at 16 kHz or more about -20
_MARGIN_S = 0.1
_WINDOW_SAMPLES = SAMPLE_RATE_HZ // 50


@dataclass(frozen=True, slots=True)
class Reference:
    """A recording fit to become a voice, and what was noticed about it.

    Attributes:
        pcm: float32 mono at 24 kHz, silence around it trimmed, level set.
        level_dbfs: Level of its speech before that.
        snr_db: Speech over background, from the quietest and loudest 20 ms windows.
        remarks: What a person might want to mend, in words.
    """

    pcm: np.ndarray
    level_dbfs: float
    snr_db: float
    remarks: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length after trimming."""
        return len(self.pcm) / SAMPLE_RATE_HZ


def read_reference(path: Path) -> Reference:
    """Read a recording of any format, rate and channel count.

    Raises:
        AudioError: Unreadable, silent, too short or too long.
    """
    return prepare(read_audio(path, SAMPLE_RATE_HZ), str(path))


def prepare(pcm: np.ndarray, name: str) -> Reference:
    """Trim, level and judge float32 mono audio at 24 kHz.

    Raises:
        AudioError: Silent, too short or too long.
    """
    levels = _levels_dbfs(pcm)
    if not len(levels) or levels.max() < SILENCE_DBFS:
        raise AudioError(
            f"{name} is silent.", "Record speech, and check that the right microphone was on."
        )
    loud = np.nonzero(levels > max(SILENCE_DBFS, levels.max() - 35))[0]
    margin = round(_MARGIN_S * SAMPLE_RATE_HZ)
    start = max(0, loud[0] * _WINDOW_SAMPLES - margin)
    pcm = pcm[start : (loud[-1] + 1) * _WINDOW_SAMPLES + margin]
    seconds = len(pcm) / SAMPLE_RATE_HZ
    if seconds < MIN_S:
        raise AudioError(
            f"{name} holds {seconds:.1f} s of speech.", f"A voice needs at least {MIN_S:.0f} s."
        )
    if seconds > MAX_S:
        raise AudioError(
            f"{name} holds {seconds:.0f} s of speech.",
            f"Cut out the best {MIN_S:.0f} to {MAX_S:.0f} s: one speaker, no noise.",
        )
    speech_dbfs = float(10 * np.log10(np.mean(10 ** (levels[loud] / 10))))
    snr_db = float(np.percentile(levels, 90) - np.percentile(levels, 5))
    remarks = []
    if np.mean(np.abs(pcm) > 0.999) > CLIPPED_SHARE:
        remarks.append(
            "It is clipped: recorded again at a lower level it would make a better voice."
        )
    if snr_db < MIN_SNR_DB:
        remarks.append("There is noise behind the speech, and the voice will have it too.")
    if _above_telephone_db(pcm) < _TELEPHONE_DB:
        remarks.append("It is in telephone quality, and the voice will be as muffled.")
    gain = 10 ** ((LEVEL_DBFS - speech_dbfs) / 20)
    leveled = (pcm * min(gain, 0.99 / np.abs(pcm).max())).astype(np.float32)
    return Reference(leveled, speech_dbfs, snr_db, tuple(remarks))


def _above_telephone_db(pcm: np.ndarray) -> float:
    """How much of it a telephone would not carry."""
    power = np.square(np.abs(np.fft.rfft(pcm)))
    above = np.fft.rfftfreq(len(pcm), 1 / SAMPLE_RATE_HZ) > _TELEPHONE_HZ
    return float(10 * np.log10(power[above].sum() / power.sum() + 1e-12))


def _levels_dbfs(pcm: np.ndarray) -> np.ndarray:
    windows = pcm[: len(pcm) // _WINDOW_SAMPLES * _WINDOW_SAMPLES].reshape(-1, _WINDOW_SAMPLES)
    levels: np.ndarray = 10 * np.log10(np.square(windows, dtype=np.float64).mean(axis=1) + 1e-12)
    return levels
