"""Turn-taking: the one state machine that decides when the agent listens, answers and gives way.

    caller    "a table for" ┐      ┌ "two" ┐                      ┌ mm-hm ┐         ┌ "wait, no …
    state    CALLER         │PAUSE │CALLER │PAUSE      │THINKING  │HELD   │SPEAKING │HELD │CALLER
    agent                                                  ██████████·········████████████
    decided  │              │   │  │       │ │         │          │       │         │     │
       TurnStarted     Flush│Hold  │  Flush│ Speculate Commit     Duck    Resume    Duck  Interrupt
                                                                        Backchannel     TurnStarted

Evidence goes in, each piece stamped in samples received; decisions come out, each with its reason. There
is no clock, no task and no randomness in here, so the same evidence always gives the same decisions, and
a call can be replayed from its log.

Every `TurnStarted` ends in exactly one `Commit`, `Ignore` or `Backchannel`. `DropSpeculation` may take a
`Commit` back as long as nobody has heard its reply; a new `TurnStarted` then follows at once. Every `Duck`
ends in exactly one `Resume`, `Interrupt` or `DropSpeculation`.

`floor.py` says what is remembered, `caller_rules.py` and `agent_rules.py` hold one rule per state.
"""

from __future__ import annotations

from agent import agent_rules, caller_rules
from agent.decisions import Decision, Interrupt
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
from agent.floor import Floor, State
from agent.pace import BALANCED, TurnOptions

ACKNOWLEDGING_MS = 3000  # the agent's "mm-hm" begins so soon after it was asked for

_RULES = {
    State.LISTENING: caller_rules.listening,
    State.CALLER: caller_rules.caller,
    State.PAUSE: caller_rules.pause,
    State.THINKING: agent_rules.thinking,
    State.SPEAKING: agent_rules.speaking,
    State.HELD: agent_rules.held,
}


class TurnTaking:
    """The rules of conversation. Feed every piece of evidence to `observe`, in order."""

    def __init__(self, options: TurnOptions = BALANCED):
        """Begin a conversation in which nobody has spoken.

        Args:
            options: How patient to be; `agent.pace.options_for` turns a persona's pace into them.
        """
        self._floor = Floor(options)

    @property
    def state(self) -> State:
        """Who has the floor now."""
        return self._floor.state

    def observe(self, evidence: Evidence) -> list[Decision]:
        """Take in one piece of evidence.

        Args:
            evidence: Stamped in samples received. Evidence that comes late counts as coming now.

        Returns:
            What to do, in this order; usually nothing.
        """
        floor = self._floor
        floor.out = []
        floor.now = max(floor.now, evidence.at)
        _note(floor, evidence)
        before = None
        while before is not floor.state:
            before = floor.state
            if floor.typed:
                agent_rules.typed(floor)
            _RULES[floor.state](floor)
        return floor.out


def _note(floor: Floor, evidence: Evidence) -> None:
    """Remember a fact."""
    match evidence:
        case Sound():
            floor.voice.hear(evidence)
            if floor.audible:
                floor.audible_until = floor.now
        case Heard():
            floor.words.hear(evidence.hypothesis, floor.now)
            floor.forget_late_words()
            floor.words.drop_echo(floor.agent_text, floor.audible_until, floor.voice.own_voice)
        case Finished():
            if evidence.pause_began == floor.stopped:
                floor.sound_finished = evidence.probability
        case AgentThinking():
            floor.thinking, floor.words_written = evidence.thinking, evidence.words
        case AgentAudio():
            _note_agent(floor, evidence)
        case Typed():
            floor.typed = f"{floor.typed} {evidence.text}".strip()
        case StopPressed():
            agent_rules.stop_pressed(floor)


def _note_agent(floor: Floor, audio: AgentAudio) -> None:
    began = audio.audible and audio.interruptible and not floor.audible
    floor.audible = audio.audible
    floor.thinking = floor.thinking and not audio.audible
    floor.interruptible = audio.interruptible or not audio.audible
    floor.agent_text = audio.text or floor.agent_text
    acknowledging = floor.after_ms(floor.acknowledged) < ACKNOWLEDGING_MS
    if began and floor.state in (State.CALLER, State.PAUSE) and not acknowledging:
        floor.drop_speculation("the agent was about to say something else")
        floor.decide(Interrupt, "the caller was already speaking")
        floor.audible = False
