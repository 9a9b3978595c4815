"""flite's statistical voices as speakers with word times.

The made speakers (pitch, tract, pace) are those of the nano voice's teacher; here their segments
become timed words and phones.
"""

from __future__ import annotations

from training.speech.utterance import PHONES, Timed, Utterance
from training.text.conversation import spoken
from training.voice.flite import Manner, Segment, Teacher

_CMU = {"pau": "sil", "ax": "ah", "axr": "er"}


class Flite:
    """All statistical flite voices asked for; one instance per process."""

    def __init__(self) -> None:
        self._teachers: dict[str, Teacher] = {}

    def say(self, text: str, manner: Manner) -> Utterance | None:
        """Say a text in a manner; None when flite reads some of it as something else."""
        if manner.base not in self._teachers:
            self._teachers[manner.base] = Teacher(manner.base)
        tokens = text.replace("-", " ").split()
        pcm, segments = self._teachers[manner.base].speak(" ".join(tokens), manner)
        words = _word_times(tokens, segments)
        if words is None:
            return None
        phones, start = [], 0.0
        for segment in segments:
            phone = _CMU.get(segment.phone, segment.phone)
            phones.append(Timed(phone if phone in PHONES else "sil", start, segment.end_s))
            start = segment.end_s
        return Utterance(pcm, tuple(words), tuple(phones))


def _word_times(tokens: list[str], segments: list[Segment]) -> list[Timed] | None:
    """Words with the first and last segment of their token; None if a token made no sound."""
    bounds: dict[int, tuple[float, float]] = {}
    start = 0.0
    for segment in segments:
        if segment.token >= 0:
            first = bounds.get(segment.token, (start, 0.0))[0]
            bounds[segment.token] = (first, segment.end_s)
        start = segment.end_s
    if len(bounds) != len(tokens):
        return None
    words = []
    for index, token in enumerate(tokens):
        written = spoken(token)
        if len(written) != 1:
            return None
        words.append(Timed(written[0], *bounds[index]))
    return words
