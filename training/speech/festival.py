"""A festival that stays open with one of its voices."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from common.errors import ParleyError

VOICES = Path("/usr/share/festival/voices")


class Festival:
    """One program, one voice; it holds up to 400 MB until it is closed.

    Args:
        voice: What festival calls it.
        folder: Below `VOICES`.
        first: What festival must be told before it can have the voice.

    Raises:
        ParleyError: festival or the voice is not installed.
    """

    def __init__(self, voice: str, folder: str, first: str = "") -> None:
        missing = ParleyError(
            f"festival's voice {voice} is not there.",
            "Install Debian's festival and the festvox packages that training/speech/foreign.py and "
            "readers.py name.",
        )
        if not (VOICES / folder).is_dir():
            raise missing
        try:
            self._program = subprocess.Popen(
                ["festival", "--pipe"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it tells of every pair of sounds it lacks
                text=True,
            )
        except OSError as error:
            raise missing from error
        self._folder = tempfile.TemporaryDirectory()
        self._wave = Path(self._folder.name) / "said.wav"
        self._ask(f"{first}(voice_{voice})")

    def close(self) -> None:
        """End the program."""
        self._program.kill()
        self._program.communicate()
        self._folder.cleanup()

    def speak(self, utterance: str) -> tuple[int, np.ndarray]:
        """Rate and int16 samples of an utterance in Scheme, as `(Utterance Text "hello")`.

        Raises:
            BrokenPipeError: It was too much for festival.
        """
        self._ask(f'(utt.save.wave (utt.synth {utterance}) "{self._wave}" \'riff)')
        try:
            rate_hz, wave = wavfile.read(self._wave)
        except FileNotFoundError as error:
            raise BrokenPipeError(f"festival cannot say {utterance}") from error
        self._wave.unlink()
        return rate_hz, wave

    def _ask(self, command: str) -> None:
        assert self._program.stdin
        assert self._program.stdout
        self._program.stdin.write(command + '\n(format t "\\ndone\\n")(fflush nil)\n')
        self._program.stdin.flush()
        while (line := self._program.stdout.readline().strip()) != "done":
            if not line and self._program.poll() is not None:
                raise BrokenPipeError("festival gave up")
