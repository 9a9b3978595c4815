"""What a run shows, by the definitions the field uses.

V2V: from the caller's last voiced sample to the agent's first. False takeover: the agent becomes audible
before the caller's turn is over. Miss: no answer within 8 s. Yield (tau-voice): the agent stops within
2.0 s of a real interruption, for good. False stop: a backchannel, noise or side talk that silences the
agent for 400 ms or more beginning within 1.0 s; hard, when it does not go on with the same audio.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent import decisions as d
from agent.activity import FRAME_SAMPLES, SAMPLES_PER_MS
from agent.completeness import normalise
from evals.scenario import Behaviour, Scenario
from evals.virtual.speech import Utterance
from evals.virtual.world import Run

MISS_MS = 8_000
YIELD_MS = 2_000
STOP_WITHIN_MS = 1_000
STOP_MS = 400
_MEANT = ("turn", "interruption")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run, judged.

    Attributes:
        valid: The preconditions held.
        missed: The agent once did not do what the caller waited for, or left the last turn unanswered.
        v2v_ms: Voice to voice after the caller's last turn; None without an answer.
        took_over: The agent spoke before that turn was over.
        stop_ms: From an interruption's onset to the agent's silence; None when it did not stop in time.
        yielded: The agent stopped for good.
        silenced_ms: How long a distractor silenced the agent.
        hard_stop: The agent did not go on afterwards.
        answered: The agent answered a distractor.
        answers: How many replies were heard after the last turn.
        lost: Words the caller meant for the agent that no commit holds.
    """

    scenario: Scenario
    valid: bool
    missed: bool = False
    v2v_ms: float | None = None
    took_over: bool = False
    stop_ms: float | None = None
    yielded: bool = False
    silenced_ms: float = 0.0
    hard_stop: bool = False
    answered: bool = False
    answers: int = 0
    lost: tuple[str, ...] = ()


def measure(scenario: Scenario, run: Run) -> Outcome:
    """Judge a run by what its scenario expects."""
    if not run.spoken:
        return Outcome(scenario, run.valid, answered=any(run.agent))
    began, probe = run.spoken[-1]
    onset, end = _span(began, probe)
    if scenario.expect is Behaviour.RESPOND:
        waited_ms = _first_onset_ms(run, end)
        return Outcome(
            scenario,
            run.valid,
            missed=run.waited_in_vain or waited_ms is None,
            v2v_ms=waited_ms,
            took_over=_took_over(run),
            stop_ms=_stop_ms(run, onset) if probe.role == "interruption" else None,
            yielded=_interrupted(run, onset, YIELD_MS),
            answers=_onsets(run, end),
            lost=_lost(run),
        )
    return Outcome(
        scenario,
        run.valid,
        silenced_ms=_silenced_ms(run, onset) if scenario.expect is Behaviour.RESUME else 0.0,
        hard_stop=_interrupted(run, onset, 10_000),
        answered=scenario.expect is Behaviour.SILENT and _first_onset_ms(run, end) is not None,
        lost=_lost(run),
    )


def _span(began: int, utterance: Utterance) -> tuple[int, int]:
    """First and last voiced tick."""
    ticks = [i for i, voiced in enumerate(utterance.voiced) if voiced] or [0]
    first = began // FRAME_SAMPLES
    return first + ticks[0], first + ticks[-1] + 1


def _ms(ticks: int) -> float:
    return ticks * FRAME_SAMPLES / SAMPLES_PER_MS


def _first_onset_ms(run: Run, after: int) -> float | None:
    before = after and run.agent[after - 1]
    for tick in range(after, len(run.agent)):
        if run.agent[tick] and not before:
            waited = _ms(tick - after)
            return waited if waited <= MISS_MS else None
        before = run.agent[tick]
    return None


def _onsets(run: Run, after: int) -> int:
    """Replies that began after a tick (a reply that goes on after being held is not a new one)."""
    return sum(reply.ready_at >= after * FRAME_SAMPLES for reply in run.replies)


def _took_over(run: Run) -> bool:
    """Whether a reply began inside any utterance, its inner pauses included."""
    for began, utterance in run.spoken:
        first, end = _span(began, utterance)
        if utterance.role != "turn":
            continue
        if any(run.agent[t] and not run.agent[t - 1] for t in range(max(first, 1), end)):
            return True
    return False


def _stop_ms(run: Run, onset: int) -> float | None:
    for tick in range(onset, min(onset + int(YIELD_MS / 20), len(run.agent))):
        if not run.agent[tick]:
            return _ms(tick - onset)
    return None


def _interrupted(run: Run, onset: int, within_ms: float) -> bool:
    limit = onset * FRAME_SAMPLES + within_ms * SAMPLES_PER_MS
    return any(
        isinstance(decision, d.Interrupt) and onset * FRAME_SAMPLES <= decision.at <= limit
        for decision in run.decisions
    )


def _silenced_ms(run: Run, onset: int) -> float:
    """The longest silence of the agent that began within a second of the onset."""
    longest = 0
    for tick in range(onset, min(onset + STOP_WITHIN_MS // 20, len(run.agent))):
        if run.agent[tick] or not run.agent[tick - 1]:
            continue
        back = next((t for t in range(tick, len(run.agent)) if run.agent[t]), len(run.agent))
        longest = max(longest, back - tick)
    return _ms(longest)


def _lost(run: Run) -> tuple[str, ...]:
    said = [
        token
        for _, utterance in run.spoken
        if utterance.role in _MEANT
        for word in utterance.words
        for token in normalise(word.text)
    ]
    kept: list[str] = []
    texts: list[str] = []
    for decision in run.decisions:
        if isinstance(decision, d.Commit):
            texts.append(decision.text)
        elif isinstance(decision, d.DropSpeculation) and texts and _taken_back(run, decision):
            texts.pop()
    for text in texts:
        kept += normalise(text)
    lost = []
    for token in said:
        if token in kept:
            kept.remove(token)
        else:
            lost.append(token)
    return tuple(lost)


def _taken_back(run: Run, drop: d.DropSpeculation) -> bool:
    """Whether a dropped speculation had been committed: nothing else came between the two."""
    place = next(i for i, decision in enumerate(run.decisions) if decision is drop)
    for decision in reversed(run.decisions[:place]):
        if isinstance(decision, d.Speculate):
            return False
        if isinstance(decision, d.Commit):
            return True
    return False
