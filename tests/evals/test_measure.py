"""What counts as stopped, answered and understood, on recordings of agents good and bad."""

import shutil
from functools import cache

import numpy as np
import pytest

from evals.caller import Health
from evals.conduct import Recording, Utterance
from evals.heard import SAMPLE_RATE_HZ
from evals.measure import Measurement, measure
from evals.report import scorecard
from evals.scenario import load_all
from evals.speakers import speak

needs_flite = pytest.mark.skipif(
    shutil.which("flite") is None, reason="needs flite (apt install flite)"
)

ITEMS = {one.family: one for one in reversed(load_all())}
YEAH = Utterance("backchannel", "yeah", 2.0, 2.3)


def tone(n_samples: int) -> np.ndarray:
    return 0.3 * np.sin(np.arange(n_samples, dtype=np.float32) * 0.05)


def noise(n_samples: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, n_samples).astype(np.float32)


@cache
def rivers() -> np.ndarray:
    words = (
        "rivers begin high in the mountains where rain and melting snow collect in small streams"
    )
    return speak(" and ".join([words] * 5), "flite:slt")


def speech(n_samples: int) -> np.ndarray:
    return rivers()[:n_samples]


def recording(
    *speech_s: tuple[float, float], said: Utterance = YEAH, family: str = "B", voice=tone
) -> Recording:
    """The agent speaks in these spans, the caller once."""
    heard = np.zeros(14 * SAMPLE_RATE_HZ, np.float32)
    for on_s, off_s in speech_s:
        on, off = int(on_s * SAMPLE_RATE_HZ), int(off_s * SAMPLE_RATE_HZ)
        heard[on:off] = voice(off - on)
    return Recording(ITEMS[family], [said], np.zeros_like(heard), heard, [], Health(0.0, 0.0))


def tell(played: Recording, at_s: float, event: str, **data: object) -> None:
    played.events.append((at_s, {"data": {"event": event} | data}))


@pytest.mark.parametrize(
    ("speech_s", "stopped"),
    [
        (((1.0, 6.0),), False),
        (((1.0, 2.05), (2.40, 6.0)), False),
        (((1.0, 2.05), (2.50, 6.0)), True),
        (((1.0, 2.05), (2.40, 2.60), (3.60, 6.0)), True),  # went on, and stopped all the same
        (((1.0, 2.05), (2.40, 3.60), (4.60, 6.0)), False),  # the pause after a sentence
    ],
)
def test_any_silence_soon_after_the_sound_is_a_stop(
    speech_s: tuple[tuple[float, float], ...], stopped: bool
) -> None:
    (found,) = measure(recording(*speech_s))
    assert found.wrongly_stopped is stopped


QUESTION = Utterance("turn", "Are you there?", 2.0, 3.0)


@needs_flite
def test_a_question_that_is_answered() -> None:
    good = recording((0.2, 1.0), (3.5, 5.0), said=QUESTION, family="T", voice=speech)
    (found,) = measure(good)
    assert found.answered
    assert found.cut_in is False
    assert found.voice_to_voice_ms == pytest.approx(500, abs=30)
    good.health = Health(99.0, 0.0)
    assert measure(good) == []


@needs_flite
@pytest.mark.parametrize(
    ("speech_s", "voice", "cut_in"),
    [
        (((0.2, 1.0),), speech, False),  # silent
        (((0.2, 1.0), (3.5, 5.0)), noise, False),
        (((0.2, 1.0), (11.2, 13.0)), speech, False),  # too late
        (((0.2, 1.0), (2.4, 2.8)), speech, True),  # too early, and nothing afterwards
        (((0.2, 13.0),), speech, False),  # it never listens
    ],
)
def test_a_question_that_is_not_answered(speech_s, voice, cut_in: bool) -> None:
    bad = recording(*speech_s, said=QUESTION, family="T", voice=voice)
    bad.failed_wait = "step 2: agent_onset"
    (found,) = measure(bad)
    assert found.answered is False
    assert found.voice_to_voice_ms is None
    assert found.cut_in is cut_in


@needs_flite
def test_who_speaks_into_a_question_has_cut_in_and_has_no_latency() -> None:
    (found,) = measure(recording((0.2, 1.0), (2.5, 6.0), said=QUESTION, family="T", voice=speech))
    assert found.cut_in
    assert found.voice_to_voice_ms is None


STOP = Utterance("interruption", "Stop now.", 2.0, 2.5)


