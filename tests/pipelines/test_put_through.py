"""Putting a caller through, as a conversation sees it: a model asks, the line does or does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from agent.llm import Message, Piece, TextDelta, ToolCall, ToolSchema
from agent.persona import Persona
from common.errors import ParleyError
from pipelines.conversation import Conversation

SILENCE = np.zeros(320, np.float32)
NOTICE = "This call is answered by a machine, as you should know."
PRACTICE = Persona(
    name="practice",
    greeting=["Hello."],
    disclosure=NOTICE,
    connecting="One moment.",
    unreachable="Nobody is there.",
    idle=["Hello?"],
    idle_after_s=1,
    transfers={"the doctor": "+33 1 23 45 67 89"},
)


class Operator:
    """Puts through to whom it is asked for; without a word when told to be quiet."""

    name = where = "operator"

    def __init__(self) -> None:
        self.tools: Sequence[ToolSchema] = ()
        self.told: list[Message] = []

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> AsyncIterator[Piece]:
        self.tools, last = tools, messages[-1]
        if last["role"] == "tool":
            self.told.append(last)
            yield TextDelta("There is nobody of that name. ")
            return
        quiet, _, whom = last["content"].rpartition("quietly ")
        if not quiet and "quietly" not in last["content"]:
            yield TextDelta("I will put you through. ")
        yield ToolCall("call-1", "put_through", {"to": whom})


class Line:
    """A telephone line that knows whom it was to reach, and whether the agent was silent by then."""

    def __init__(self, talk: Any) -> None:
        self.dialled: list[str] = []
        self.busy = False
        self._talk = talk

    async def put_through(self, address: str) -> None:
        self.dialled.append(address)
        assert self._talk._mouth.idle
        if self.busy:
            raise ParleyError("The line is busy.")


@pytest.fixture
async def talk(engines):
    conversation: Any = Conversation(engines, Operator(), PRACTICE)
    conversation.events = []
    conversation.log.subscribe(conversation.events.append)
    await conversation.start()
    yield conversation
    await conversation.close()


def heard(talk: Any) -> str:
    said = [m.get("content") for m in talk.context.get_messages() if m["role"] == "assistant"]
    return " ".join(filter(None, said))


async def play_until(talk: Any, condition: Any) -> None:
    """Pull, faster than the sound lasts, until something has happened."""
    async with asyncio.timeout(20):
        while not condition():
            talk.hear(SILENCE)
            talk.pull(480)
            await asyncio.sleep(0.002)


def outcomes(talk: Any) -> list[bool]:
    return [event["done"] for event in talk.events if event["kind"] == "transfer"]


async def test_the_notice_and_the_announcement_are_heard_before_anybody_is_dialled(talk, until):
    line = Line(talk)
    talk.set_put_through(line.put_through)
    talk.greet()
    talk.typed("the doctor")
    await play_until(talk, talk.ended.is_set)
    assert line.dialled == ["+33123456789"]
    await until(lambda: "I will put you through." in heard(talk))
    assert NOTICE in heard(talk)
    assert talk.end_reason == "transferred"
    assert outcomes(talk) == [True]


async def test_a_model_that_says_nothing_is_spoken_for(talk, until):
    line = Line(talk)
    talk.set_put_through(line.put_through)
    talk.typed("quietly the doctor")
    await play_until(talk, talk.ended.is_set)
    await until(lambda: heard(talk) == "One moment.")


async def test_whom_the_persona_does_not_name_is_never_dialled(talk):
    line = Line(talk)
    talk.set_put_through(line.put_through)
    talk.typed("+44 900 123456")
    await play_until(talk, lambda: "nobody of that name" in heard(talk))
    assert not line.dialled
    assert "wrong arguments" in str(talk._model.told)
    given = talk._model.tools[0]["function"]["parameters"]["properties"]["to"]
    assert "+33" not in str(talk._model.tools)
    assert "the doctor" in str(given)


@pytest.mark.parametrize("has_line", [True, False])
async def test_a_caller_who_cannot_be_put_through_goes_on_talking(talk, has_line):
    line = Line(talk)
    line.busy = True
    if has_line:
        talk.set_put_through(line.put_through)
    for times in (1, 2):
        talk.typed("the doctor")
        await play_until(talk, lambda times=times: heard(talk).count("Nobody is there.") == times)
    assert outcomes(talk) == [False, False]
    assert not talk.ended.is_set()


async def test_who_stops_the_announcement_is_not_put_through_later(talk):
    line = Line(talk)
    talk.set_put_through(line.put_through)
    talk.typed("the doctor")
    await play_until(talk, lambda: talk._playout.audible)
    talk.stop_pressed()
    await play_until(talk, lambda: "Hello?" in heard(talk) or talk.ended.is_set())
    assert not line.dialled
    assert not talk.ended.is_set()
