"""The script as a language model: all it knows is in the messages."""

from __future__ import annotations

from datetime import datetime

import pytest

from agent.llm import TextDelta, ToolCall
from agent.llm_script import END_CALL, ScriptModel
from agent.persona import Persona, load_persona
from agent.script import Dialogue, ScriptPlayer
from agent.scriptbook import Form, Rule, Script, Slot
from agent.transfers import PUT_THROUGH

NOW = datetime(2026, 11, 21, 19, 5)


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


def transferring():
    rules = [Rule(hear="doctor", say="One moment.", put_through="the doctor")]
    form = Form(slots=["day"], confirm="Sure?", done="Done.", cancelled="Fine.")
    rules.append(Rule(hear="book", form="visit"))
    script = Script(
        slots={"day": Slot(kind="day", ask="Which day?")},
        forms={"visit": form},
        rules=rules,
        small_talk=False,
    )
    return Persona(name="x", transfers={"the doctor": "+33123"}, script=script)


async def test_a_rule_puts_through_when_the_line_can():
    model = ScriptModel(transferring())
    tools = [{"type": "function", "function": {"name": PUT_THROUGH}}]
    said, call = await answer(model, "the doctor please", tools=tools)
    assert (said.text, call.name, call.arguments) == (
        "One moment.",
        PUT_THROUGH,
        {"to": "the doctor"},
    )
    assert len(await answer(model, "the doctor please")) == 1
    assert len(await answer(model, "the doctor please", "book", tools=tools)) == 1


def test_who_could_not_be_put_through_goes_on_with_the_booking():
    player, state = ScriptPlayer(transferring().script), Dialogue()
    state, _ = player.reply(state, "book", NOW)
    state, said = player.reply(state, "i want to speak to the doctor", NOW)
    assert (said, state.put_through) == ("One moment.", "the doctor")
    state, said = player.reply(state, "tuesday", NOW)
    assert (said, state.put_through) == ("Sure?", "")


async def test_goodbye_hangs_up_when_it_can():
    model = ScriptModel(load_persona("parley"))
    tools = [{"type": "function", "function": {"name": END_CALL}}]
    said, call = await answer(model, "goodbye", tools=tools)
    assert isinstance(said, TextDelta)
    assert isinstance(call, ToolCall)
    assert call.name == END_CALL
    assert len(await answer(model, "goodbye")) == 1
