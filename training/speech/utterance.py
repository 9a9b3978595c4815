"""What every synthesiser here returns: audio, and when each word and phone was said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr.interface import SAMPLE_RATE_HZ

# The phones of CMU's American English dictionary; every synthesiser's own are mapped to these.
PHONES = (
    "sil", "aa", "ae", "ah", "ao", "aw", "ay", "b", "ch", "d", "dh", "eh", "er", "ey", "f", "g",
    "hh", "ih", "iy", "jh", "k", "l", "m", "n", "ng", "ow", "oy", "p", "r", "s", "sh", "t", "th",
    "uh", "uw", "v", "w", "y", "z", "zh",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Timed:
    """A word or phone and when it was said.

    Attributes:
        text: The word as a recogniser writes it, or one of `PHONES`.
        start_s: Its start, seconds from the first sample.
        end_s: Its end.
    """

    text: str
    start_s: float
    end_s: float

    def scaled(self, factor: float) -> Timed:
        """The same in audio so many times as long."""
        return Timed(self.text, self.start_s * factor, self.end_s * factor)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence by one speaker.

    Attributes:
        pcm: float32 [samples] at 16 kHz within [-1, 1].
        words: In order.
        phones: In order, silences included.
    """

    pcm: np.ndarray
    words: tuple[Timed, ...]
    phones: tuple[Timed, ...]

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return len(self.pcm) / SAMPLE_RATE_HZ
