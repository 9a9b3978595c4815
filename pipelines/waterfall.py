"""Where the time of a turn went: from the caller's last sound to the agent's first, in parts that add up."""

from __future__ import annotations

from enum import IntEnum
from typing import TypedDict


class Step(IntEnum):
    """What has to happen before the caller hears an answer, in this order."""

    VOICE_ENDED = 0
    FINAL_WORDS = 1
    COMMITTED = 2
    LLM_WORD = 3
    CLAUSE = 4
    FRAME = 5
    AUDIBLE = 6


# Each step's name tells what the time before it was spent on.
_PARTS = {
    Step.FINAL_WORDS: "final words",
    Step.COMMITTED: "endpointing",
    Step.LLM_WORD: "LLM first word",
    Step.CLAUSE: "first clause",
    Step.FRAME: "first frame",
    Step.AUDIBLE: "playout",
}


class Part(TypedDict):
    """One bar of the waterfall."""

    name: str
    ms: float


class Waterfall:
    """The steps of one turn. Steps taken speculatively, before the turn was over, cost nothing."""

    def __init__(self) -> None:
        self._at_s: dict[Step, float] = {}

    def mark(self, step: Step, at_s: float) -> None:
        """Note that a step happened; the first time counts."""
        self._at_s.setdefault(step, at_s)

    def move(self, step: Step, at_s: float) -> None:
        """Note that a step happened; the last time before the commit counts."""
        if Step.COMMITTED not in self._at_s:
            self._at_s[step] = at_s

    def restart(self) -> None:
        """Forget what a dropped reply did; when the caller fell silent is known already."""
        self._at_s = {k: v for k, v in self._at_s.items() if k < Step.COMMITTED}

    @property
    def complete(self) -> bool:
        """A total can be told."""
        return Step.VOICE_ENDED in self._at_s and Step.AUDIBLE in self._at_s

    def parts(self, line_ms: float = 0.0) -> list[Part]:
        """The parts, in order; together they are what the caller waits.

        Args:
            line_ms: What the way to the caller and back adds.
        """
        reached_s = self._at_s[Step.VOICE_ENDED]
        parts: list[Part] = []
        for step, name in _PARTS.items():
            at_s = max(reached_s, self._at_s.get(step, reached_s))
            parts.append({"name": name, "ms": round(1000.0 * (at_s - reached_s), 1)})
            reached_s = at_s
        return [*parts, {"name": "line", "ms": round(line_ms, 1)}]
