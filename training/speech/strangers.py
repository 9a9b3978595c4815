"""Strangers: voices that no part of ours was trained on, for tests alone; and two that are none any more.

SVOX Pico (Debian's non-free `libttspico-utils`) is an American and a British woman made by
statistics; MBROLA (contrib's `mbrola`, non-free's `mbrola-us1` to `-us3`) joins three Americans'
diphones as espeak-ng says. MBROLA's British `en1` is no stranger: he is Roger, whom festival calls
`rab` and who teaches (`foreign.py`). Nothing here may be used to make training data; MBROLA's licence
also forbids selling what holds its voices.

`kal` and `ked`, as festival alone makes them speak, were strangers too until their diphones began to
teach (`foreign.py`, with other durations and another tune).
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from asr.interface import SAMPLE_RATE_HZ
from common.audiofile import read_audio
from common.errors import AudioError, ParleyError
from training.speech import CURE

# What is run for each voice (OUT: the file to write); the text is its standard input.
_COMMANDS = {
    "kal": ("text2wave", "-eval", "(voice_kal_diphone)", "-o", "OUT"),
    "ked": ("text2wave", "-eval", "(voice_ked_diphone)", "-o", "OUT"),
    "pico": ("pico2wave", "-l", "en-US", "-w", "OUT"),
    "pico-gb": ("pico2wave", "-l", "en-GB", "-w", "OUT"),
    "us1": ("espeak-ng", "-v", "mb-us1", "-w", "OUT"),
    "us2": ("espeak-ng", "-v", "mb-us2", "-w", "OUT"),
    "us3": ("espeak-ng", "-v", "mb-us3", "-w", "OUT"),
}
VOICES = tuple(voice for voice in _COMMANDS if voice not in ("kal", "ked"))


def say(text: str, voice: str) -> np.ndarray:
    """Say a text with one of `VOICES`, `kal` or `ked`; float32 [samples] at 16 kHz.

    Raises:
        ParleyError: The synthesiser or the voice is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        command = [str(path) if part == "OUT" else part for part in _COMMANDS[voice]]
        try:
            subprocess.run(command, input=text, text=True, check=True, capture_output=True)
            return read_audio(path, SAMPLE_RATE_HZ)
        except (OSError, AudioError, subprocess.CalledProcessError) as error:
            raise ParleyError(f"The voice {voice} cannot be spoken with: {error}.", CURE) from error
