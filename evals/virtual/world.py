"""One conversation in virtual time: 20 ms per tick, scripted engines, the real turn-taking.

Everything that takes time takes a fixed or seeded time, so a run is exact to the bit. It shows what
turn-taking decides, never how fast a machine is.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agent import decisions as d
from agent.activity import FRAME_SAMPLES, SAMPLES_PER_MS
from agent.eventlog import EventLog
from agent.evidence import AgentAudio, AgentThinking, Evidence, Finished, Heard
from agent.pace import BALANCED, TurnOptions
from agent.turns import TurnTaking
from evals.scenario import Scenario
from evals.virtual.caller import Caller
from evals.virtual.ears import Ears, ScriptedEars
from evals.virtual.speech import Utterance, spoken

ECHO_SAMPLES = 120 * SAMPLES_PER_MS
TAIL_MS = 9_000  # after the script: long enough for a late answer and for the miss limit of 8 s


@dataclass(frozen=True, slots=True)
class Engines:
    """How the scripted engines behave.

    Attributes:
        word_latency_ms: From the end of a word to its first appearance, shortest and longest.
        lag_ms: How far behind the voice the recogniser says that its words may be.
        flush_ms: From asking for final words to having them.
        word_error: Share of words that are misheard or lost.
        tries_ms: For how long the recogniser first shows another word, none of them stable.
        punctuation: Whether the recogniser writes any.
        judge_ms: What the judge of finished turns takes.
        think_ms: From a request to the first audio of the reply.
        echo: The agent's voice comes back through the caller's microphone.
    """

    word_latency_ms: tuple[int, int] = (60, 200)
    lag_ms: int = 0
    flush_ms: int = 90
    word_error: float = 0.0
    tries_ms: int = 0
    punctuation: bool = False
    judge_ms: int = 180
    think_ms: int = 220
    echo: bool = False


FAST = Engines()
DELAYED = Engines(word_latency_ms=(480, 560), lag_ms=480, flush_ms=160, punctuation=True)
HARSH = Engines(word_error=0.12, tries_ms=80, flush_ms=180, judge_ms=320)
ECHOING = Engines(echo=True)


@dataclass(slots=True)
class Reply:
    """What the scripted agent says to one turn."""

    text: str
    ready_at: int
    length: int
    to: str
    committed: bool = False
    played: int = 0
    interruptible: bool = True


@dataclass(slots=True)
class Run:
    """What happened.

    Attributes:
        decisions: All of them, in order.
        agent: Whether the agent was audible, per tick.
        replies: Every reply that became audible, with what was heard of it.
        spoken: The caller's utterances with the sample each began at.
        valid: The scenario's preconditions held.
        waited_in_vain: The agent once did not do what the caller's script waits for.
    """

    decisions: list[d.Decision] = field(default_factory=list)
    agent: list[bool] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    spoken: list[tuple[int, Utterance]] = field(default_factory=list)
    valid: bool = True
    waited_in_vain: bool = False


class World:
    """Runs one scenario."""

    def __init__(
        self,
        scenario: Scenario,
        engines: Engines = FAST,
        options: TurnOptions = BALANCED,
        log: EventLog | None = None,
        ears: Ears | None = None,
    ):
        """Set it up.

        Args:
            scenario: What the caller does.
            engines: How the scripted engines behave.
            options: How patient turn-taking is.
            log: Takes down all evidence and all decisions, as in a real call.
            ears: What hears the caller; scripted by `engines` when left out.
        """
        self.scenario = scenario
        self.engines = engines
        self.now = 0
        self.run = Run()
        rng = random.Random(scenario.seed)
        self._log = log or EventLog()
        self._turns = TurnTaking(options)
        self._ears = ears or ScriptedEars(engines, rng)
        self._caller = Caller(scenario, self._ears.perform)
        self._rng = rng
        self._inbox: deque[Evidence] = deque()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._reply: Reply | None = None
        self._ducked = False
        self._audible = False
        if scenario.notice:
            self._reply = self._new_reply(scenario.notice, "", 0, committed=True)
            self._reply.interruptible = False

    def play(self) -> Run:
        """Run to the end."""
        tail = TAIL_MS * SAMPLES_PER_MS
        ended = 0
        while ended < tail:
            self.now += FRAME_SAMPLES
            self._tick()
            ended = ended + FRAME_SAMPLES if self._caller.done else 0
        self.run.spoken = list(self._caller.spoken)
        self.run.valid = self._caller.valid
        self.run.waited_in_vain = self._caller.waited_in_vain
        return self.run

    def _tick(self) -> None:
        voiced = self._caller.tick(self.now, self.run.agent)
        self._play_reply()
        self.run.agent.append(self._audible)
        echo_at = len(self.run.agent) - 1 - ECHO_SAMPLES // FRAME_SAMPLES
        echo = self.engines.echo and echo_at >= 0 and self.run.agent[echo_at]
        self._observe(self._ears.frame(self.now, self._caller.spoken, voiced, echo))
        while self._due and self._due[0][0] <= self.now:
            heapq.heappop(self._due)[2]()
        if heard := self._ears.tick(self.now, self._caller.spoken):
            self._observe(heard)

    def _observe(self, evidence: Evidence) -> None:
        self._inbox.append(evidence)
        if len(self._inbox) > 1:  # carrying out a decision makes new evidence: that waits its turn
            return
        while self._inbox:
            self._log.evidence(self._inbox[0])
            for decision in self._turns.observe(self._inbox[0]):
                self._log.decision(decision)
                self.run.decisions.append(decision)
                self._act(decision)
            self._inbox.popleft()

    def _later(self, after_ms: float, action: Callable[[], None]) -> None:
        due = self.now + int(after_ms * SAMPLES_PER_MS)
        heapq.heappush(self._due, (due, next(self._order), action))

    def _act(self, decision: d.Decision) -> None:
        match decision:
            case d.FlushWords():
                final = self._ears.flush(self.now, self._caller.spoken)
                self._later(self.engines.flush_ms, lambda: self._observe(Heard(self.now, final)))
            case d.AskFinished():
                pause = decision.pause_began
                belief = self._ears.finished(self._caller.finished)
                self._later(
                    self.engines.judge_ms, lambda: self._observe(Finished(self.now, pause, belief))
                )
            case d.Speculate():
                self._reply = self._new_reply(
                    self.scenario.reply, decision.text, self.engines.think_ms
                )
            case d.Commit():
                self._ears.commit(decision.upto_samples)
                if self._reply is None or self._reply.to != decision.text:
                    self._reply = self._new_reply(
                        self.scenario.reply, decision.text, self.engines.think_ms
                    )
                self._reply.committed = True
                self._observe(AgentThinking(self.now, True))
            case d.DropSpeculation():
                self._reply = None
                self._ducked = False
            case d.Backchannel() | d.Ignore():
                self._ears.commit(decision.upto_samples)
            case d.Duck():
                self._ducked = True
                self._set_audible(False)
            case d.Resume():
                self._ducked = False
            case d.Interrupt():
                self._reply = None
                self._ducked = False
                self._set_audible(False)

    def _new_reply(self, text: str, to: str, think_ms: int, *, committed: bool = False) -> Reply:
        length = len(spoken(text, "turn", self._rng).voiced) * FRAME_SAMPLES
        return Reply(text, self.now + think_ms * SAMPLES_PER_MS, length, to, committed)

    def _play_reply(self) -> None:
        reply = self._reply
        if reply is None or not reply.committed or self._ducked or self.now < reply.ready_at:
            return
        if not reply.played:
            self.run.replies.append(reply)
        if not self._audible:
            self._set_audible(True, reply)
        reply.played += FRAME_SAMPLES
        if reply.played >= reply.length:
            self._reply = None
            self._set_audible(False)

    def _set_audible(self, audible: bool, reply: Reply | None = None) -> None:
        if audible is self._audible:
            return
        self._audible = audible
        if self.engines.echo and reply is not None:
            self._ears.echo(reply.text, self.now + ECHO_SAMPLES, reply.played)
        elif self.engines.echo:
            self._ears.echo_ends(self.now + ECHO_SAMPLES)
        text, interruptible = (reply.text, reply.interruptible) if reply else ("", True)
        self._observe(AgentAudio(self.now, audible, text, interruptible))
