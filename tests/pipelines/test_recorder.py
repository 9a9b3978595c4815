from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from loguru import logger

from common.audiofile import read_audio
from pipelines.recorder import Recorder

HEARD, SAID = 320, 480  # samples of 20 ms at 16 and 24 kHz


def tone(n_samples: int, rate_hz: int, begin: int = 0, hz: float = 440.0) -> np.ndarray:
    at_s = (begin + np.arange(n_samples)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * hz * at_s)).astype(np.float32)


def sides(path: Path) -> np.ndarray:
    """int16 → float32 [samples, 2]."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768


def begins(side: np.ndarray) -> int:
    return int(np.flatnonzero(np.abs(side) > 0.02)[0])


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
async def test_both_sides_lie_on_the_callers_clock_to_the_sample(tmp_path: Path, suffix: str):
    path = tmp_path / f"call{suffix}"
    recorder = Recorder(path)
    caller, agent = tone(16_000, 16_000), tone(24_000, 24_000)
    for tick in range(150):  # 3 s: the caller speaks in the second, the agent in the third
        spoken = caller[(tick - 50) * HEARD :][:HEARD] if 50 <= tick < 100 else np.zeros(HEARD)
        recorder.heard(spoken.astype(np.float32))
        recorder.said(agent[(tick - 100) * SAID :][:SAID] if 100 <= tick < 149 else None)
    await recorder.close()
    both = sides(path)
    assert len(both) == recorder.samples == 3 * 24_000
    np.testing.assert_allclose(both[25_000:47_000, 0], tone(22_000, 24_000, 1_000), atol=0.01)
    began = 101 * SAID  # when it goes out, the caller's frame of the same 20 ms has been heard
    np.testing.assert_allclose(both[began : began + 48 * SAID, 1], agent[: 48 * SAID], atol=1e-4)
    assert not both[:began, 1].any()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_caller_heard_late_and_in_bursts_makes_no_gap_in_what_is_said(tmp_path: Path):
    path = tmp_path / "call.wav"
    recorder = Recorder(path)
    agent = tone(24_000, 24_000)
    for tick in range(0, 50, 10):
        for late in range(10):
            recorder.said(agent[(tick + late) * SAID :][:SAID])
        for _ in range(10):
            recorder.heard(np.zeros(HEARD, np.float32))
    await recorder.close()
    np.testing.assert_allclose(sides(path)[:24_000, 1], agent, atol=1e-4)


async def test_a_second_that_was_silent_in_the_midst_of_a_reply_is_silent(tmp_path: Path):
    path = tmp_path / "call.wav"
    recorder = Recorder(path)
    for tick in range(100):
        recorder.heard(np.zeros(HEARD, np.float32))
        if not 10 <= tick < 60:  # the machine stood still, or the voice was late
            recorder.said(tone(SAID, 24_000))
    await recorder.close()
    said = sides(path)[:, 1]
    assert np.abs(said[11 * SAID : 61 * SAID]).max() < 0.01
    assert begins(said[11 * SAID :]) == pytest.approx(50 * SAID, abs=10)


async def test_no_call_leaves_no_file(tmp_path: Path):
    recorder = Recorder(tmp_path / "call.flac")
    await recorder.close()
    await recorder.close()
    assert os.listdir(tmp_path) == []


CRASH = """
import os, sys, time
from pathlib import Path
import numpy as np
from pipelines.recorder import Recorder

recorder = Recorder(Path(sys.argv[1]))
for _ in range(500):
    recorder.heard(np.random.default_rng(0).standard_normal(320).astype(np.float32) / 8)
    recorder.said(None)
while recorder.samples < 9 * 24_000:
    time.sleep(0.01)
os._exit(9)
"""


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_what_was_heard_survives_a_crash(tmp_path: Path, suffix: str):
    path = tmp_path / f"call{suffix}"
    crashed = subprocess.run([sys.executable, "-c", CRASH, path], check=False)
    assert crashed.returncode == 9
    assert 8.5 < len(read_audio(path, 24_000)) / 24_000 <= 10


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
async def test_a_full_disk_is_told_once_and_harms_no_call(tmp_path: Path, suffix: str):
    path = tmp_path / f"call{suffix}"
    path.symlink_to("/dev/full")
    told: list[str] = []
    sink = logger.add(told.append, format="{level} {message}")
    recorder = Recorder(path)
    for _ in range(500):
        recorder.heard(np.zeros(HEARD, np.float32))
        recorder.said(tone(SAID, 24_000))
    await recorder.close()
    logger.remove(sink)
    assert [line.split(" (")[0].strip() for line in told] == [
        f"ERROR {path} holds no more of this call: [Errno 28] No space left on device"
    ]
    assert not recorder._taken
