"""Synthesised callers: the same words, voice and samples on every run.

Clips peak at −6 dBFS and are cut where their level passes −40 dBFS, so the first and last sample
of speech are known by construction and no detector is needed on the caller's side.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from common.audiofile import read_audio
from common.errors import ParleyError
from evals.gate import levels_dbfs
from evals.heard import SAMPLE_RATE_HZ

FLITE_VOICES = ("rms", "slt", "awb", "kal16")
_PEAK = 0.5
_TRIM_DBFS = -40.0


@lru_cache(maxsize=512)
def speak(text: str, voice: str = "flite:rms") -> np.ndarray:
    """Say `text`; returns float32 at 48 kHz, peak −6 dBFS, trimmed to the speech itself.

    Args:
        text: Plain words.
        voice: `flite:NAME` or `espeak:NAME`.

    Raises:
        ParleyError: The synthesiser is not installed.
    """
    program, _, name = voice.partition(":")
    binary = shutil.which("espeak-ng" if program == "espeak" else program)
    if binary is None:
        raise ParleyError(f"{program} is not installed.", f"Install it: apt install {program}.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        options = (
            ["-v", name, "-w", str(path), text]
            if program == "espeak"
            else ["-voice", name, "-t", text, "-o", str(path)]
        )
        subprocess.run([binary, *options], check=True, capture_output=True)
        pcm = read_audio(path, SAMPLE_RATE_HZ)
    return trimmed(pcm / max(np.abs(pcm).max(initial=0), 1e-6) * _PEAK)


def trimmed(pcm: np.ndarray) -> np.ndarray:
    """Cut off what is quieter than −40 dBFS (RMS of 10 ms) at both ends."""
    loud = np.flatnonzero(levels_dbfs(pcm, SAMPLE_RATE_HZ) >= _TRIM_DBFS)
    hop, window = SAMPLE_RATE_HZ // 200, SAMPLE_RATE_HZ // 100
    return pcm[loud[0] * hop : loud[-1] * hop + window] if len(loud) else pcm


def noise_burst(kind: str, seed: int = 0) -> np.ndarray:
    """A cough or keyboard click made of shaped noise; float32 at 48 kHz.

    Args:
        kind: `cough` (two 180 ms bursts, falling) or `keyboard` (five 8 ms clicks).
        seed: Draws another one.
    """
    rng = np.random.default_rng(seed)
    n = SAMPLE_RATE_HZ // 2
    envelope = np.zeros(n)
    time_s = np.arange(n) / SAMPLE_RATE_HZ
    bursts = {
        "cough": [(0.0, 0.06, 1.0), (0.22, 0.07, 0.7)],
        "keyboard": [(i * 0.09, 0.004, 0.4) for i in range(5)],
    }[kind]
    for start_s, decay_s, level in bursts:
        after = time_s - start_s
        envelope += np.where(after >= 0, level * np.exp(-after / decay_s), 0.0)
    sound = rng.standard_normal(n)
    if kind == "cough":  # a cough has little above 4 kHz
        spectrum = np.fft.rfft(sound)
        spectrum[np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ) > 4_000] *= 0.05
        sound = np.fft.irfft(spectrum, n)
    shaped = sound * envelope
    return (_PEAK * shaped / np.abs(shaped).max()).astype(np.float32)
