"""Small manners: what is said without being asked, and when. Pure; no model is needed for them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import cycle

from agent.persona import Persona


@dataclass(frozen=True, slots=True)
class Line:
    """Something to say.

    Attributes:
        text: The words.
        interruptible: False for what must be heard out, such as a legal notice.
        ends_call: The call ends once it has been heard.
    """

    text: str
    interruptible: bool = True
    ends_call: bool = False


class Manners:
    """A persona's greeting, prompts and goodbyes for one call."""

    def __init__(self, persona: Persona, rng: random.Random | None = None):
        self._persona = persona
        self._rng = rng or random.Random()
        self._fillers = cycle(persona.filler)
        self._sounds = cycle(persona.acknowledge)

    def opening(self) -> tuple[Line, ...]:
        """The disclosure, when there is one, then a greeting."""
        greeting = Line(self._rng.choice(self._persona.greeting))
        if not self._persona.disclosure:
            return (greeting,)
        return (Line(self._persona.disclosure, interruptible=False), greeting)

    def idle(self, prompts: int) -> Line:
        """What to say when nobody has spoken for long, for the `prompts`-th time in a row, from 1."""
        if prompts <= len(self._persona.idle):
            return Line(self._persona.idle[prompts - 1])
        return self.closing()

    def closing(self) -> Line:
        """The last words."""
        return Line(self._rng.choice(self._persona.goodbye), ends_call=True)

    def connecting(self) -> Line:
        """Before a caller is put through, when no model has said so."""
        return Line(self._persona.connecting)

    def unreachable(self) -> Line:
        """The caller could not be put through."""
        return Line(self._persona.unreachable)

    def filler(self) -> Line:
        """A few words while an answer is long in coming; never the same twice in a row."""
        return Line(next(self._fillers))

    def failure(self) -> Line:
        """No answer can be given."""
        return Line(self._persona.failure)

    def acknowledgement(self) -> Line:
        """A short sound of listening during a very long turn; never the same twice in a row."""
        return Line(next(self._sounds))
