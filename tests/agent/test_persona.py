from __future__ import annotations

from unittest.mock import Mock

import pytest
from pydantic import ValidationError

from agent.llm_script import ScriptModel
from agent.persona import Persona, list_personas, load_persona
from agent.phrases import LANGUAGES_DIR, phrases
from agent.scriptbook import all_rules
from agent.toolbox import ToolBox
from cli.hosting import host_calls
from common.errors import ConfigError


@pytest.mark.parametrize("persona", list_personas(), ids=lambda persona: persona.name)
def test_every_shipped_persona_is_whole(persona):
    assert load_persona(persona.name) == persona
    assert persona.title
    assert persona.description
    assert persona.instructions in persona.system_prompt()
    assert persona.greeting
    assert persona.script.fallback
    ToolBox(persona.find_tools()).schema()
    ScriptModel(persona)
    spoken = [*persona.greeting, *persona.goodbye, *persona.idle, persona.failure]
    spoken += [line for rule in all_rules(persona.script.rules) for line in rule.say]
    assert not [line for line in spoken if any(char in line for char in "*#_<>[]&")]


def test_the_host_comes_first():
    assert [persona.name for persona in list_personas()][:1] == ["parley"]
    assert len(list_personas()) >= 4


def test_an_unknown_persona_gets_a_suggestion():
    with pytest.raises(ConfigError) as caught:
        load_persona("quizmister")
    assert caught.value.cure.startswith("Did you mean 'quizmaster'?")


def test_a_file_named_without_its_ending_is_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bakery.yaml").touch()
    with pytest.raises(ConfigError) as caught:
        load_persona("bakery")
    assert caught.value.cure.startswith("Did you mean 'bakery.yaml'?")


def test_a_name_that_cannot_be_one_is_told_in_words(tmp_path):
    (tmp_path / "bakery.yaml").write_text("name: My Bakery\n")
    with pytest.raises(ConfigError, match="lower-case letters, digits and -"):
        load_persona(tmp_path / "bakery.yaml")


FORM = (
    "name: x\nscript:\n  forms:\n    f:\n      slots: []\n"
    "      confirm: ['{}']\n      done: ['{}']\n      cancelled: [no]\n"
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name: x\nvoise: ann\n", 2, "unknown key 'voise'"),
        ("name: X y\n", 1, "name"),
        ("name: x\npace: slow\n", 2, "eager"),
        ("name: x\ntransfers: {a: +33123}\n", 2, "transfers.a.*in quotes"),
        ("name: x\ntransfers: {a: 01 23}\n", 2, "transfers.a.*international form"),
        ("name: x\ntransfers: {a: 'sip:a@b>?Replaces=c'}\n", 2, "a.*sip:doctor@pbx.example"),
        ("name: x\ntransfers:\n  a: 'tel:+33123'\n", 3, "international form"),
        (
            "name: x\nscript:\n  rules:\n    - {say: b, put_through: a}\n",
            2,
            "no 'a' in `transfers`",
        ),
        ("name: x\nscript:\n  rules:\n    - {hear: a, goto: b}\n", 2, "no rule named 'b'"),
        ("name: x\nscript:\n  rules:\n    - {hear: a, form: f}\n", 2, "no form named 'f'"),
        ("name: x\nscript:\n  rules:\n    - {hear: 'i am {who}', say: hi}\n", 2, "no slot 'who'"),
        ("name: x\nscript:\n  rules:\n    - {hear: a, say: 'hi {nmae}'}\n", 2, "no slot 'nmae'"),
        ("name: x\nscript:\n  rules:\n    - {hear: a, say: b, add: {s: 1}}\n", 2, "no slot 's'"),
        ("name: x\nscript:\n  rules:\n    - {hear: a}\n", 4, "needs `say`, `goto` or `form`"),
        ("name: x\nscript:\n  fallback: 'ask {topcis}'\n", 2, "fallback: .*'topcis'"),
        ("name: x\nscript:\n  lead: 'ask {topcis}'\n", 2, "lead: .*'topcis'"),
        ("name: x\nscript:\n  slots:\n    s: {ask: 'so {ss}'}\n", 2, "ask: .*'ss'"),
        (FORM.format("sure, {nmae}?", "done"), 2, "confirm: .*'nmae'"),
        (FORM.format("sure?", "done, {nmae}"), 2, "done: .*'nmae'"),
        (FORM.format("sure?", "done").replace("['sure?']", "[]"), 6, "at least 1"),
        (
            "name: x\nscript:\n  rules:\n    - {name: a, say: b}\n    - {name: a, say: c}\n",
            2,
            "two rules are named 'a'",
        ),
        (
            "name: x\nscript:\n  slots:\n    n: {kind: number}\n  rules:\n"
            "    - {hear: a, say: b, set: {n: '²'}}\n",
            2,
            "'n' is a number",
        ),
        (
            "name: x\nscript:\n  rules:\n    - {name: a, goto: b}\n    - {name: b, goto: a}\n",
            2,
            "leads back to itself",
        ),
        ("name: x\nscript:\n  slots:\n    s: {kind: one_of}\n", 4, "options"),
        (
            "name: x\nscript:\n  slots:\n    s: {kind: number, least: 50, most: 1}\n",
            4,
            r"`least` \(50\) is above `most` \(1\)",
        ),
        (FORM.format("{now now, right?", "done"), 2, "confirm: braces go around"),
        (FORM.format("sure?", "done, {my name}"), 2, "done: braces go around"),
        (
            "name: x\nscript:\n  rules:\n    - {name: a, say: b}\n    - {goto: a, say: []}\n",
            5,
            "say': .* at least 1 item",
        ),
        ("name: x\nlanguage: klingon\n", 2, "'language': use a language tag such as en"),
    ],
)
def test_mistakes_name_key_and_line(tmp_path, text, line, words):
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as caught:
        load_persona(path)
    assert f"x.yaml, line {line}:" in caught.value.cause


