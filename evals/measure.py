"""From a recording to numbers, from the caller's chair.

Definitions follow the field's: a turn is answered when the agent begins to speak, and speaks on after it
(voice to voice, unless it cut in); an interruption is yielded when the agent falls silent within 2 s and
next says something new; a backchannel, noise or side talk wrongly stops the agent when it falls silent
for 400 ms or more within 1 s; a pause is taken for the end when the agent becomes audible inside it or
before the turn is over (Full-Duplex-Bench, arXiv 2503.04721; τ-voice, arXiv 2603.13686).

Sound alone cannot tell the pauses of an agent that goes on from an answer: after an interruption, an
answer is what is heard when the agent reports that a reply has begun. Nor can it tell them from the end
of a reply: words into a pause are an interruption when the agent had not reported that it listens. If it
stays silent it has yielded, and there was nothing to be stopped, so no time is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.completeness import normalise
from asr.interface import SAMPLE_RATE_HZ as JUDGE_HZ
from common.resample import resample
from evals.conduct import ANSWER_LIMIT_S, Recording, Utterance
from evals.gate import OPUS, Segment, segments
from evals.heard import SAMPLE_RATE_HZ
from evals.scenario import Behaviour
from pipelines.judges import SILERO_WINDOW_SAMPLES, Silero

_YIELD_LIMIT_S = 2.0
_WRONG_STOP_WITHIN_S = 1.0
_WRONG_STOP_LASTS_S = 0.4
_REPORT_LATE_S = 0.1  # a report may come in this much after the sound that it announces
_JUDGED_S = 2.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one utterance of the caller led to. None: does not apply or did not happen.

    Attributes:
        scenario: Item it belongs to.
        family: What the item examines.
        role: What the caller meant.
        voice_to_voice_ms: From the last sample said to the first heard.
        waterfall_off_ms: By how much the agent's own account of that latency differs.
        llm_ms: From the decision that the turn is over to the reply's first word, by the agent's account.
        prepared: The reply had been prepared before that decision.
        thrown_away: Replies that were prepared for it and dropped.
        stop_ms: From the first sample of an interruption to the last sample of the agent's speech; None
            for words into a pause of it.
        stop_for_good_ms: The same, where the agent fell silent, went on and stopped again, to the last
            sample of what it went on with.
        yielded: The agent stopped for an interruption within 2 s.
        wrongly_stopped: It stopped for something that was no interruption.
        cut_in: It spoke inside a pause or before the turn was over.
        answered: It answered the turn within 8 s, with speech.
        first_word_heard: The interruption's first word is among the final words of what followed.
        spoke_unasked: It spoke though nobody had said anything to it; for scenarios of silence.
    """

    scenario: str
    family: str
    role: str
    voice_to_voice_ms: float | None = None
    waterfall_off_ms: float | None = None
    llm_ms: float | None = None
    prepared: bool | None = None
    thrown_away: int | None = None
    stop_ms: float | None = None
    stop_for_good_ms: float | None = None
    yielded: bool | None = None
    wrongly_stopped: bool | None = None
    cut_in: bool | None = None
    answered: bool | None = None
    first_word_heard: bool | None = None
    spoke_unasked: bool | None = None


@dataclass(frozen=True, slots=True)
class _Moment:
    """An utterance, what was heard of the agent in the whole call, and when the next utterance begins."""

    recording: Recording
    utterance: Utterance
    speech: list[Segment]
    until_s: float

    @property
    def named(self) -> tuple[str, str, str]:
        scenario = self.recording.scenario
        return scenario.id, scenario.family, self.utterance.role

    @property
    def speaking(self) -> Segment | None:
        """What the agent was saying when the utterance began."""
        return next((s for s in self.speech if s.on_s < self.utterance.on_s < s.off_s), None)


def measure(recording: Recording) -> list[Measurement]:
    """Measure each utterance that was played; nothing where the machine could not be trusted."""
    if not recording.health.ok:
        return []
    speech = segments(recording.heard, SAMPLE_RATE_HZ, OPUS)
    scenario = recording.scenario
    if scenario.expect is Behaviour.SILENT:
        spoke = any(s.on_s > recording.script_s for s in speech)
        return [Measurement(scenario.id, scenario.family, "silence", spoke_unasked=spoke)]
    begins_s = [utterance.on_s for utterance in recording.utterances]
    untils_s = [*begins_s[1:], len(recording.heard) / SAMPLE_RATE_HZ]
    return [
        _measure_one(_Moment(recording, utterance, speech, until_s))
        for utterance, until_s in zip(recording.utterances, untils_s, strict=True)
    ]


def _measure_one(moment: _Moment) -> Measurement:
    utterance = moment.utterance
    if utterance.role not in ("turn", "interruption"):
        return Measurement(*moment.named, wrongly_stopped=_wrongly_stopped(moment))
    amid = moment.speaking or _amid_reply(moment.recording, utterance.on_s)
    return _interruption(moment) if utterance.role == "interruption" and amid else _turn(moment)


