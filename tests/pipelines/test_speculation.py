"""A reply is prepared before the caller's turn is over, and nobody hears of it unless it was right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import LLMFullResponseStartFrame, LLMTextFrame

from agent import decisions as d
from agent.builtin_tools import current_time
from agent.evidence import Sound
from agent.llm import Message, Piece, TextDelta, ToolCall, ToolSchema
from agent.tools import Tool, ToolOptions
from agent.turns import State
from common.errors import ParleyError
from pipelines.assembly import Asked
from pipelines.conversation import Conversation

SILENCE = np.zeros(320, np.float32)


class Echoes:
    """A language model that repeats the question; asked for the time, it looks at the clock."""

    name, where = "echoes", "in the test"

    def __init__(self) -> None:
        self.asked: list[list[Message]] = []

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> AsyncIterator[Piece]:
        self.asked.append([dict(m) for m in messages if m["role"] != "system"])
        last = messages[-1]
        if last["role"] == "tool":
            yield TextDelta("It is late. ")
        elif "time" in last["content"]:
            yield ToolCall("call-1", "current_time", {})
        else:
            yield TextDelta(f"You said {last['content']}. And that is that. ")

    async def close(self) -> None:
        pass


@pytest.fixture
async def talk(engines, persona):
    model = Echoes()
    conversation = Conversation(engines, model, persona)
    events: list[dict[str, Any]] = []
    conversation.log.subscribe(events.append)
    conversation.events, conversation.model = events, model
    await conversation.start()
    conversation.decide = conversation._conductor.decide
    yield conversation
    await conversation.close()


async def play_out(talk: Conversation) -> float:
    """Pull until nothing is said any more; returns the loudest sample."""
    loudest = 0.0
    for _ in range(2_000):
        talk.hear(SILENCE)
        pcm = talk.pull(480)
        loudest = max(loudest, 0.0 if pcm is None else float(np.abs(pcm).max()))
        await asyncio.sleep(0.001)
        if talk._mouth.idle:
            break
    await asyncio.sleep(0.1)
    return loudest


def memory(talk: Conversation) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in talk.context.get_messages() if m.get("content")]


async def held_audio(talk: Conversation, until: Any) -> None:
    await until(lambda: (reply := talk._conductor._answer.held) and reply.peek(1).size)


async def test_a_right_guess_is_heard_at_once_and_asked_for_once(talk, until):
    talk.decide(d.TurnStarted(0, "voice"))
    talk.decide(d.Speculate(0, "sounds finished", text="hello"))
    await held_audio(talk, until)
    assert talk.pull(480) is None
    assert memory(talk) == []
    assert not [e for e in talk.events if e["kind"] == "agent_text"]
    talk.decide(d.Commit(0, "finished", text="hello"))
    assert talk.pull(480) is not None  # without waiting for anything
    assert await play_out(talk) > 0.1
    assert len(talk.model.asked) == 1
    assert memory(talk) == [
        ("user", "hello"),
        ("assistant", "You said hello. And that is that."),
    ]


async def test_a_wrong_guess_leaves_no_trace(talk, until):
    talk.decide(d.TurnStarted(0, "voice"))
    talk.decide(d.Speculate(0, "sounds finished", text="my number is"))
    await held_audio(talk, until)
    talk.decide(d.DropSpeculation(0, "the caller goes on"))
    assert talk.pull(480) is None
    assert talk._mouth.idle
    talk.decide(d.Commit(0, "finished", text="my number is five"))
    await until(lambda: len(talk.model.asked) == 2)
    await play_out(talk)
    assert talk.model.asked[1] == [{"role": "user", "content": "my number is five"}]
    assert memory(talk) == [
        ("user", "my number is five"),
        ("assistant", "You said my number is five. And that is that."),
    ]


async def test_guess_after_guess_the_last_one_counts(talk, until):
    talk.decide(d.TurnStarted(0, "voice"))
    for text in ("one", "one two", "one two three"):
        talk.decide(d.Speculate(0, "sounds finished", text=text))
        await asyncio.sleep(0.02)
        if text != "one two three":
            talk.decide(d.DropSpeculation(0, "more words"))
    talk.decide(d.Commit(0, "finished", text="one two three"))
    await until(lambda: talk._playout.current is not None)
    await play_out(talk)
    assert memory(talk)[-1] == ("assistant", "You said one two three. And that is that.")
    assert talk._conductor.turn == 1


@pytest.mark.parametrize("guesses", [1, 2, 3])
async def test_a_call_that_catches_up_is_answered_once(talk, guesses):
    """After a stall all decisions fall at once, and pipecat hears of none before the last."""
    talk.decide(d.TurnStarted(0, "voice"))
    for _ in range(guesses):
        talk.decide(d.Speculate(0, "sounds finished", text="hello"))
        talk.decide(d.DropSpeculation(0, "the caller goes on"))
    talk.decide(d.Speculate(0, "sounds finished", text="hello"))
    talk.decide(d.Commit(0, "finished", text="hello"))
    await asyncio.sleep(0.3)
    await play_out(talk)
    shown = ""
    for event in talk.events:
        if event["kind"] == "agent_text":
            shown += event["text"]
        elif event["kind"] == "agent_cut" and not event["heard"]:
            shown = ""
    assert shown.strip() == "You said hello. And that is that."
    assert memory(talk) == [
        ("user", "hello"),
        ("assistant", "You said hello. And that is that."),
    ]


@pytest.mark.parametrize("guesses", [True, False])
async def test_a_turn_taken_back_while_a_call_catches_up_is_answered_once(talk, guesses):
    for text in ("hello", "hello there"):
        talk.decide(d.TurnStarted(0, "voice"))
        if guesses:
            talk.decide(d.Speculate(0, "sounds finished", text=text))
        talk.decide(d.Commit(0, "finished", text=text))
        if text == "hello":
            talk.decide(d.DropSpeculation(0, "the caller goes on before the reply"))
    await asyncio.sleep(0.3)
    await play_out(talk)
    assert memory(talk) == [
        ("user", "hello there"),
        ("assistant", "You said hello there. And that is that."),
    ]


async def test_who_says_the_same_again_is_answered_again(talk, until):
    for turn in (1, 2):
        talk.decide(d.TurnStarted(0, "voice"))
        talk.decide(d.Commit(0, "finished", text="hello"))
        await until(lambda turn=turn: len(talk.model.asked) == turn)
        assert await play_out(talk) > 0.1
    assert [text for _, text in memory(talk)] == ["hello", "You said hello. And that is that."] * 2


async def test_a_reply_that_was_overtaken_is_not_spoken(talk, until):
    """On a busy machine the reply to an old guess begins after the next guess was made."""
    overhear = talk._conductor.llm
    talk.decide(d.TurnStarted(0, "voice"))
    talk.decide(d.Speculate(0, "sounds finished", text="one two"))
    overhear(LLMFullResponseStartFrame(), Asked("one"))
    overhear(LLMTextFrame("You said one. "), Asked("one"))
    assert talk._mouth.writing is None
    await held_audio(talk, until)
    overhear(LLMFullResponseStartFrame(), Asked("one two"))  # the same guess answered once more
    talk.decide(d.Commit(0, "finished", text="one two"))
    assert len(talk._playout._queue) == 1


async def test_a_tool_waits_for_the_commit(talk, until):
    talk.decide(d.TurnStarted(0, "voice"))
    talk.decide(d.Speculate(0, "sounds finished", text="the time please"))
    await until(lambda: len(talk.model.asked) == 1)
    await asyncio.sleep(0.1)
    assert not [m for m in talk.context.get_messages() if m.get("tool_calls")]
    talk.decide(d.Commit(0, "finished", text="the time please"))
    await until(lambda: len(talk.model.asked) == 3)  # again, and once more with the result
    await until(lambda: talk._playout.current is not None)
    await play_out(talk)
    assert memory(talk)[0] == ("user", "the time please")
    assert memory(talk)[-1] == ("assistant", "It is late.")
    assert [e["kept"] for e in talk.events if e["kind"] == "speculation"] == [False]


async def test_a_commit_taken_back_before_a_sound_is_forgotten(talk, until):
    talk.decide(d.TurnStarted(0, "voice"))
    talk.decide(d.Commit(0, "finished", text="book a table"))
    await until(lambda: len(talk.model.asked) == 1)
    talk.decide(d.DropSpeculation(0, "the caller goes on before the reply"))
    talk.decide(d.TurnStarted(0, "voice"))
    talk.decide(d.Commit(0, "finished", text="book a table for two"))
    await until(lambda: len(talk.model.asked) == 2)
    await play_out(talk)
    assert talk.model.asked[1] == [{"role": "user", "content": "book a table for two"}]
    assert [role for role, _ in memory(talk)] == ["user", "assistant"]


async def test_a_guess_that_was_given_up_before_it_was_asked_is_never_asked(talk):
    talk.decide(d.TurnStarted(0, "voice"))
    talk.decide(d.Speculate(0, "sounds finished", text="hello"))
    talk.decide(d.DropSpeculation(0, "more words were understood"))
    talk.decide(d.Speculate(0, "sounds finished", text="hello there"))
    talk.decide(d.Commit(0, "finished", text="hello there"))
    await asyncio.sleep(0.3)
    await play_out(talk)
    assert [asked[-1]["content"] for asked in talk.model.asked] == ["hello there"]


async def test_a_sound_while_a_tool_and_the_model_work_costs_no_answer(talk, until):
    """The first round of the model says nothing; the agent thinks until the second is heard."""
    answer = talk.model.reply

    async def slowly(messages, tools):
        if messages[-1]["role"] == "tool":
            await asyncio.sleep(0.5)
        async for piece in answer(messages, tools):
            yield piece

    talk.model.reply = slowly
    talk.typed("what time is it")
    await until(lambda: len(talk.model.asked) >= 1)
    listener = talk._listener
    for frame in range(100):
        listener.at += 320
        coughs = 5 <= frame < 11
        sound = (True, 0.95, -30.0) if coughs else (False, 0.02, -70.0)
        listener.observe(Sound(listener.at, *sound))
        talk.pull(480)
        assert frame > 20 or talk._listener.turns.state is not State.LISTENING
        await asyncio.sleep(0.02)
    await until(lambda: len(talk.model.asked) == 2)
    await play_out(talk)
    assert memory(talk)[-1] == ("assistant", "It is late.")


@pytest.fixture
def clock(talk, monkeypatch):
    """The model says that it will look at the clock, which takes until this is set."""
    looked, run = asyncio.Event(), Tool.run

    async def looks_it_up(messages, tools):
        talk.model.asked.append([dict(m) for m in messages if m["role"] != "system"])
        if messages[-1]["role"] == "user":
            yield TextDelta("Let me see. ")
            yield ToolCall("call-1", "current_time", {})
        else:
            yield TextDelta("It is late. ")

    async def slowly(tool, arguments):
        await looked.wait()
        return await run(tool, arguments)

    talk.model.reply = looks_it_up
    monkeypatch.setattr(Tool, "run", slowly)
    return looked


async def test_what_is_heard_while_a_tool_runs_costs_no_answer(talk, until, clock):
    talk.typed("what time is it")
    await until(lambda: talk._playout.current is not None)
    await play_out(talk)
    clock.set()
    await until(lambda: talk._playout.current is not None)
    await play_out(talk)
    roles = [(m["role"], m.get("content")) for m in talk.context.get_messages()]
    assert roles[:2] == [("user", "what time is it"), ("assistant", "Let me see.")]
    assert [role for role, _ in roles[2:]] == ["tool", "assistant"]
    assert roles[-1][1] == "It is late."


async def test_who_speaks_after_the_first_half_of_an_answer_begins_a_new_turn(talk, until, clock):
    talk.typed("what time is it")
    await until(lambda: talk._playout.current is not None)
    await play_out(talk)
    assert talk._listener.turns.state is State.THINKING
    talk.typed("in Paris")
    await until(lambda: len(talk.model.asked) == 2)
    said = [content for role, content in memory(talk) if role == "user"]
    assert said == ["what time is it", "in Paris"]


async def test_a_turn_taken_back_while_a_tool_runs_is_remembered_once(talk, until, clock):
    talk.decide(d.TurnStarted(0, "voice"))
    talk.decide(d.Commit(0, "finished", text="what time is it"))
    called = lambda: [m for m in talk.context.get_messages() if m.get("tool_calls")]  # noqa: E731
    await until(called)
    talk.decide(d.DropSpeculation(0, "the caller goes on before the reply"))
    talk.decide(d.Commit(0, "finished", text="what time is it in Paris"))
    await until(lambda: len(talk.model.asked) == 2)
    said = [content for role, content in memory(talk) if role == "user"]
    assert said == ["what time is it in Paris"]
    assert called()


@pytest.fixture
def needs_no_answer(monkeypatch):
    options = ToolOptions(answer_follows=False)
    monkeypatch.setattr(current_time, "tool_options", options, raising=False)


async def test_a_tool_that_needs_no_answer_leaves_nobody_thinking(
    needs_no_answer, talk, until, clock
):
    talk.typed("what time is it")
    await until(lambda: talk._playout.current is not None)
    await play_out(talk)
    assert talk._listener.turns.state is State.THINKING
    clock.set()
    await until(lambda: talk._listener.turns.state is State.LISTENING)


async def test_a_decision_that_fails_does_not_deafen_the_call(talk, monkeypatch):
    def fails(*_: object) -> None:
        raise RuntimeError("for the test")

    with monkeypatch.context() as broken:
        broken.setattr(talk._conductor, "_commit", fails)
        talk.typed("hello")
    talk.typed("hello again")
    await asyncio.sleep(0.3)
    assert await play_out(talk) > 0.1


async def test_who_is_cut_by_its_own_first_sound_is_told_in_that_order(talk, until):
    talk.greet()
    talk._listener.observe(Sound(talk._listener.at, True, 0.95, -24.0))
    for _ in range(20):
        talk._listener.at += 320
        talk._listener.observe(Sound(talk._listener.at, True, 0.95, -24.0))
    await until(lambda: talk._playout.current.peek(1).size)
    talk.pull(480)
    kinds = [e.get("state", e["kind"]) for e in talk.events]
    assert kinds.index("speaking") < kinds.index("agent_cut")
    assert kinds[-1] != "speaking"


async def test_who_hangs_up_while_the_model_begins_leaves_no_voice_open(talk):
    talk.decide(d.TurnStarted(0, "voice"))
    talk.decide(d.Commit(0, "finished", text="hello"))
    await talk.close()
    assert "speech" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_model_whose_voice_broke_does_not_hold_up_the_next_turn(talk, until):
    """It would write for a minute; nobody could hear any of it."""
    answer, told = talk.model.reply, talk.events

    async def at_length(messages, tools):
        talk.model.asked.append([])
        for _ in range(600):
            yield TextDelta("And so on, and so forth. ")
            await asyncio.sleep(0.1)

    async def breaks(**given):
        raise ParleyError("The voice is gone.")

    voice = talk._engines.tts.open
    talk.model.reply, talk._engines.tts.open = at_length, breaks
    talk.typed("hello")
    await until(lambda: [e for e in told if e["kind"] == "error"])
    talk.model.reply, talk._engines.tts.open = answer, voice
    talk.pull(480)
    talk.typed("hello again")
    await until(lambda: talk.model.asked[1:])
    assert await play_out(talk) > 0.1
    assert memory(talk)[-1] == ("assistant", "You said hello again. And that is that.")
