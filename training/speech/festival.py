"""festival's voices, each in a program that stays open."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from common.errors import ParleyError
from training.speech import CURE

VOICES = Path("/usr/share/festival/voices")


class Festival:
    """All voices asked for: each is begun when it first speaks and holds up to 400 MB."""

    def __init__(self) -> None:
        self._programs: dict[str, _Program] = {}

    def close(self) -> None:
        """End every program."""
        for program in self._programs.values():
            program.close()
        self._programs.clear()

    def speak(
        self, voice: str, folder: str, utterance: str, first: str = ""
    ) -> tuple[int, np.ndarray] | None:
        """Say an utterance in Scheme, as `(Utterance Text "hello")`.

        Args:
            voice: What festival calls it.
            folder: Below `VOICES`.
            utterance: Without what synthesises it.
            first: What festival must be told before it can have the voice.

        Returns:
            Rate and int16 samples; None where festival gives up on it.

        Raises:
            ParleyError: festival or the voice is not installed.
        """
        if voice not in self._programs:
            self._programs[voice] = _Program(voice, folder, first)
        try:
            return self._programs[voice].speak(utterance)
        except BrokenPipeError:
            self._programs.pop(voice).close()
            return None


def not_there(voice: str) -> ParleyError:
    """The error for a voice that is not installed."""
    return ParleyError(f"festival's voice {voice} is not there.", CURE)


class _Program:
    """One voice."""

    def __init__(self, voice: str, folder: str, first: str) -> None:
        if not (VOICES / folder).is_dir():
            raise not_there(voice)
        try:
            self._program = subprocess.Popen(
                ["festival", "--pipe"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it tells of every pair of sounds it lacks
                text=True,
            )
        except OSError as error:
            raise not_there(voice) from error
        self._folder = tempfile.TemporaryDirectory()
        self._wave = Path(self._folder.name) / "said.wav"
        self._ask(f"{first}(voice_{voice})")

    def close(self) -> None:
        self._program.kill()
        self._program.communicate()
        self._folder.cleanup()

    def speak(self, utterance: str) -> tuple[int, np.ndarray]:
        """Rate and int16 samples; BrokenPipeError if it was too much for festival."""
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
