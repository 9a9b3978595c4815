"""The conversation remembers what was heard, whatever happens at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from agent.llm import Message, Piece, TextDelta, ToolSchema
from common.errors import ParleyError
from pipelines.conversation import Conversation
from pipelines.memory import heard, taken_back

LONG = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen."
SILENCE = np.zeros(320, np.float32)


class Recites:
    """A language model that always says the same, word by word, and remembers what it was asked."""

    name, where = "recites", "in the test"

    def __init__(self, text: str = LONG, per_word_s: float = 0.0):
        self.asked: list[list[Message]] = []
        self._text = text
        self._per_word_s = per_word_s

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> AsyncIterator[Piece]:
        self.asked.append([dict(m) for m in messages if m["role"] != "system"])
        for word in self._text.split(" "):
            await asyncio.sleep(self._per_word_s)
            yield TextDelta(word + " ")

    async def close(self) -> None:
        pass


@pytest.fixture
async def conversation(engines, persona):
    events: list[dict[str, Any]] = []
    model = Recites()
    talk = Conversation(engines, model, persona)
    talk.log.subscribe(events.append)
    talk.events, talk.model = events, model
    await talk.start()
    yield talk
    await talk.close()


async def pass_time(talk: Conversation, seconds: float) -> None:
    """Run the caller's clock much faster than real time."""
    for _ in range(round(seconds * 50)):
        talk.hear(SILENCE)
        talk.pull(480)
        await asyncio.sleep(0.001)


async def settle() -> None:
    await asyncio.sleep(0.1)


def spoken(talk: Conversation) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in talk.context.get_messages()]


async def answered(talk: Conversation, text: str, until: Any) -> None:
    talk.typed(text)
    await until(
        lambda: talk._playout.current is not None and talk._playout.current.peek(9_600).size
    )


async def test_a_reply_that_was_heard_out_is_remembered_whole(conversation, until):
    await answered(conversation, "count", until)
    await pass_time(conversation, 8.0)
    await settle()
    assert spoken(conversation) == [("user", "count"), ("assistant", LONG)]


async def test_an_interruption_in_the_same_tick_as_the_words_keeps_exactly_those_heard(
    conversation, until
):
    """pipecat #4996: words released in the tick of the interruption were lost."""
    await answered(conversation, "count", until)
    await pass_time(conversation, 2.0)
    conversation.pull(480)
    conversation.stop_pressed()  # no await between the last samples and the interruption
    await settle()
    (cut,) = [e for e in conversation.events if e["kind"] == "agent_cut"]
    assert 2 <= len(cut["heard"].split()) <= 8
    assert f"{cut['heard']} {cut['unheard']}" == LONG
    role, content = spoken(conversation)[-1]
    assert role == "assistant"
    assert content.startswith(cut["heard"])
    assert "cut in" in content


async def test_what_the_caller_says_in_the_tick_of_its_own_interruption_is_not_deleted(
    conversation, until
):
    """pipecat #5683: a final transcript queued behind its own turn's start was deleted."""
    await answered(conversation, "count", until)
    await pass_time(conversation, 2.0)
    conversation.typed("stop and listen")  # interrupts and commits at once
    await until(lambda: len(conversation.model.asked) == 2)
    roles = [message["role"] for message in conversation.model.asked[-1]]
    assert roles == ["user", "assistant", "user"]
    assert conversation.model.asked[-1][-1]["content"] == "stop and listen"
    assert "cut in" in conversation.model.asked[-1][1]["content"]


async def test_words_that_come_while_the_agent_thinks_join_the_turn(engines, persona, until):
    model = Recites(per_word_s=0.2)
    talk = Conversation(engines, model, persona)
    await talk.start()
    try:
        talk.typed("first")
        await until(lambda: len(model.asked) == 1)
        talk.typed("second")
        await until(lambda: len(model.asked) == 2)
        assert model.asked[-1] == [{"role": "user", "content": "first second"}]
    finally:
        await talk.close()


async def test_many_interruptions_leave_an_orderly_memory(conversation, until):
    for number in range(5):
        await answered(conversation, f"question {number}", until)
        await pass_time(conversation, 1.0 + 0.1 * number)
    conversation.stop_pressed()
    await settle()
    messages = spoken(conversation)
    assert [role for role, _ in messages] == ["user", "assistant"] * 5
    assert [text for role, text in messages if role == "user"] == [
        f"question {number}" for number in range(5)
    ]


async def test_a_voice_that_the_engine_lacks_falls_back_but_not_when_it_was_asked_for(
    engines, persona
):
    elsewhere = persona.model_copy(update={"voice": "only-elsewhere"})
    assert Conversation(engines, Recites(), elsewhere)._voice == engines.tts.voices()[0].name
    with pytest.raises(ParleyError, match="Choose one of"):
        Conversation(engines, Recites(), persona, voice="nobody")


def test_pieces_of_one_reply_become_one_message_but_tool_calls_stay_apart():
    messages = heard("One.").transform([{"role": "user", "content": "x"}])
    messages = heard("Two.").transform(messages)
    assert messages[-1] == {"role": "assistant", "content": "One. Two."}
    called = [{"role": "assistant", "tool_calls": [1]}, {"role": "tool", "content": "done"}]
    assert heard("Done.").transform(called)[-1] == {"role": "assistant", "content": "Done."}


def test_words_said_before_a_tool_was_called_stand_before_its_result():
    asked = {"role": "user", "content": "x"}
    call, result = {"role": "assistant", "tool_calls": [1]}, {"role": "tool", "content": "done"}
    said = {**call, "content": "Let me see. A moment."}
    messages = heard("Let me see.", 0).transform([asked, call, result])
    messages = heard("A moment.", 0).transform(messages)
    assert messages == [asked, said, result]
    assert heard("Done.", 1).transform(messages) == [
        *messages,
        {"role": "assistant", "content": "Done."},
    ]


def test_taking_back_removes_the_callers_last_turn_and_keeps_what_tools_did_for_it():
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    called = [{"role": "assistant", "tool_calls": [1]}, {"role": "tool", "content": "done"}]
    again = {"role": "user", "content": "c"}
    assert taken_back().transform([*messages, again]) == messages
    assert taken_back().transform([*messages, again, *called]) == [*messages, *called]