@needs_flite
def test_an_interruption_that_is_heard_is_yielded_and_answered() -> None:
    good = recording((1.0, 2.04), (2.37, 2.45), (3.0, 5.0), said=STOP, family="I", voice=speech)
    tell(good, 2.9, "caller_words", text="stop now", final=True)
    tell(good, 2.99, "latency")
    (found,) = measure(good)
    assert found.yielded
    assert found.answered
    assert found.first_word_heard
    assert found.stop_ms == pytest.approx(40, abs=60)  # a voice has weak places
    assert found.stop_for_good_ms == pytest.approx(450, abs=60)
    assert found.voice_to_voice_ms == pytest.approx(500, abs=30)


@needs_flite
@pytest.mark.parametrize(
    "speech_s",
    [
        ((1.0, 13.0),),  # it never stops
        ((1.0, 2.9), (3.15, 5.0), (5.25, 7.0)),  # deaf, and its sentences have pauses
        ((1.0, 2.04), (2.8, 7.0)),  # it falls silent, then goes on as if nothing had been said
    ],
)
def test_who_goes_on_after_an_interruption_has_not_yielded(speech_s) -> None:
    (found,) = measure(recording(*speech_s, said=STOP, family="I", voice=speech))
    assert found.yielded is False
    assert found.answered is False
    assert found.stop_ms is None
    assert found.first_word_heard is False


@needs_flite
@pytest.mark.parametrize(
    ("speech_s", "answer_s", "yielded"),
    [
        (((1.0, 1.8), (3.0, 5.0)), 2.99, True),
        (((1.0, 1.8), (2.2, 2.3), (3.0, 5.0)), 2.99, True),  # it went on, and gave way at once
        (((1.0, 1.8), (2.2, 7.0)), None, False),  # it goes on with what it was saying
    ],
)
def test_an_interruption_that_begins_in_a_pause_of_the_agent_is_one(
    speech_s, answer_s: float | None, yielded: bool
) -> None:
    played = recording(*speech_s, said=STOP, family="I", voice=speech)
    tell(played, 1.0, "state", state="speaking")
    if answer_s is not None:
        tell(played, answer_s, "latency")
    (found,) = measure(played)
    assert found.yielded is yielded
    assert found.answered is yielded
    assert found.stop_ms is None


def test_words_after_the_agent_has_finished_interrupt_nobody() -> None:
    played = recording((1.0, 1.8), said=STOP, family="I")
    tell(played, 1.0, "state", state="speaking")
    tell(played, 1.9, "state", state="listening")
    (found,) = measure(played)
    assert found.yielded is None


@needs_flite
def test_who_falls_silent_for_ever_has_yielded_and_not_answered() -> None:
    (found,) = measure(recording((1.0, 2.1), said=STOP, family="I", voice=speech))
    assert found.yielded
    assert found.answered is False
    assert "interruptions answered" in list(scorecard([found], 0, 0, 0).columns[0].cells)


@pytest.mark.parametrize(("speech_s", "spoke"), [(((3.0, 5.0),), True), ((), False)])
def test_who_answers_a_cough_has_spoken_unasked(speech_s, spoke: bool) -> None:
    cough = Utterance("tic", "", 2.0, 2.3)
    played = recording((0.2, 1.0), *speech_s, said=cough, family="S")
    played.script_s = 1.5
    (found,) = measure(played)
    assert found.spoke_unasked is spoke
    played.utterances = []  # nothing at all was to be heard
    assert [m.spoke_unasked for m in measure(played)] == [spoke]


@pytest.mark.parametrize(
    ("understood_s", "text", "final", "counts"),
    [
        (1.0, "how long is a river", True, False),  # before the interruption
        (3.0, "rivers however", True, False),  # within other words
        (3.0, "How long is", False, False),  # a guess, perhaps taken back
        (3.0, "How long is the nile", True, True),
    ],
)
def test_the_first_word_of_an_interruption_is_a_word_understood_since(
    understood_s: float, text: str, final: bool, counts: bool
) -> None:
    interruption = Utterance("interruption", "How long is the Nile?", 2.0, 3.0)
    played = recording((1.0, 2.2), said=interruption, family="I")
    tell(played, understood_s, "caller_words", text=text, final=final)
    (found,) = measure(played)
    assert found.first_word_heard is counts


def test_every_turn_that_no_other_row_counts_is_among_the_other_turns() -> None:
    turns = [Measurement("x", family, "turn", cut_in=True) for family in "TPHIRKBVOG"]
    table = scorecard(turns, 0, 0, 0)
    counts = dict(zip(table.columns[0].cells, table.columns[1].cells, strict=True))
    assert counts["other turns cut into"] == "7"
