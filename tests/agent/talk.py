"""A conversation in a few words: feeds `TurnTaking` evidence and notes what it decides."""

from __future__ import annotations

from agent.decisions import Decision
from agent.evidence import (
    AgentAudio,
    AgentThinking,
    Evidence,
    Finished,
    Heard,
    Sound,
    StopPressed,
    Typed,
)
from agent.pace import BALANCED, TurnOptions
from agent.turns import State, TurnTaking
from asr.interface import Hypothesis, Word

MS = 16
FRAME = 320


class Talk:
    """Time moves only by `quiet`, `voice` and `say`; everything else happens at once."""

    def __init__(self, options: TurnOptions = BALANCED):
        self.turns = TurnTaking(options)
        self.at = 0
        self.decisions: list[Decision] = []
        self.words: list[Word] = []
        self.own_voice = 0.0
        self.pitch_hz = 100.0
        self.lag_ms = 0  # of the recogniser, but for its final words

    @property
    def state(self) -> State:
        return self.turns.state

    @property
    def names(self) -> list[str]:
        return [type(decision).__name__ for decision in self.decisions]

    def last(self, kind: type[Decision]) -> Decision:
        return next(d for d in reversed(self.decisions) if isinstance(d, kind))

    def fresh(self) -> list[str]:
        """Names of the decisions since the last call of `fresh`."""
        names, self.decisions = self.names, []
        return names

    def tell(self, evidence: Evidence) -> None:
        self.decisions += self.turns.observe(evidence)

    def quiet(self, ms: int) -> Talk:
        return self._frames(ms, voiced=False, confidence=0.02, level=-70.0)

    def voice(self, ms: int, *, confidence: float = 0.95, level: float = -24.0) -> Talk:
        return self._frames(ms, voiced=True, confidence=confidence, level=level)

    def say(self, text: str, *, level: float = -24.0, hear: bool = True) -> Talk:
        """Each word takes 300 ms and is understood when the sentence ends."""
        for word in text.split():
            start = self.at
            self.voice(300, level=level)
            self.words.append(Word(word, start, self.at))
        if hear:
            self.heard()
        return self

    def heard(self, *, final: bool = False, pause: float | None = None) -> Talk:
        words = tuple(self.words)
        lag = 0 if final else self.lag_ms * MS
        self.tell(Heard(self.at, Hypothesis(words, len(words), self.at, final, pause, lag)))
        return self

    def finished(self, probability: float) -> Talk:
        """The judge of turns answers about the pause it was last asked about."""
        from agent.decisions import AskFinished

        asked = self.last(AskFinished)
        assert isinstance(asked, AskFinished)
        self.tell(Finished(self.at, asked.pause_began, probability))
        return self

    def thinks(self, thinking: bool = True) -> Talk:
        self.tell(AgentThinking(self.at, thinking))
        return self

    def speaks(
        self, text: str = "Rivers begin in the mountains.", *, interruptible: bool = True
    ) -> Talk:
        self.tell(AgentAudio(self.at, True, text, interruptible))
        return self

    def falls_silent(self) -> Talk:
        self.tell(AgentAudio(self.at, False))
        return self

    def types(self, text: str) -> Talk:
        self.tell(Typed(self.at, text))
        return self

    def presses_stop(self) -> Talk:
        self.tell(StopPressed(self.at))
        return self

    def ask(self, text: str = "what is the capital of Peru?") -> Talk:
        """A whole turn, up to its commit; its words are then forgotten by the recogniser."""
        self.quiet(300).say(text).quiet(140).heard(final=True)
        while self.state is not State.THINKING:
            self.quiet(20)
        self.words.clear()
        return self

    def _frames(self, ms: int, *, voiced: bool, confidence: float, level: float) -> Talk:
        for _ in range(ms // 20):
            self.at += FRAME
            own_voice, pitch_hz = (self.own_voice, self.pitch_hz) if voiced else (0.0, 0.0)
            self.tell(Sound(self.at, voiced, confidence, level, own_voice, pitch_hz))
        return self
