"""What counts as stopped, answered and understood, on recordings made for the purpose."""

import numpy as np
import pytest

from evals.caller import Health
from evals.conduct import Recording, Utterance
from evals.heard import SAMPLE_RATE_HZ
from evals.measure import measure
from evals.scenario import load_all

ITEMS = {one.family: one for one in reversed(load_all())}
YEAH = Utterance("backchannel", "yeah", 2.0, 2.3)


def recording(
    *speech_s: tuple[float, float], said: Utterance = YEAH, family: str = "B"
) -> Recording:
    """The agent speaks in these spans, the caller once."""
    heard = np.zeros(8 * SAMPLE_RATE_HZ, np.float32)
    for on_s, off_s in speech_s:
        heard[int(on_s * SAMPLE_RATE_HZ) : int(off_s * SAMPLE_RATE_HZ)] = 0.3
    heard *= np.sin(np.arange(len(heard), dtype=np.float32) * 0.05)
    return Recording(ITEMS[family], [said], np.zeros_like(heard), heard, [], Health(0.0, 0.0))


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


def test_a_question_that_nobody_answers_counts() -> None:
    question = Utterance("turn", "Are you there?", 2.0, 3.0)
    silent = recording((0.2, 1.0), said=question, family="T")
    silent.failed_wait = "step 2: agent_onset"
    (found,) = measure(silent)
    assert found.answered is False
    (found,) = measure(recording((0.2, 1.0), (3.5, 5.0), said=question, family="T"))
    assert found.answered
    assert found.voice_to_voice_ms == pytest.approx(500, abs=30)
    silent.health = Health(99.0, 0.0)
    assert measure(silent) == []


@pytest.mark.parametrize(
    ("understood_s", "text", "counts"),
    [
        (1.0, "how long is a river", False),  # before the interruption
        (3.0, "rivers however", False),  # within other words
        (3.0, "How long is the nile", True),
    ],
)
def test_the_first_word_of_an_interruption_is_a_word_said_since(
    understood_s: float, text: str, counts: bool
) -> None:
    interruption = Utterance("interruption", "How long is the Nile?", 2.0, 3.0)
    played = recording((1.0, 2.2), (3.5, 5.0), said=interruption, family="I")
    played.events.append((understood_s, {"data": {"event": "caller_words", "text": text}}))
    (found,) = measure(played)
    assert found.yielded
    assert found.first_word_heard is counts
