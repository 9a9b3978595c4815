"""Several readings of one stream side by side, of which the likeliest go on (beam search).

A model that must say each piece at once, and never take it back, says what is likeliest so far; the
next sounds often tell otherwise. With a width of some readings, the words that are still open are
those in which the readings differ; what they all agree on is settled. A width of one is the plain
algorithm of Voxtral Realtime (arXiv 2602.11298): whatever is said is settled at once. A language
model may weigh the readings, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from heapq import nlargest
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from asr.language_model import Context, LanguageModel
from asr.words import Decision, StreamingIds
from backbone.tekken import Tekken

MAX_OPEN_TOKENS = 32
"""2.6 s: what was said earlier than that no reading may contest any more."""
_LEAST_PROBABILITY = 1e-30
_HOPELESS = 12.0
"""A reading that is e^12 times less likely than the best is given up."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to understand what was heard.

    Attributes:
        score: Natural logarithm of its probability, and what its words are worth.
        row: The row of the batch that has its keys and values.
        last: Its latest token.
        said: Stands for its pieces of text, whenever they were said.
        context: Where it stands in the language model, if there is one.
        open: Its decisions that another reading contests, oldest first.
    """

    score: float
    row: int
    last: int
    said: int
    context: Context | None
    open: tuple[Decision, ...]


class Move(NamedTuple):
    """A row of keys and values that another one continues, too."""

    to: int
    source: int


class Beam:
    """The readings of one stream, at most one for each of its rows.

    Args:
        tekken: What tokens say.
        ids: Those that say nothing.
        width: Rows.
        language: What is likely to be said.
    """

    def __init__(
        self,
        tekken: Tekken,
        ids: StreamingIds,
        width: int,
        language: LanguageModel | None = None,
    ) -> None:
        self._tekken, self._language = tekken, language
        self._silent = (ids.pad, ids.word)
        self._width, self._pad = width, ids.pad
        context = language.start if language else None
        self._readings = [_Reading(0.0, 0, ids.pad, 0, context, ())]  # the likeliest first

    @property
    def tokens(self) -> list[int]:
        """Each row's last token; rows that nobody reads say nothing."""
        last = {reading.row: reading.last for reading in self._readings}
        return [last.get(row, self._pad) for row in range(self._width)]

    @property
    def open(self) -> tuple[Decision, ...]:
        """What the likeliest reading says and another contests, oldest first."""
        return self._readings[0].open

    @property
    def said(self) -> int:
        """Stands for the pieces of text of the likeliest reading."""
        return self._readings[0].said

    def copy(self) -> Beam:
        """Readings that go on from here by themselves, on rows of the same numbers."""
        twin = Beam.__new__(Beam)
        twin.__dict__.update(self.__dict__)
        return twin

    def extend(self, candidates: np.ndarray) -> tuple[list[Decision], list[Move]]:
        """Let each reading go on in its likeliest ways, and keep the best of all.

        Readings that say the same, only not at the same moments, are one once their last tokens
        are the same too: as likely as both together, with the moments of the likelier.

        Args:
            candidates: Of each row the likeliest next tokens, their probabilities and that of
                saying nothing, float32 [width, any, 3].

        Returns:
            Decisions that became settled, and rows to copy before the next step.
        """
        found: dict[tuple[int, int], _Reading] = {}
        for reading in self._readings:
            for token, probability, pad in candidates[reading.row]:
                decision = Decision(int(token), float(probability), float(pad))
                self._consider(found, reading, decision)
        best = nlargest(self._width, found.values(), key=attrgetter("score"))
        best = [each for each in best if each.score > best[0].score - _HOPELESS]
        if len(best[0].open) > MAX_OPEN_TOKENS:
            best = [each for each in best if each.open[0] is best[0].open[0]]
        settled = _common(best)
        self._readings, moves = self._seated(best, len(settled))
        return settled, moves

    def _consider(
        self, found: dict[tuple[int, int], _Reading], reading: _Reading, decision: Decision
    ) -> None:
        token = decision.token
        score = reading.score + math.log(max(decision.probability, _LEAST_PROBABILITY))
        if score < -_HOPELESS:  # the likeliest was at 0
            return
        said = reading.said if token in self._silent else hash((reading.said, token))
        context, gain = self._weighed(reading.context, token)
        score += gain
        same = found.get((said, token))
        if same is None or score > same.score:
            open_ = (*reading.open, decision)
            found[said, token] = _Reading(score, reading.row, token, said, context, open_)
        if same is not None:
            together = float(np.logaddexp(score, same.score))
            found[said, token] = replace(found[said, token], score=together)

    def _weighed(self, context: Context | None, token: int) -> tuple[Context | None, float]:
        """Where a reading stands after a token, and what the token is worth."""
        if self._language is None or context is None:
            return None, 0.0
        if token in self._silent:
            return self._language.rest(context)
        return self._language.say(context, self._tekken.piece(token).decode(errors="replace"))

    def _seated(self, best: list[_Reading], settled: int) -> tuple[list[_Reading], list[Move]]:
        """The survivors, each on a row: the likeliest of a family stays, others move to free ones."""
        free = sorted(set(range(self._width)) - {each.row for each in best}, reverse=True)
        taken: set[int] = set()
        readings, moves = [], []
        for each in best:
            row = each.row
            if row in taken:
                moves.append(Move(free.pop(), row))
                row = moves[-1].to
            taken.add(row)
            score = each.score - best[0].score
            readings.append(replace(each, score=score, row=row, open=each.open[settled:]))
        return readings, moves


def _common(readings: list[_Reading]) -> list[Decision]:
    """The decisions with which all of them begin."""
    common = []
    for at_once in zip(*(each.open for each in readings), strict=True):
        if any(decision is not at_once[0] for decision in at_once):
            break
        common.append(at_once[0])
    return common
