"""Playing one scenario on a live call and noting what was said when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from evals.caller import Caller, Health, Offer
from evals.heard import SAMPLE_RATE_HZ
from evals.scenario import Scenario, Step, Wait
from evals.speakers import noise_burst, speak

# The agent greets first; a scenario begins when the greeting is over.
_GREETING_STARTS_S = 4.0
_GREETING_ENDS_S = 20.0
_SETTLED_S = 0.8
_TAIL_S = 1.0
_STOP_CONSONANT_S = 0.15  # speech has silences this long inside words
_PAUSE = re.compile(r"(\[[\d.]+\])")
_CALLER = ("flite:rms", 0.0)
# Somebody else in the room: another voice, softer (levels of Full-Duplex-Bench 1.5).
_SPEAKERS = {"side_talk": ("flite:slt", -8.0), "background": ("flite:awb", -15.0)}


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something the caller did, on the caller's clock.

    Attributes:
        role: What was meant by it; `tic` for sounds.
        text: The words.
        on_s: First sample of sound.
        off_s: Last sample of sound.
        pauses_s: Silences inside, as (begin, end).
        agent_audible: Whether the agent was being heard when it began.
    """

    role: str
    text: str
    on_s: float
    off_s: float
    pauses_s: tuple[tuple[float, float], ...] = ()
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
    """

    scenario: Scenario
    utterances: list[Utterance]
    said: np.ndarray
    heard: np.ndarray
    events: list[tuple[float, dict[str, Any]]]
    health: Health
    failed_wait: str = ""


async def conduct(scenario: Scenario, offer: Offer) -> Recording:
    """Call the agent, let it greet, play the scenario, hang up."""
    for step in scenario.timeline:  # synthesise before the call: it must not disturb the timing
        _sound_of(step)
    utterances: list[Utterance] = []
    failed = ""
    async with Caller(offer) as caller:
        await caller.wait_audible(True, for_s=0.1, timeout_s=_GREETING_STARTS_S)
        await caller.wait_audible(False, for_s=_SETTLED_S, timeout_s=_GREETING_ENDS_S)
        for number, step in enumerate(scenario.timeline):
            if step.wait is None:
                utterances.append(await _utter(caller, step))
            elif not await _wait(caller, step.wait):
                failed = f"step {number}: {step.wait.until or 'the agent is not speaking'}"
                break
        await caller.sleep(_TAIL_S)
        said, heard = caller.recording()
        return Recording(
            scenario, utterances, said, heard, list(caller.events), caller.health(), failed
        )


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
    pcm, pauses = _sound_of(step)
    audible = await _is_audible(caller)
    begin_s = caller.mouth.say(pcm)
    end_s = begin_s + len(pcm) / SAMPLE_RATE_HZ
    await caller.sleep(max(0.0, end_s - caller.now_s))
    return Utterance(
        step.say.role if step.say else "tic",
        _words(step.say.text) if step.say else "",
        begin_s,
        end_s,
        tuple((begin_s + a, begin_s + b) for a, b in pauses),
        audible,
    )


def _sound_of(step: Step) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Samples at 48 kHz and the silences inside them, seconds from the start."""
    if step.sound is not None:
        return noise_burst(step.sound.kind, float(step.sound.s)), []
    if step.say is None:
        return np.zeros(0, np.float32), []
    voice, gain_db = _SPEAKERS.get(step.say.role, _CALLER)
    pieces: list[np.ndarray] = []
    pauses: list[tuple[float, float]] = []
    for part in _PAUSE.split(step.say.text):
        if _PAUSE.fullmatch(part):
            begin_s = sum(map(len, pieces)) / SAMPLE_RATE_HZ
            pauses.append((begin_s, begin_s + float(part[1:-1])))
            pieces.append(np.zeros(int(float(part[1:-1]) * SAMPLE_RATE_HZ), np.float32))
        elif part.strip():
            pieces.append(speak(part.strip(), voice) * np.float32(10 ** (gain_db / 20)))
    return np.concatenate(pieces), pauses


def _words(text: str) -> str:
    return " ".join(_PAUSE.sub(" ", text).split())
