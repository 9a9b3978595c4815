"""Strangers: voices that no part of ours was trained on, for tests alone.

festival's `kal` and `ked` were cut from recordings of two Americans; SVOX Pico (Debian's non-free
`libttspico-utils`) is an American and a British woman made by statistics; MBROLA (contrib's `mbrola`,
non-free's `mbrola-us1` to `-us3` and `-en1`) joins four people's diphones as espeak-ng says. Nothing
here may be used to make training data; for MBROLA's voices their licence says so too.
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

# What is run for each voice (OUT: the file to write); the text is its standard input.
_COMMANDS = {
    "kal": ("text2wave", "-eval", "(voice_kal_diphone)", "-o", "OUT"),
    "ked": ("text2wave", "-eval", "(voice_ked_diphone)", "-o", "OUT"),
    "pico": ("pico2wave", "-l", "en-US", "-w", "OUT"),
    "pico-gb": ("pico2wave", "-l", "en-GB", "-w", "OUT"),
    "us1": ("espeak-ng", "-v", "mb-us1", "-w", "OUT"),
    "us2": ("espeak-ng", "-v", "mb-us2", "-w", "OUT"),
    "us3": ("espeak-ng", "-v", "mb-us3", "-w", "OUT"),
    "en1": ("espeak-ng", "-v", "mb-en1", "-w", "OUT"),
}
VOICES = tuple(_COMMANDS)


def say(text: str, voice: str) -> np.ndarray:
    """Say a text with one of `VOICES`; float32 [samples] at 16 kHz, peak at 0.5.

    Raises:
        ParleyError: The synthesiser or the voice is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        command = [str(path) if part == "OUT" else part for part in _COMMANDS[voice]]
        try:
            subprocess.run(command, input=text, text=True, check=True, capture_output=True)
            return read_wave(path)
        except (OSError, EOFError, subprocess.CalledProcessError) as error:
            raise ParleyError(
                f"The voice {voice} cannot be spoken with: {error}.",
                "Install the Debian packages that training/speech/strangers.py names.",
            ) from error


def read_wave(path: Path) -> np.ndarray:
    """A 16-bit wave file as float32 [samples] at 16 kHz, first channel, peak at 0.5."""
    with wave.open(str(path)) as file:
        rate_hz, channels = file.getframerate(), file.getnchannels()
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)[::channels]
    audio = resample_poly(pcm.astype(np.float64), SAMPLE_RATE_HZ, rate_hz)
    return (0.5 * audio / (np.abs(audio).max() + 1e-9)).astype(np.float32)
