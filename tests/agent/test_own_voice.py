"""The echo gate on real synthesised speech: echo, caller, and both at once."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from agent.own_voice import OwnVoiceGate
from common.resample import resample
from evals.speakers import speak

AGENT_TEXT = "We have a table for two at seven thirty this evening, right by the window."
CALLER_TEXT = "Actually I would rather come on Thursday with four people, if that is possible."
NOISE_RMS = 10 ** (-66 / 20)

pytestmark = pytest.mark.skipif(
    not (shutil.which("espeak-ng") and shutil.which("flite")),
    reason="espeak-ng and flite speak the agent and the caller",
)


@pytest.fixture(scope="module")
def agent() -> np.ndarray:
    return resample(speak(AGENT_TEXT, "espeak:en-us"), 48_000, 24_000)


@pytest.fixture(scope="module")
def caller() -> np.ndarray:
    return resample(speak(CALLER_TEXT, "flite:rms"), 48_000, 16_000)


def _echo(agent: np.ndarray, level_db: float, delay_ms: int, *, room: bool = False) -> np.ndarray:
    heard = resample(agent, 24_000, 16_000) * 10 ** (level_db / 20)
    if room:  # 0.25 s of reverberation
        rng = np.random.default_rng(1)
        tail = rng.standard_normal(4000) * 10 ** (-3 * np.arange(4000) / 4000)
        tail *= 0.3 / np.linalg.norm(tail)
        tail[0] = 1.0
        heard = np.convolve(heard, tail)
    return np.concatenate([np.zeros(delay_ms * 16), heard])


def _beliefs(agent: np.ndarray, received: np.ndarray) -> np.ndarray:
    gate = OwnVoiceGate()
    rng = np.random.default_rng(0)
    beliefs = []
    for i in range(len(received) // 320):
        sent = agent[i * 480 : (i + 1) * 480]
        gate.sent(np.pad(sent, (0, 480 - len(sent))))
        frame = received[i * 320 : (i + 1) * 320]
        beliefs.append(gate.hear(frame + NOISE_RMS * rng.standard_normal(320)))
    return np.array(beliefs)


def _loud(signal: np.ndarray, frames: int, above_dbfs: float = -45.0) -> np.ndarray:
    padded = np.pad(signal, (0, max(0, frames * 320 - len(signal))))[: frames * 320]
    return 10 * np.log10(np.mean(padded.reshape(-1, 320) ** 2, axis=1) + 1e-12) > above_dbfs


@pytest.mark.parametrize("delay_ms", [20, 90, 250])
@pytest.mark.parametrize("level_db", [-6.0, -12.0, -20.0])
def test_echo_is_known_once_its_path_is_learnt(
    agent: np.ndarray, level_db: float, delay_ms: int
) -> None:
    echo = _echo(agent, level_db, delay_ms)
    beliefs = _beliefs(agent, echo)
    audible = _loud(echo, len(beliefs))
    learnt = int(np.argmax(audible)) + 16  # the first third of a second shows the path
    assert np.mean(beliefs[learnt:][audible[learnt:]] >= 0.5) >= 0.98


@pytest.mark.parametrize("level_db", [-6.0, -12.0, -20.0])
def test_echo_of_a_room_is_known(agent: np.ndarray, level_db: float) -> None:
    echo = _echo(agent, level_db, 120, room=True)
    beliefs = _beliefs(agent, echo)
    audible = _loud(echo, len(beliefs))
    learnt = int(np.argmax(audible)) + 16
    assert np.mean(beliefs[learnt:][audible[learnt:]] >= 0.5) >= 0.95


@pytest.mark.parametrize("voice", ["flite:rms", "flite:slt", "espeak:en-gb"])
def test_a_caller_is_not_taken_for_an_echo(agent: np.ndarray, voice: str) -> None:
    caller = resample(speak(CALLER_TEXT, voice), 48_000, 16_000)
    beliefs = _beliefs(agent, caller)
    assert np.mean(beliefs[_loud(caller, len(beliefs))] >= 0.5) <= 0.02


@pytest.mark.parametrize(("level_db", "most"), [(-6.0, 0.45), (-12.0, 0.3), (-20.0, 0.15)])
def test_a_caller_is_heard_over_the_echo(
    agent: np.ndarray, caller: np.ndarray, level_db: float, most: float
) -> None:
    begins = 24_000
    echo = _echo(agent, level_db, 120, room=True)
    both = np.zeros(max(len(echo), begins + len(caller)))
    both[: len(echo)] += echo
    both[begins : begins + len(caller)] += caller
    beliefs = _beliefs(agent, both)
    talking = _loud(np.concatenate([np.zeros(begins), caller]), len(beliefs), -40.0)
    assert np.mean(beliefs[talking] >= 0.5) <= most
    first = int(np.argmax(talking))
    assert np.min(beliefs[first : first + 5]) < 0.5  # the first sign comes through within 100 ms


def test_an_echo_that_moves_is_found_again(agent: np.ndarray) -> None:
    half = len(agent) // 2
    early, late = _echo(agent[:half], -12.0, 60), _echo(agent, -12.0, 180)
    moved = np.concatenate([early[: half * 2 // 3], late[half * 2 // 3 :]])
    beliefs = _beliefs(agent, moved)
    after = half // 480 + 30
    assert np.mean(beliefs[after:][_loud(moved, len(beliefs))[after:]] >= 0.5) >= 0.85


def test_nothing_sent_is_nothing_echoed(caller: np.ndarray) -> None:
    assert not _beliefs(np.zeros(0), caller).any()
