"""Festival's diphone voices `kal` and `ked`: cut from recordings of two people, never trained on.

They are what "a voice it has never heard" means in the evaluation, so nothing here may be used to
make training data.
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from asr.interface import SAMPLE_RATE_HZ
from common.errors import ParleyError

VOICES = ("kal_diphone", "ked_diphone")


def say(text: str, voice: str) -> np.ndarray:
    """Say a text with one of `VOICES`; float32 [samples] at 16 kHz, peak at 0.5.

    Raises:
        ParleyError: festival or the voice is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        command = ["text2wave", "-eval", f"(voice_{voice})", "-o", str(path)]
        try:
            subprocess.run(command, input=text, text=True, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ParleyError(
                f"festival cannot speak with {voice}: {error}.",
                f"Install Debian's festival and festvox-{voice.replace('_', '')}.",
            ) from error
        return read_wave(path)


def read_wave(path: Path) -> np.ndarray:
    """A 16-bit wave file as float32 [samples] at 16 kHz, first channel, peak at 0.5."""
    with wave.open(str(path)) as file:
        rate_hz, channels = file.getframerate(), file.getnchannels()
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)[::channels]
    audio = resample_poly(pcm.astype(np.float64), SAMPLE_RATE_HZ, rate_hz)
    return (0.5 * audio / (np.abs(audio).max() + 1e-9)).astype(np.float32)
