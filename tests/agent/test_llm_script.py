"""The script as a language model: all it knows is in the messages."""

from __future__ import annotations

import pytest

from agent.llm import TextDelta, ToolCall
from agent.llm_script import END_CALL, ScriptModel
from agent.persona import Persona, load_persona
from agent.script import ScriptPlayer


async def answer(model: ScriptModel, *heard: str, tools=()) -> list:
    messages = [{"role": "system", "content": "You are …"}]
    for text in heard:
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": "…"}]
    return [piece async for piece in model.reply(messages[:-1], tools)]


async def test_a_persona_without_a_script_in_another_language_says_its_failure():
    persona = Persona(name="luc", language="fr", failure="Pardon, je ne comprends pas.")
    said, *_ = await answer(ScriptModel(persona), "bonjour")
    assert said == TextDelta("Pardon, je ne comprends pas.")


async def test_as_a_language_model_its_memory_is_in_the_messages():
    persona = load_persona("parley")
    model, fresh = ScriptModel(persona), ScriptModel(persona)
    await answer(model, "what is your name")
    await answer(model, "what is your name", "john")
    heard = ("what is your name", "john", "what is my name")
    assert await answer(model, *heard) == await answer(fresh, *heard)
    assert "John" in (await answer(model, *heard))[0].text


async def test_a_turn_that_fails_does_not_fail_the_next_ones(monkeypatch):
    model, reply = ScriptModel(load_persona("parley")), ScriptPlayer.reply

    def fails_on_boom(self, state, text, now):
        if text == "boom":
            raise ValueError(text)
        return reply(self, state, text, now)

    monkeypatch.setattr(ScriptPlayer, "reply", fails_on_boom)
    with pytest.raises(ValueError, match="boom"):
        await answer(model, "call me john", "boom")
    assert "John" in (await answer(model, "call me john", "boom", "who am i"))[0].text


async def test_a_dropped_speculation_leaves_no_trace():
    model = ScriptModel(load_persona("parley"))
    await answer(model, "who are you", "jo")  # the turn goes on: never committed
    await answer(model, "who are you", "joanna")
    assert "Joanna" in (await answer(model, "who are you", "joanna", "who am i"))[0].text


async def test_goodbye_hangs_up_when_it_can():
    model = ScriptModel(load_persona("parley"))
    tools = [{"type": "function", "function": {"name": END_CALL}}]
    said, call = await answer(model, "goodbye", tools=tools)
    assert isinstance(said, TextDelta)
    assert isinstance(call, ToolCall)
    assert call.name == END_CALL
    assert len(await answer(model, "goodbye")) == 1
