"""From a recording to numbers, from the caller's chair.

Definitions follow the field's: a turn is answered when the agent becomes audible after it (voice to
voice, unless it cut in); an interruption is yielded when the agent falls silent within 2 s;
a backchannel, noise or side talk wrongly stops the agent when it falls silent for 400 ms or more
within 1 s; a pause is taken for the end when the agent becomes audible inside it or before the turn
is over (Full-Duplex-Bench, arXiv 2503.04721; τ-voice, arXiv 2603.13686).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.completeness import normalise
from evals.conduct import Recording, Utterance
from evals.gate import OPUS, Segment, segments
from evals.heard import SAMPLE_RATE_HZ

_YIELD_LIMIT_S = 2.0
_WRONG_STOP_WITHIN_S = 1.0
_WRONG_STOP_LASTS_S = 0.4
_ANSWER_LIMIT_S = 8.0
# Nothing answers a caller sooner than this: what is heard before is the interrupted speech going on.
_NO_REPLY_BEFORE_S = 0.2


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
        stop_ms: From the first sample of an interruption to the last sample of the agent's speech.
        stop_for_good_ms: The same, where the agent fell silent, went on and stopped again, to the last
            sample of what it went on with.
        yielded: The agent stopped for an interruption within 2 s.
        wrongly_stopped: It stopped for something that was no interruption.
        cut_in: It spoke inside a pause or before the turn was over.
        answered: It answered the turn within 8 s.
        first_word_heard: The interruption's first word is among those understood from then on.
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


def measure(recording: Recording) -> list[Measurement]:
    """Measure each utterance that was played; nothing where the machine could not be trusted."""
    if not recording.health.ok:
        return []
    speech = segments(recording.heard, SAMPLE_RATE_HZ, OPUS)
    found = []
    for index, utterance in enumerate(recording.utterances):
        following = recording.utterances[index + 1 : index + 2]
        until_s = following[0].on_s if following else len(recording.heard) / SAMPLE_RATE_HZ
        found.append(_measure_one(recording, utterance, speech, until_s))
    return found


def _measure_one(
    recording: Recording,
    utterance: Utterance,
    speech: list[Segment],
    until_s: float,
) -> Measurement:
    scenario = recording.scenario
    speaking = next((s for s in speech if s.on_s < utterance.on_s < s.off_s), None)
    if utterance.role not in ("turn", "interruption"):
        wrongly = None
        if speaking is not None:
            rest = speech[speech.index(speaking) :]
            again_s = [*(s.on_s for s in rest[1:]), until_s]
            wrongly = any(
                on_s - s.off_s >= _WRONG_STOP_LASTS_S
                for s, on_s in zip(rest, again_s, strict=True)
                if s.off_s < utterance.on_s + _WRONG_STOP_WITHIN_S
            )
        return Measurement(scenario.id, scenario.family, utterance.role, wrongly_stopped=wrongly)
    if utterance.role == "interruption" and speaking is not None:
        old = [s for s in speech if s.on_s < utterance.off_s + _NO_REPLY_BEFORE_S]
        stop_s = speaking.off_s - utterance.on_s
        for_good_s = old[-1].off_s - utterance.on_s
        after = next((s for s in speech if old[-1].off_s < s.on_s < until_s), None)
        return Measurement(
            scenario.id,
            scenario.family,
            utterance.role,
            voice_to_voice_ms=_ms(after.on_s - utterance.off_s) if after else None,
            stop_ms=_ms(stop_s) if stop_s <= _YIELD_LIMIT_S else None,
            stop_for_good_ms=_ms(for_good_s) if for_good_s <= _YIELD_LIMIT_S else None,
            yielded=for_good_s <= _YIELD_LIMIT_S,
            answered=after is not None,
            first_word_heard=normalise(utterance.text)[0] in _understood(recording, utterance.on_s),
        )
    cut_in = any(utterance.on_s < s.on_s < utterance.off_s for s in speech)
    answer = next((s for s in speech if utterance.on_s < s.on_s < until_s), None)
    answered = answer is not None and answer.on_s - utterance.off_s <= _ANSWER_LIMIT_S
    waited_ms = _ms(answer.on_s - utterance.off_s) if answer and not cut_in else None
    told = next(_told(recording, "latency", utterance.off_s, until_s), None)
    off_ms = None if waited_ms is None or told is None else abs(waited_ms - told["total_ms"])
    ahead = [one["kept"] for one in _told(recording, "speculation", utterance.on_s, until_s)]
    return Measurement(
        scenario.id,
        scenario.family,
        utterance.role,
        voice_to_voice_ms=waited_ms,
        waterfall_off_ms=None if off_ms is None else round(off_ms, 1),
        llm_ms=None if told is None else _part_ms(told, "LLM first word"),
        prepared=any(ahead) if answered else None,
        thrown_away=ahead.count(False),
        cut_in=cut_in,
        answered=answered,
    )


def _told(
    recording: Recording, kind: str, begin_s: float, end_s: float
) -> Iterator[dict[str, Any]]:
    """What the agent reported of this kind between two moments, in order."""
    for at_s, event in recording.events:
        data = event.get("data")
        if begin_s < at_s < end_s and isinstance(data, dict) and data.get("event") == kind:
            yield data


def _part_ms(latency: dict[str, Any], name: str) -> float:
    return next(float(part["ms"]) for part in latency["parts"] if part["name"] == name)


def _understood(recording: Recording, begin_s: float) -> set[str]:
    """Every word that the agent reported to have understood from a moment on."""
    told = _told(recording, "caller_words", begin_s, float("inf"))
    return {word for data in told for word in normalise(str(data.get("text", "")))}


def _ms(seconds: float) -> float:
    return round(1000 * float(seconds), 1)