def test_languages_are_tags():
    for tag in ("en", "en-GB", "pt-BR", "zh-Hant-TW", "de-1996", "yue", "EN-us"):
        assert Persona(name="x", language=tag).language == tag
    for tag in ("", "english", "en_US", "en-", "e", "en, fr", "fr\n", "français"):
        with pytest.raises(ValidationError, match="use a language tag"):
            Persona(name="x", language=tag)


async def test_two_personas_of_one_name_are_not_served_together(tmp_path):
    one, other = tmp_path / "bakery.yaml", tmp_path / "voice.yaml"
    for path in (one, other):
        path.write_text("name: bakery\n", encoding="utf-8")
    order = Mock(pages={"/": (load_persona(one), load_persona(other))})
    with pytest.raises(ConfigError) as caught:
        await host_calls(order, Mock(), None)
    assert caught.value.cause == f"{one} and {other} are both named 'bakery'."


def test_a_persona_speaks_its_language_in_what_it_does_not_say_otherwise():
    brazilian = Persona(name="ana", language="pt-BR", goodbye=["Tchau!"])
    assert brazilian.filler[0] == "Um momento, por favor."
    assert brazilian.idle == ["Ainda está aí?"]
    assert brazilian.goodbye == ["Tchau!"]
    assert Persona(name="ann", language="en-GB").failure == Persona(name="ann").failure


def test_in_a_language_without_phrases_only_what_must_be_said_is_said_in_english():
    swahili, english = Persona(name="asha", language="sw"), Persona(name="ann")
    assert swahili.filler == []
    assert swahili.failure == english.failure


def test_every_language_has_phrases_of_its_own():
    languages = {path.stem: phrases(path.stem) for path in LANGUAGES_DIR.glob("*.yaml")}
    assert len(languages) == 9
    for phrase in ("greeting", "goodbye", "idle", "filler", "failure", "connecting", "unreachable"):
        said = [str(getattr(each, phrase)) for each in languages.values()]
        assert len(set(said)) >= 8, said