def _wrongly_stopped(moment: _Moment) -> bool | None:
    if moment.speaking is None:
        return None
    rest = moment.speech[moment.speech.index(moment.speaking) :]
    again_s = [*(s.on_s for s in rest[1:]), moment.until_s]
    return any(
        on_s - s.off_s >= _WRONG_STOP_LASTS_S
        for s, on_s in zip(rest, again_s, strict=True)
        if s.off_s < moment.utterance.on_s + _WRONG_STOP_WITHIN_S
    )


def _interruption(moment: _Moment) -> Measurement:
    recording, utterance, until_s = moment.recording, moment.utterance, moment.until_s
    speech, speaking = moment.speech, moment.speaking
    begun_s = next((at_s for at_s, _ in _told(recording, "latency", utterance.on_s)), until_s)
    after = next((s for s in speech if begun_s - _REPORT_LATE_S < s.on_s < until_s), None)
    old = [s for s in speech if s.on_s < (after.on_s if after else until_s)]
    for_good_s = old[-1].off_s - utterance.on_s
    yielded = for_good_s <= _YIELD_LIMIT_S
    answered, waited_ms = _waited(recording, utterance, after)
    return Measurement(
        *moment.named,
        voice_to_voice_ms=waited_ms,
        stop_ms=_ms(speaking.off_s - utterance.on_s) if yielded and speaking else None,
        stop_for_good_ms=_ms(for_good_s) if yielded and for_good_s > 0 else None,
        yielded=yielded,
        cut_in=after is not None and after.on_s < utterance.off_s,
        answered=answered,
        first_word_heard=normalise(utterance.text)[0] in _understood(recording, utterance.on_s),
    )


def _turn(moment: _Moment) -> Measurement:
    recording, utterance, until_s = moment.recording, moment.utterance, moment.until_s
    begun = [s for s in moment.speech if utterance.on_s < s.on_s < until_s]
    cut_in = any(s.on_s < utterance.off_s for s in begun)
    answer = next((s for s in begun if s.off_s > utterance.off_s), None)
    answered, waited_ms = _waited(recording, utterance, answer)
    if cut_in:
        waited_ms = None
    told = next((data for _, data in _told(recording, "latency", utterance.off_s, until_s)), None)
    off_ms = None if waited_ms is None or told is None else abs(waited_ms - told["total_ms"])
    speculations = _told(recording, "speculation", utterance.on_s, until_s)
    ahead = [data["kept"] for _, data in speculations]
    return Measurement(
        *moment.named,
        voice_to_voice_ms=waited_ms,
        waterfall_off_ms=None if off_ms is None else round(off_ms, 1),
        llm_ms=None if told is None else _part_ms(told, "LLM first word"),
        prepared=any(ahead) if answered else None,
        thrown_away=ahead.count(False),
        cut_in=cut_in,
        answered=answered,
    )


def _waited(
    recording: Recording, utterance: Utterance, answer: Segment | None
) -> tuple[bool, float | None]:
    """Whether the utterance was answered, and voice to voice in ms unless the agent cut in."""
    if answer is None or not _is_speech(recording.heard, answer):
        return False, None
    waited_s = answer.on_s - utterance.off_s
    if waited_s > ANSWER_LIMIT_S:
        return False, None
    return True, _ms(waited_s) if waited_s >= 0 else None


def _amid_reply(recording: Recording, at_s: float) -> bool:
    """Whether the agent, silent at this moment, had reported no end of what it was saying."""
    states = [data["state"] for _, data in _told(recording, "state", 0.0, at_s)]
    return states[-1:] in (["speaking"], ["ducked"])


def _is_speech(heard: np.ndarray, segment: Segment) -> bool:
    """Whether Silero believes in the greater part of a segment's beginning; noise is no answer."""
    until_s = min(segment.off_s, segment.on_s + _JUDGED_S)
    cut = heard[int(segment.on_s * SAMPLE_RATE_HZ) : int(until_s * SAMPLE_RATE_HZ)]
    pcm = resample(cut, SAMPLE_RATE_HZ, JUDGE_HZ)
    padded = np.pad(pcm, (0, -len(pcm) % SILERO_WINDOW_SAMPLES))
    silero = Silero()
    beliefs = [silero.step(window) for window in padded.reshape(-1, SILERO_WINDOW_SAMPLES)]
    return float(np.median(beliefs)) > 0.5


def _told(
    recording: Recording, kind: str, begin_s: float, end_s: float = float("inf")
) -> Iterator[tuple[float, dict[str, Any]]]:
    """What the agent reported of this kind between two moments, in order, and when."""
    for at_s, event in recording.events:
        data = event.get("data")
        if begin_s < at_s < end_s and isinstance(data, dict) and data.get("event") == kind:
            yield at_s, data


def _part_ms(latency: dict[str, Any], name: str) -> float:
    return next(float(part["ms"]) for part in latency["parts"] if part["name"] == name)


def _understood(recording: Recording, begin_s: float) -> set[str]:
    """The final words of every turn after a moment; guesses that were taken back do not count."""
    told = _told(recording, "caller_words", begin_s)
    return {word for _, data in told if data["final"] for word in normalise(data["text"])}


def _ms(seconds: float) -> float:
    return round(1000 * float(seconds), 1)
