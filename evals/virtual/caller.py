"""A caller who follows a script and reacts to what the agent does."""

from __future__ import annotations

from collections.abc import Callable

from agent.activity import FRAME_SAMPLES, SAMPLES_PER_MS
from evals.scenario import Scenario, Step, Wait
from evals.virtual.speech import Utterance

SETTLED_MS = 1200


class Caller:
    """Steps through the script, one tick at a time.

    Attributes:
        done: The script is over.
        valid: Every precondition held when it was checked.
        waited_in_vain: The agent once did not do what the script waits for.
        spoken: Every utterance so far with the sample it began at.
    """

    def __init__(self, scenario: Scenario, perform: Callable[[Step], Utterance]):
        self.done = False
        self.valid = True
        self.waited_in_vain = False
        self.spoken: list[tuple[int, Utterance]] = []
        self._perform = perform
        self._steps = list(scenario.timeline)
        self._step: Step | None = None
        self._began = 0

    @property
    def finished(self) -> bool:
        """Whether the caller has nothing more to say in this turn: the next step is not speech."""
        return self._step is None or self._step.say is None

    def tick(self, now: int, agent: list[bool]) -> bool:
        """Whether the caller's voice is heard in the 20 ms that end at `now`.

        Args:
            now: Samples since the call began.
            agent: Whether the agent was audible, for every tick so far.
        """
        while self._step_over(now, agent):
            if not self._steps:
                self.done, self._step = True, None
                return False
            self._begin(self._steps.pop(0), now)
        if self._step is None or self._step.wait is not None:
            return False
        began, utterance = self.spoken[-1]
        return utterance.voiced[(now - began) // FRAME_SAMPLES - 1]

    def _begin(self, step: Step, now: int) -> None:
        self._step, self._began = step, now - FRAME_SAMPLES
        if step.wait is None:
            self.spoken.append((self._began, self._perform(step)))

    def _step_over(self, now: int, agent: list[bool]) -> bool:
        if self._step is None:
            return not self.done
        if self._step.wait is not None:
            return self._waited(self._step.wait, now, agent)
        began, utterance = self.spoken[-1]
        return now - began > len(utterance.voiced) * FRAME_SAMPLES

    def _waited(self, wait: Wait, now: int, agent: list[bool]) -> bool:
        waited_ms = (now - self._began) / SAMPLES_PER_MS
        if not wait.until:
            over = waited_ms > float(wait.s) * 1000
            if over and wait.agent_must_be_voicing and not (agent and agent[-1]):
                self.valid = False
            return over
        if waited_ms > wait.timeout_s * 1000:
            self.waited_in_vain = True
            return True
        since = agent[self._began // FRAME_SAMPLES :]
        if wait.until == "agent_onset":
            return any(since)
        quiet = SETTLED_MS * SAMPLES_PER_MS // FRAME_SAMPLES
        return any(agent) and len(agent) >= quiet and not any(agent[-quiet:])
