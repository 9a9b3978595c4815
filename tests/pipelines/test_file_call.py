from __future__ import annotations

import asyncio
import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from agent.llm_script import ScriptModel
from agent.replay import replay
from cli.main import app
from common.audiofile import read_audio, write_wav
from pipelines.conversation import Conversation
from pipelines.file_call import FileCallOptions, call_with_recording
from pipelines.recorder import Recorder
from tests.pipelines.test_recorder import sides


def loud_s(side: np.ndarray, rate_hz: int = 24_000) -> list[float]:
    """Seconds in which somebody is heard, by 20 ms."""
    frames = side[: len(side) // 480 * 480].reshape(-1, 480)
    return [i * 0.020 for i, frame in enumerate(frames) if np.abs(frame).max() > 0.02]


async def test_a_recording_is_greeted_asks_and_is_answered(engines, persona, flite, tmp_path):
    question = flite("what time is it?", 16_000)
    recorder = Recorder(tmp_path / "both.wav")
    conversation = Conversation(engines, ScriptModel(persona), persona, recorder=recorder)
    await call_with_recording(conversation, question)
    await conversation.close()
    both = sides(tmp_path / "both.wav")
    caller, agent = loud_s(both[:, 0]), loud_s(both[:, 1])
    assert agent[0] < 1.0  # the greeting
    assert caller[0] > agent[0]
    assert agent[-1] > caller[-1]  # the answer
    roles = [message["role"] for message in conversation.context.get_messages()]
    assert roles == ["assistant", "user", "assistant"]


async def test_without_a_greeting_the_recording_begins_at_once(engines, persona, flite, tmp_path):
    recorder = Recorder(tmp_path / "both.wav")
    conversation = Conversation(engines, ScriptModel(persona), persona, recorder=recorder)
    options = FileCallOptions(greeting=False, quiet_s=0.5)
    await call_with_recording(conversation, flite("hello", 16_000), options)
    await conversation.close()
    assert loud_s(sides(tmp_path / "both.wav")[:, 0])[0] < 0.1


async def test_an_empty_recording_ends_the_call(engines, persona):
    conversation = Conversation(engines, ScriptModel(persona), persona)
    options = FileCallOptions(greeting=False, quiet_s=0.2)
    async with asyncio.timeout(10):
        await call_with_recording(conversation, np.zeros(0, np.float32), options)
    await conversation.close()


@pytest.mark.skipif(
    not (shutil.which("espeak-ng") and shutil.which("flite")), reason="needs espeak-ng and flite"
)
def test_the_command_writes_both_sides_and_a_log_that_replays(tmp_path, flite):
    asks, out, log = (tmp_path / name for name in ("asks.wav", "both.wav", "call.jsonl"))
    write_wav(asks, flite("what can you do?", 16_000), 16_000)
    options = ["--tts", "espeak", "--asr", "sphinx", "--llm", "script", "--json"]
    result = CliRunner().invoke(
        app, ["call", str(asks), "-o", str(out), "--log", str(log), *options]
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert {"ready", "agent_text", "bye"} <= {event["event"] for event in told["events"]}
    assert told["seconds"] == pytest.approx(len(read_audio(out, 24_000)) / 24_000, abs=0.01)
    replayed = replay(log)
    assert replayed.evidence_count > 50
    assert replayed.difference == ""
