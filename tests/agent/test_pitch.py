from __future__ import annotations

import shutil

import numpy as np
import pytest

from agent.pitch import Pitch
from asr.interface import SAMPLE_RATE_HZ
from common.resample import resample
from evals.heard import SAMPLE_RATE_HZ as CALLER_HZ
from evals.speakers import speak

FRAME = SAMPLE_RATE_HZ // 50


def pitches(pcm: np.ndarray) -> np.ndarray:
    """Hz of every frame in which there is one."""
    pitch = Pitch()
    frames = pcm[: len(pcm) // FRAME * FRAME].astype(np.float32).reshape(-1, FRAME)
    found = np.array([pitch.hear(frame) for frame in frames])
    return found[found > 0]


@pytest.mark.parametrize("hz", [80, 120, 200, 350])
def test_a_buzz_has_the_pitch_it_was_made_with(hz: int) -> None:
    turns = np.outer(np.arange(1, 20) * 2 * np.pi * hz, np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
    found = pitches(np.sin(turns).sum(axis=0) / 20)
    assert len(found) >= 48
    assert np.median(found) == pytest.approx(hz, rel=0.03)


def test_noise_and_silence_have_none() -> None:
    rng = np.random.default_rng(0)
    assert len(pitches(rng.normal(0, 0.1, SAMPLE_RATE_HZ))) <= 1
    assert len(pitches(np.zeros(SAMPLE_RATE_HZ))) == 0


@pytest.mark.skipif(not shutil.which("flite"), reason="flite is not installed: no voices")
def test_two_people_are_told_apart_by_it() -> None:
    man, woman = (
        np.median(
            pitches(resample(speak("Can you get the door?", voice), CALLER_HZ, SAMPLE_RATE_HZ))
        )
        for voice in ("flite:rms", "flite:slt")
    )
    assert 80 < man < 120
    assert 160 < woman < 200
