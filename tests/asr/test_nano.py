"""The ears that ship, through the engine that calls use."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from asr.engine import VoxtralRealtimeEngine
from asr.interface import SAMPLE_RATE_HZ, Hypothesis
from common.audiofile import read_audio
from pipelines.engines import NANO_ASR

Say = Callable[[str], np.ndarray]


@pytest.fixture
def say(tmp_path: Path) -> Say:
    if not shutil.which("flite"):
        pytest.skip("flite is not installed")

    def speak(text: str) -> np.ndarray:
        path = tmp_path / "said.wav"
        subprocess.run(["flite", "-voice", "rms", "-t", text, "-o", str(path)], check=True)
        return read_audio(path, SAMPLE_RATE_HZ)

    return speak


@pytest.fixture
async def engine() -> AsyncIterator[VoxtralRealtimeEngine]:
    opened = VoxtralRealtimeEngine.load(NANO_ASR, max_streams=1)
    yield opened
    await opened.close()


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)


async def heard(engine: VoxtralRealtimeEngine, *pieces: np.ndarray) -> Hypothesis:
    stream = await engine.open()
    stream.feed(np.concatenate(pieces))
    said = await stream.flush()
    await stream.close()
    return said


async def test_they_hear_a_sentence_and_when_each_word_was_said(engine, say) -> None:
    pcm = say("I would like a table for two at seven o'clock.")
    said = await heard(engine, silence(0.5), pcm, silence(0.5))
    assert said.text.lower().strip(".") == "i would like a table for two at seven o'clock"
    ends_s = [word.end_samples / SAMPLE_RATE_HZ for word in said.words]
    assert ends_s == sorted(ends_s)
    assert 0.5 < ends_s[0] < ends_s[-1] < 0.8 + len(pcm) / SAMPLE_RATE_HZ


@pytest.mark.parametrize("seconds", [3, 8, 30])
async def test_a_long_silence_makes_them_no_deafer(engine, say, seconds: float) -> None:
    """An agent's answer may last longer than the decoder looks back."""
    pieces = [say("I would like some bread."), silence(seconds), say("Yes please."), silence(0.5)]
    said = await heard(engine, *pieces)
    assert said.text.lower().replace(".", "").endswith("bread yes please")
