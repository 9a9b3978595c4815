"""Speech without audio: when each word is said, and what a microphone's judges make of it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

import numpy as np

from agent.activity import FRAME_SAMPLES, SAMPLES_PER_MS
from agent.evidence import Sound
from asr.interface import Word
from evals.scenario import LEVEL_DB, parts_of

CALLER_DBFS = -24.0
NOISE_DBFS = -68.0


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of the caller's audio.

    Attributes:
        words: What is said, timed from its first sample.
        voiced: Whether each 20 ms frame holds voice.
        confidence: What a neural detector settles on while it is voiced.
        level_db: Against the caller's usual level.
        role: What the scenario means by it.
        frames: Its audio where there is any: float32 [frames, 320] at 16 kHz.
    """

    words: tuple[Word, ...]
    voiced: tuple[bool, ...]
    confidence: float = 0.95
    level_db: float = 0.0
    role: str = "turn"
    frames: np.ndarray | None = field(default=None, repr=False, compare=False)


def spoken(text: str, role: str, rng: random.Random) -> Utterance:
    """A text said at about 170 words a minute; `[0.7]` in it is a pause of 0.7 s."""
    words: list[Word] = []
    at_ms = 0.0
    for part in parts_of(text):
        if isinstance(part, float):
            at_ms += 1000 * part
            continue
        for written in part.split():
            length_ms = min(90 + 45 * len(re.sub(r"\W", "", written)), 650) * rng.uniform(
                0.85, 1.15
            )
            start, end = int(at_ms) * SAMPLES_PER_MS, int(at_ms + length_ms) * SAMPLES_PER_MS
            words.append(Word(written, start, end, rng.uniform(0.7, 1.0)))
            at_ms += length_ms + rng.choice((0, 0, 20, 60))
    frames = -(-words[-1].end_samples // FRAME_SAMPLES)
    voiced = [False] * frames
    for word in words:
        for i in range(word.start_samples // FRAME_SAMPLES, -(-word.end_samples // FRAME_SAMPLES)):
            voiced[i] = True
        if word.end_samples - word.start_samples > 350 * SAMPLES_PER_MS:  # a stop consonant inside
            middle = word.middle_samples // FRAME_SAMPLES
            voiced[middle : middle + 3] = [False] * 3
    return Utterance(tuple(words), tuple(voiced), 0.95, LEVEL_DB.get(role, 0.0), role)


def noise(kind: str, seconds: float, rng: random.Random) -> Utterance:
    """A sound that is no word, as webrtcvad and Silero take it."""
    frames = round(seconds * 50)
    words: tuple[Word, ...] = ()
    match kind:
        case "keyboard":
            voiced = [rng.random() < 0.25 for _ in range(frames)]
            confidence = 0.08
        case "click":
            voiced, confidence = [True] * frames, 0.1
        case "hum":
            voiced, confidence = [True] * frames, 0.15
        case "cough":
            voiced, confidence = [True] * frames, rng.uniform(0.3, 0.75)
        case _:  # laughter: syllables of 120 ms, which recognisers like to write down
            voiced = [i % 10 < 6 for i in range(frames)]
            confidence = rng.uniform(0.4, 0.8)
            if rng.random() < 0.5:
                words = (Word("ha", 0, 12 * FRAME_SAMPLES, 0.6),)
    return Utterance(words, tuple(voiced), confidence, rng.uniform(-6.0, 3.0), "tic")


class Microphone:
    """Frames as the judges report them: the gate holds on for 60 ms, the neural belief lags by 40."""

    def __init__(self, rng: random.Random):
        self._rng = rng
        self._hold = 0
        self._belief = [0.0, 0.0, 0.0]

    def frame(
        self, at: int, utterance: Utterance | None, voiced: bool, echo: bool = False
    ) -> Sound:
        """The evidence for the 20 ms that end at `at`."""
        self._hold = 3 if voiced else max(0, self._hold - 1)
        believed = utterance.confidence if voiced and utterance else 0.02
        self._belief = [*self._belief[1:], believed]
        gate = voiced or self._hold > 0 or echo
        level = NOISE_DBFS + self._rng.uniform(-2, 2)
        if voiced and utterance:
            level = CALLER_DBFS + utterance.level_db + self._rng.uniform(-5, 0)
        elif echo:
            level = CALLER_DBFS - 12 + self._rng.uniform(-5, 0)
        confidence = 0.9 if echo else self._belief[0]
        own = 0.0 if voiced or not echo else (0.0 if self._rng.random() < 0.01 else 0.9)
        return Sound(at, gate, round(confidence, 3), round(level, 1), own)
