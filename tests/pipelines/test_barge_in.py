"""Voice over the agent's voice: it ducks at once, then stops for words and goes on after a noise."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from agent.llm_script import ScriptModel
from pipelines.conversation import Conversation

FRAME = 320
SILENCE = np.zeros(FRAME, np.float32)


class Line:
    """The caller's line: 20 ms each way, every 20 ms."""

    def __init__(self, talk: Conversation):
        self.talk = talk
        self.heard: list[np.ndarray] = []

    async def pass_(self, pcm: np.ndarray) -> None:
        """Say float32 at 16 kHz, in real time."""
        for start in range(0, len(pcm), FRAME):
            frame = pcm[start : start + FRAME]
            self.talk.hear(np.pad(frame, (0, FRAME - len(frame))))
            out = self.talk.pull(480)
            self.heard.append(np.zeros(480, np.float32) if out is None else out)
            await asyncio.sleep(0.018)

    async def silence(self, seconds: float) -> None:
        await self.pass_(np.zeros(round(seconds * 16_000), np.float32))

    async def until_speaking(self) -> None:
        while not self.talk._playout.audible:
            await self.pass_(SILENCE)


@pytest.fixture
async def talk(engines, persona):
    conversation = Conversation(engines, ScriptModel(persona), persona)
    events: list[dict[str, Any]] = []
    conversation.log.subscribe(events.append)
    conversation.events = events
    await conversation.start()
    yield conversation
    await conversation.close()


def decisions(talk: Conversation) -> list[str]:
    return [e["type"] for e in talk.events if e["kind"] == "decision"]


async def test_the_first_sign_of_a_voice_silences_the_agent_within_100_ms_and_words_stop_it(
    talk, flite
):
    line = Line(talk)
    talk.typed("what can you do")
    await line.until_speaking()
    await line.silence(1.0)
    begun = len(line.heard)
    await line.pass_(flite("no, wait a minute, what time is it", 16_000, "rms"))
    loud = [float(np.abs(frame).max()) for frame in line.heard[begun:]]
    first_silent = next(i for i, level in enumerate(loud) if level < 0.001)
    assert first_silent * 20 <= 100 + 20  # the frame that fades is still heard
    await line.silence(1.0)
    assert "Interrupt" in decisions(talk)
    assert all(level < 0.001 for level in loud[first_silent + 1 : first_silent + 10])


async def test_a_click_lets_the_same_audio_go_on(talk):
    line = Line(talk)
    talk.typed("what can you do")
    await line.until_speaking()
    await line.silence(1.0)
    reply = talk._playout.current
    rng = np.random.default_rng(1)
    await line.pass_((0.3 * rng.standard_normal(FRAME * 5)).astype(np.float32))
    while not talk.at_rest:
        await line.pass_(SILENCE)
    assert "Interrupt" not in decisions(talk)
    assert reply.done
    assert not [e for e in talk.events if e["kind"] == "agent_cut"]
    assert talk.context.get_messages()[-1]["content"] == reply.text
