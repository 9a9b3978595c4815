"""The conversation grammar: checked on reading, repeatable, and covering what a call is made of."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from common.errors import ConfigError
from training.text.conversation import Conversation, conversation_grammar, spoken
from training.text.grammar import Grammar
from training.text.numbers import MAKERS


def grammar(tmp_path: Path, text: str) -> Grammar:
    path = tmp_path / "rules.txt"
    path.write_text(text)
    return Grammar([path])


def test_every_kind_of_rule_expands(tmp_path: Path) -> None:
    rules = grammar(
        tmp_path,
        "start =\n  9: (hello|hi)[, <name>]  # comment\n  nine <number 9 9> | ten\nname = Ann | Bo\n",
    )
    chance = random.Random(0)
    said = {rules.sample("start", chance) for _ in range(400)}
    assert said == {"hello", "hi", *(f"{h}, {n}" for h in ("hello", "hi") for n in ("Ann", "Bo")),
                    "nine nine", "ten"}  # fmt: skip


def test_what_begins_a_bracket_belongs_to_all_its_alternatives(tmp_path: Path) -> None:
    rules = grammar(tmp_path, "start =\n  thanks[ a lot|again][, sir|madam].\n")
    chance = random.Random(0)
    said = {rules.sample("start", chance) for _ in range(200)}
    ends = ("", ", sir", ", madam")
    assert said == {f"thanks{much}{end}." for much in ("", " a lot", " again") for end in ends}


def test_weights_count(tmp_path: Path) -> None:
    rules = grammar(tmp_path, "start =\n  9: often\n  seldom\n")
    chance = random.Random(0)
    often = sum(rules.sample("start", chance) == "often" for _ in range(1000))
    assert 860 < often < 940


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("start = <nowhere>\n", "nowhere"),
        ("start = (a|b\n", "unbalanced"),
        ("  orphan\n", "line 1"),
        ("start = a\nstart = b\n", "line 2"),
        ("start =\n", "no options"),
    ],
)
def test_mistakes_are_found_on_reading(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        grammar(tmp_path, text)


def test_a_rule_that_never_ends_is_an_error_not_a_hang(tmp_path: Path) -> None:
    rules = grammar(tmp_path, "start = on and <start>\n")
    with pytest.raises(ConfigError, match="never ends"):
        rules.sample("start", random.Random(0))


def test_the_same_seed_says_the_same() -> None:
    one, two, other = Conversation(7), Conversation(7), Conversation(8)
    said = [one.say("caller") for _ in range(50)]
    assert said == [two.say("caller") for _ in range(50)]
    assert said != [other.say("caller") for _ in range(50)]


@pytest.mark.parametrize("speaker", ["caller", "agent"])
def test_sentences_are_clean(speaker: str) -> None:
    talk = Conversation(3)
    for _ in range(3000):
        text = talk.say(speaker)  # type: ignore[arg-type]
        assert not re.search(r"[<>()\[\]|\d_]|  | [,.?!]|\.[,.]|\ba [aeiou]", text), text
        assert text[0].isupper()
        assert spoken(text)


def test_a_call_has_all_its_parts() -> None:
    """Questions, numbers, spellings, corrections, fillers, acknowledgements: all in ten minutes."""
    talk = Conversation(5)
    said = " ".join(talk.say("caller").lower() for _ in range(1500))
    for part in ("?", "mm-hm", "um,", "sorry,", "o'clock", "my name is", "remind me", "goodbye"):
        assert part in said, part
    assert re.search(r"(one|two|three|four|five) (oh|zero) (one|two|three|six)", said)
    assert len(conversation_grammar().words()) > 1300


def test_spoken_words() -> None:
    assert spoken("It's HALF past twenty-two, 'kay? Mm-hm.") == [
        "it's", "half", "past", "twenty", "two", "kay", "mhm",
    ]  # fmt: skip


def test_number_makers_use_only_words() -> None:
    chance = random.Random(1)
    arguments = {"number": (0, 9999), "ordinal": (1, 31), "digits": (3, 8), "letters": (2, 6)}
    for name, maker in MAKERS.items():
        for _ in range(300):
            text = maker(chance, *arguments.get(name, ()))
            assert re.fullmatch(r"[A-Za-z' -]+", text), (name, text)


def test_digits_have_the_length_asked_for() -> None:
    chance = random.Random(2)
    for _ in range(300):
        words = MAKERS["digits"](chance, 6, 6).split()
        assert len(words) == 6  # a double stands for two and is two words
