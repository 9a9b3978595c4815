from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from common.audiofile import read_audio
from pipelines.judges import TurnJudge, VoiceJudge, level_dbfs

pytestmark = pytest.mark.skipif(not shutil.which("flite"), reason="flite is not installed")


def flite(text: str, folder: Path) -> np.ndarray:
    path = folder / "said.wav"
    subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True)
    return read_audio(path, 16_000)


def frames(pcm: np.ndarray) -> list[np.ndarray]:
    return list(pcm[: len(pcm) // 320 * 320].reshape(-1, 320))


async def test_a_voice_is_believed_and_silence_is_not(tmp_path):
    judge = VoiceJudge()
    speech = flite("I would like to book a table for two", tmp_path)
    voiced, beliefs = [], []
    for frame in frames(np.concatenate([np.zeros(8_000, np.float32), speech])):
        voiced.append(judge.hear(frame))
        await asyncio.sleep(0.002)
        beliefs.append(judge.confidence)
    assert not any(voiced[:20])
    assert beliefs[:20] == [0.0] * 20
    assert max(beliefs) > 0.9


async def test_noise_opens_the_gate_but_does_not_convince():
    judge = VoiceJudge()
    rng = np.random.default_rng(3)
    noise = (0.05 * rng.standard_normal(32_000)).astype(np.float32)
    beliefs = []
    for frame in frames(noise):
        judge.hear(frame)
        await asyncio.sleep(0.001)
        beliefs.append(judge.confidence)
    assert np.mean(beliefs) < 0.3


async def test_a_finished_sentence_sounds_more_finished_than_a_broken_off_one(tmp_path):
    async def belief(text: str, cut_s: float = 0.0) -> float:
        judge = TurnJudge()
        speech = flite(text, tmp_path)
        speech = speech[: len(speech) - int(cut_s * 16_000)]
        for frame in frames(np.concatenate([speech, np.zeros(3_200, np.float32)])):
            judge.hear(frame)
        return await judge.finished()

    whole = await belief("What time do you open tomorrow?")
    broken = await belief("I would like to book a table for, um,", cut_s=0.2)
    assert whole > 0.5
    assert whole > broken


def test_levels():
    assert level_dbfs(np.zeros(320, np.float32)) == -100.0
    assert level_dbfs(np.full(320, 0.1, np.float32)) == pytest.approx(-20.0)
