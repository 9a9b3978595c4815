"""Synthesised callers: the same words, voice and samples on every run.

Clips peak at −6 dBFS and are cut where their level passes −40 dBFS, so the first and last sample
of speech are known by construction and no detector is needed on the caller's side.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from common.audiofile import read_audio
from common.errors import ParleyError
from evals.gate import levels_dbfs
from evals.heard import SAMPLE_RATE_HZ
from evals.scenario import LEVEL_DB, Step, parts_of

CALLER = "flite:rms"
_OTHERS = {"side_talk": "flite:slt", "background": "flite:awb"}
_PEAK = 0.5
_TRIM_DBFS = -40.0


def sound_of(step: Step) -> np.ndarray:
    """What a step of a script sounds like, float32 at 48 kHz; a wait is no sound at all."""
    if step.sound is not None:
        return noise_burst(step.sound.kind, step.sound.s)
    if step.say is None:
        return np.zeros(0, np.float32)
    voice = _OTHERS.get(step.role, CALLER)
    gain = np.float32(10 ** (LEVEL_DB.get(step.role, 0.0) / 20))
    return np.concatenate(
        [
            np.zeros(int(part * SAMPLE_RATE_HZ), np.float32)
            if isinstance(part, float)
            else gain * speak(part, voice)
            for part in parts_of(step.say.text)
        ]
    )


@lru_cache(maxsize=512)
def speak(text: str, voice: str = CALLER) -> np.ndarray:
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


def noise_burst(kind: str, seconds: float) -> np.ndarray:
    """A noise a caller makes; float32 at 48 kHz, peak −6 dBFS, the same every time.

    Args:
        kind: `cough` (falling bursts without highs), `laughter` (voiced bursts), `keyboard` or
            `click` (a few milliseconds each), `hum` (mains).
        seconds: Length.
    """
    rng = np.random.default_rng(zlib.crc32(f"{kind}{seconds}".encode()))
    n = int(seconds * SAMPLE_RATE_HZ)
    time_s = np.arange(n) / SAMPLE_RATE_HZ
    every_s, decay_s, top_hz = {
        "cough": (0.25, 0.06, 4_000),
        "laughter": (0.20, 0.05, 3_000),
        "keyboard": (0.09, 0.004, 20_000),
        "click": (seconds, 0.004, 20_000),
        "hum": (seconds, 10.0, 400),
    }[kind]
    envelope = np.exp(-(time_s % every_s) / decay_s)
    sound = rng.standard_normal(n)
    if kind in ("hum", "laughter"):
        pitch_hz = 50 if kind == "hum" else 220
        harmonics = np.arange(1, 9)[:, None]
        sound = (np.sin(2 * np.pi * pitch_hz * harmonics * time_s) / harmonics).sum(0)
    spectrum = np.fft.rfft(sound * envelope)
    spectrum[np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ) > top_hz] *= 0.05
    shaped = np.fft.irfft(spectrum, n)
    return (_PEAK * shaped / np.abs(shaped).max()).astype(np.float32)
