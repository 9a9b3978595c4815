from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from agent.persona import Persona, load_persona
from common.audiofile import read_audio
from pipelines.engines import Engines, open_engines


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    for program in ("espeak-ng", "flite"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    opened = await open_engines("sphinx", "espeak")
    yield opened
    await opened.close()


@pytest.fixture
def persona() -> Persona:
    return load_persona("parley")


@pytest.fixture
def flite(tmp_path: Path) -> Callable[..., np.ndarray]:
    """Speech of a synthesised caller, without the silence around it."""

    def speak(text: str, rate_hz: int = 48_000, voice: str = "slt") -> np.ndarray:
        path = tmp_path / "said.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        pcm = read_audio(path, rate_hz)
        loud = np.flatnonzero(np.abs(pcm) > 0.01 * np.abs(pcm).max())
        return pcm[loud[0] : loud[-1]]

    return speak


@pytest.fixture
async def until() -> Callable[..., object]:
    """Wait until a condition holds; fails with a TimeoutError."""

    async def wait(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - the condition looks at what was recorded
                await asyncio.sleep(0.01)

    return wait
