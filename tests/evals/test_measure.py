"""What counts as the agent having been stopped, on recordings made for the purpose."""

import numpy as np
import pytest

from evals.caller import Health
from evals.conduct import Recording, Utterance
from evals.heard import SAMPLE_RATE_HZ
from evals.measure import measure
from evals.scenario import load_all

BACKCHANNEL = next(one for one in load_all() if one.family == "B")


def recording(*speech_s: tuple[float, float]) -> Recording:
    """The agent speaks in these spans; the caller says "yeah" at 2 s."""
    heard = np.zeros(8 * SAMPLE_RATE_HZ, np.float32)
    for on_s, off_s in speech_s:
        heard[int(on_s * SAMPLE_RATE_HZ) : int(off_s * SAMPLE_RATE_HZ)] = 0.3
    heard *= np.sin(np.arange(len(heard), dtype=np.float32) * 0.05)
    said = [Utterance("backchannel", "yeah", 2.0, 2.3)]
    return Recording(BACKCHANNEL, said, np.zeros_like(heard), heard, [], Health(0.0, 0.0))


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
