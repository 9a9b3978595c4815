"""What tells turn-taking about the caller: scripted, or (`audio_ears`) real judges on real audio."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

from agent.evidence import Heard, Sound
from asr.interface import Hypothesis
from evals.scenario import Step
from evals.virtual.recogniser import Recogniser
from evals.virtual.speech import Microphone, Utterance, noise, spoken

if TYPE_CHECKING:
    from evals.virtual.world import Engines

Said = list[tuple[int, Utterance]]  # with the sample each began at


class Ears(Protocol):
    """Synchronous stand-ins for the pipeline's listener and its engines."""

    def perform(self, step: Step) -> Utterance:
        """What the caller's next step sounds like."""

    def frame(self, now: int, said: Said, voiced: bool, echo: bool) -> Sound:
        """The evidence for the 20 ms that end at `now`."""

    def tick(self, now: int, said: Said) -> Heard | None:
        """What the recogniser newly tells."""

    def flush(self, now: int, said: Said) -> Hypothesis:
        """The final words for all audio before `now`."""

    def finished(self, ended: bool) -> float:
        """How finished the turn sounds; `ended` is the truth."""

    def commit(self, upto: int) -> None:
        """Forget words before `upto`."""

    def echo(self, text: str, begins: int, played: int) -> None:
        """The agent's voice begins to leak in; `played` samples of this text were said before."""

    def echo_ends(self, ends: int) -> None:
        """The agent fell silent."""


class ScriptedEars:
    """Everything as the engines' figures say; exact to the bit."""

    def __init__(self, engines: Engines, rng: random.Random):
        self._rng = rng
        self._microphone = Microphone(rng)
        self._recogniser = Recogniser(engines, rng)
        self.tick = self._recogniser.tick
        self.flush = self._recogniser.flush
        self.commit = self._recogniser.commit
        self.echo = self._recogniser.echo
        self.echo_ends = self._recogniser.echo_ends

    def perform(self, step: Step) -> Utterance:
        """Words and noises without audio."""
        if step.sound is not None:
            return noise(step.sound.kind, step.sound.s, self._rng)
        assert step.say is not None
        return spoken(step.say.text, step.say.role, self._rng)

    def frame(self, now: int, said: Said, voiced: bool, echo: bool) -> Sound:
        """As the judges of voice report such sounds."""
        utterance = said[-1][1] if said else None
        return self._microphone.frame(now, utterance, voiced, echo)

    def finished(self, ended: bool) -> float:
        """Smart-turn v3.2 as measured on synthesised callers: better than chance, no more."""
        ends, goes_on = (1.6, 1.2), (0.9, 1.4)
        return round(self._rng.betavariate(*(ends if ended else goes_on)), 3)
