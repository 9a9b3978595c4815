"""Playing one scenario on a live call and noting what was said when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evals.caller import Caller, Health, Offer
from evals.gate import OPUS, segments
from evals.heard import SAMPLE_RATE_HZ
from evals.scenario import Behaviour, Scenario, Step, Wait
from evals.speakers import sound_of

# The agent greets first; a scenario begins when the greeting is over.
_GREETING_STARTS_S = 4.0
_GREETING_ENDS_S = 20.0
_SETTLED_S = 0.8
_TAIL_S = 1.0
ANSWER_LIMIT_S = 8.0  # what comes later is no answer
_STOP_CONSONANT_S = 0.15  # speech has silences this long inside words


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something the caller did, on the caller's clock.

    Attributes:
        role: What was meant by it; `tic` for sounds.
        text: The words.
        on_s: First sample of sound.
        off_s: Last sample of sound.
        agent_audible: Whether the agent was being heard when it began.
    """

    role: str
    text: str
    on_s: float
    off_s: float
    agent_audible: bool = False


@dataclass
class Recording:
    """One played scenario.

    Attributes:
        scenario: What was played.
        utterances: What the caller did.
        said: The caller's side, float32 at 48 kHz.
        heard: The agent's side as heard, same clock and length.
        events: What the agent reported over the data channel, with the time of arrival.
        health: Whether the machine could be trusted.
        failed_wait: The step that was waited for in vain, if any: the script ended there.
        script_s: When the greeting was over and the script began.
    """

    scenario: Scenario
    utterances: list[Utterance]
    said: np.ndarray
    heard: np.ndarray
    events: list[tuple[float, dict[str, Any]]]
    health: Health
    failed_wait: str = ""
    script_s: float = 0.0


async def conduct(scenario: Scenario, offer: Offer) -> Recording:
    """Call the agent, let it greet, play the scenario, hang up."""
    for step in scenario.timeline:  # synthesise before the call: it must not disturb the timing
        sound_of(step)
    utterances: list[Utterance] = []
    failed = ""
    async with Caller(offer) as caller:
        await caller.wait_audible(True, for_s=0.1, timeout_s=_GREETING_STARTS_S)
        await caller.wait_audible(False, for_s=_SETTLED_S, timeout_s=_GREETING_ENDS_S)
        script_s = caller.now_s
        for number, step in enumerate(scenario.timeline):
            if step.wait is None:
                utterances.append(await _utter(caller, step))
            elif not await _wait(caller, step.wait):
                failed = f"step {number}: {step.wait.until or 'the agent is not speaking'}"
                break
        if scenario.expect is Behaviour.RESPOND and not failed:
            await _wait_for_late_answer(caller, utterances[-1].off_s)
        await caller.sleep(_TAIL_S)
        said, heard = caller.recording()
        events, health = list(caller.events), caller.health()
        return Recording(scenario, utterances, said, heard, events, health, failed, script_s)


async def _wait_for_late_answer(caller: Caller, after_s: float) -> None:
    """A silent agent may still be thinking: hang up when it has answered, or could not any more."""
    _, heard = caller.recording()
    if not any(s.on_s > after_s for s in segments(heard, SAMPLE_RATE_HZ, OPUS)):
        timeout_s = after_s + ANSWER_LIMIT_S - caller.now_s
        await caller.wait_audible(True, for_s=0.1, timeout_s=timeout_s)


async def _wait(caller: Caller, wait: Wait) -> bool:
    """Wait as the script says; False when what it waits for or requires does not happen."""
    if wait.until == "agent_onset":
        return await caller.wait_audible(True, for_s=0.1, timeout_s=wait.timeout_s)
    if wait.until == "agent_settled":
        return await caller.wait_audible(False, for_s=_SETTLED_S, timeout_s=wait.timeout_s)
    await caller.sleep(float(wait.s))
    return not wait.agent_must_be_voicing or await _is_audible(caller)


async def _is_audible(caller: Caller) -> bool:
    return await caller.wait_audible(True, for_s=0.02, timeout_s=_STOP_CONSONANT_S)


async def _utter(caller: Caller, step: Step) -> Utterance:
    pcm = sound_of(step)
    audible = await _is_audible(caller)
    begin_s = caller.mouth.say(pcm)
    end_s = begin_s + len(pcm) / SAMPLE_RATE_HZ
    await caller.sleep(max(0.0, end_s - caller.now_s))
    return Utterance(step.role, step.words, begin_s, end_s, audible)
