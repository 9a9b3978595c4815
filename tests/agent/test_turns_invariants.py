"""What must hold for any evidence in any order, tried on random conversations."""

from __future__ import annotations

from typing import ClassVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent import decisions as d
from agent.evidence import AgentAudio
from agent.turns import State
from tests.agent.talk import MS, Talk

TEXTS = st.sampled_from(
    [
        "mm-hm",
        "yeah",
        "wait",
        "what about lakes?",
        "my number is",
        "five five five",
        "goodbye",
        "I",
        "um",
    ]
)


class AnyConversation(RuleBasedStateMachine):
    """A caller, a recogniser and a playout that do anything; the playout obeys decisions."""

    ENDS: ClassVar = (d.Commit, d.Ignore, d.Backchannel)

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk()
        self.checked = 0
        self.turn_open = False
        self.ducked = False
        self.last_at = 0
        self.playing = ""

    @rule(ms=st.integers(1, 40))
    def quiet(self, ms: int) -> None:
        self.talk.quiet(20 * ms)

    @rule(ms=st.integers(1, 30), confidence=st.floats(0, 1), level=st.floats(-50, -10))
    def sound(self, ms: int, confidence: float, level: float) -> None:
        self.talk.voice(20 * ms, confidence=confidence, level=level)

    @rule(text=TEXTS, hear=st.booleans())
    def says(self, text: str, hear: bool) -> None:
        self.talk.say(text, hear=hear)

    @rule(final=st.booleans(), pause=st.none() | st.floats(0, 1))
    def understood(self, final: bool, pause: float | None) -> None:
        self.talk.heard(final=final, pause=pause)

    @rule(probability=st.floats(0, 1))
    def judged(self, probability: float) -> None:
        if any(isinstance(decision, d.AskFinished) for decision in self.talk.decisions):
            self.talk.finished(probability)

    @rule(own_voice=st.floats(0, 1))
    def echoes(self, own_voice: float) -> None:
        self.talk.own_voice = own_voice

    @rule(text=st.sampled_from(["Rivers run to the sea.", "Shall I?"]), interruptible=st.booleans())
    def agent_speaks(self, text: str, interruptible: bool) -> None:
        self.playing = text
        self.talk.speaks(text, interruptible=interruptible)

    @rule()
    def agent_falls_silent(self) -> None:
        self.playing = ""
        self.talk.falls_silent()

    @rule(thinking=st.booleans())
    def agent_thinks(self, thinking: bool) -> None:
        self.talk.thinks(thinking)

    @rule(text=TEXTS)
    def types(self, text: str) -> None:
        self.talk.types(text)

    @rule()
    def presses_stop(self) -> None:
        self.talk.presses_stop()

    @invariant()
    def decisions_are_sound(self) -> None:
        while self.checked < len(self.talk.decisions):
            decision = self.talk.decisions[self.checked]
            self.checked += 1
            assert decision.reason
            assert self.last_at <= decision.at <= self.talk.at
            self.last_at = decision.at
            self._turns_end_once(decision)
            self._ducks_end_once(decision)
            if isinstance(decision, d.Interrupt) and self.playing:
                self.playing = ""
                self.talk.tell(AgentAudio(self.talk.at, False))

    def _turns_end_once(self, decision: d.Decision) -> None:
        match decision:
            case d.TurnStarted():
                assert not self.turn_open
                self.turn_open = True
            case d.Commit():
                assert decision.text
                self.turn_open = False
                self.talk.words = [
                    w
                    for w in self.talk.words
                    if w.start_samples + w.end_samples >= 2 * decision.upto_samples
                ]
            case d.Ignore() | d.Backchannel():
                self.turn_open = False
            case d.Hold() | d.Speculate() | d.AskFinished():
                assert self.turn_open

    def _ducks_end_once(self, decision: d.Decision) -> None:
        match decision:
            case d.Duck():
                assert not self.ducked
                self.ducked = True
            case d.Resume():
                assert self.ducked
                self.ducked = False
            case d.Interrupt() | d.DropSpeculation():
                self.ducked = False

    @invariant()
    def states_agree_with_decisions(self) -> None:
        state = self.talk.state
        assert self.ducked is (state is State.HELD)
        assert self.turn_open is (state in (State.CALLER, State.PAUSE))

    def teardown(self) -> None:
        """From anywhere, silence and an ended reply lead back to listening."""
        self.talk.own_voice = 0.0
        self.agent_falls_silent()
        self.talk.heard(final=True)
        for _ in range(3):
            self.talk.quiet(6000).heard(final=True)
            self.talk.thinks(False)
            self.decisions_are_sound()
        self.talk.quiet(500)
        assert self.talk.state is State.LISTENING
        assert not self.turn_open


AnyConversation.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestAnyConversation = AnyConversation.TestCase


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=12), TEXTS)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_same_evidence_gives_the_same_decisions(
    pieces: list[tuple[bool, int]], text: str
) -> None:
    def run() -> list[d.Decision]:
        talk = Talk().quiet(200)
        for voiced, frames in pieces:
            if voiced:
                talk.say(text).voice(20 * frames)
            else:
                talk.quiet(20 * frames).heard(final=True)
        return talk.decisions

    assert run() == run()


def test_evidence_that_comes_late_does_not_turn_time_back() -> None:
    talk = Talk().quiet(1000).say("what is the time?").quiet(160)
    talk.tell(AgentAudio(100 * MS, False))
    talk.heard(final=True).quiet(1000)
    moments = [decision.at for decision in talk.decisions]
    assert moments == sorted(moments)
