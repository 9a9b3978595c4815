from __future__ import annotations

import pytest

from agent.matching import ENOUGH, match, sound, words_of
from agent.scriptbook import Slot
from agent.slots import parse, yes_or_no


@pytest.mark.parametrize(
    ("kind", "said", "value"),
    [
        ("number", "four", "4"),
        ("number", "for", "4"),
        ("number", "we are twenty five", "25"),
        ("number", "a dozen", "12"),
        ("number", "two hundred", "200"),
        ("number", "no idea", None),
        ("number", "okay then for ten", "10"),
        ("number", "just me", "1"),
        ("number", "²", None),
        ("time", "seven", "7 o'clock"),
        ("time", "at half past seven", "7:30"),
        ("time", "quarter to eight", "7:45"),
        ("time", "quarter past eight in the evening", "8:15 in the evening"),
        ("time", "19:30", "7:30 in the evening"),
        ("time", "seven thirty pm", "7:30 in the evening"),
        ("time", "twelve noon", "noon"),
        ("time", "sometime", None),
        ("time", "eight a.m.", "8 o'clock in the morning"),
        ("time", "7pm please", "7 o'clock in the evening"),
        ("time", "i am coming at six", "6 o'clock"),
        ("time", "twenty past seven", "7:20"),
        ("time", "ten past eight", "8:10"),
        ("time", "at ten to eight", "7:50"),
        ("time", "five minutes past eight", "8:05"),
        ("time", "twenty five to nine", "8:35"),
        ("time", "five to one in the afternoon", "12:55 in the afternoon"),
        ("time", "eight oh five", "8:05"),
        ("time", "nineteen hundred", "7 o'clock in the evening"),
        ("time", "seven or eight", "7 o'clock"),
        ("day", "this coming wensday", "Wednesday"),
        ("day", "tonight", "tonight"),
        ("day", "maybe", None),
        ("day", "the day", None),
        ("day", "the day after tomorrow", "the day after tomorrow"),
        ("day", "not friday saturday", "Saturday"),
        ("digits", "oh one seven double", "0 1 7"),
        ("digits", "555 0 1 2", "5 5 5 0 1 2"),
        ("digits", "oh double seven triple four", "0 7 7 4 4 4"),
        ("name", "my name is anna smith", "Anna Smith"),
        ("name", "uh john", "John"),
        ("name", "it is S M I T H", "Smith"),
        ("name", "john smyth s m i t h", "John Smith"),
        ("name", "anna m u e l l e r", "Anna Mueller"),
        ("name", "john f kennedy", "John F Kennedy"),
        ("name", "this is mister brown and i am late", "Brown"),
        ("name", "i am fine", None),
        ("name", "it's for mark", "Mark"),
        ("name", "this is for anna", "Anna"),
        ("name", "put it under miller", "Miller"),
        ("name", "call me on the phone", None),
        ("name", "i don't want to say", None),
        ("text", "the blue one.", "the blue one"),
        ("text", "my blue one", "your blue one"),
        ("yes_no", "yeah sure", "yes"),
        ("yes_no", "no, that is fine", "no"),
        ("yes_no", "perhaps", None),
    ],
)
def test_answers_to_a_question(kind, said, value):
    assert parse(Slot(kind=kind), said, asked=True) == value


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("number", "i would like to book for tonight"),
        ("number", "come at ten past eight"),
        ("name", "hello there"),
        ("time", "four"),
        ("time", "a table for four tomorrow evening"),
        ("day", "the name is knight"),
    ],
)
def test_unasked_only_the_unmistakable_counts(kind, said):
    assert parse(Slot(kind=kind), said, asked=False) is None


def test_a_choice_survives_mishearing():
    slot = Slot(kind="one_of", options=["margherita", "quattro formaggi"])
    assert parse(slot, "the margarita please", asked=True) == "margherita"
    assert parse(slot, "the quatro for maggie", asked=True) == "quattro formaggi"
    assert parse(slot, "just water", asked=True) is None


def test_limits():
    assert parse(Slot(kind="number", least=1, most=12), "forty", asked=True) is None


def test_neither_yes_nor_no():
    assert yes_or_no("yes and no") is True  # the first word decides
    assert yes_or_no("that is not right") is False
    assert yes_or_no("tomorrow") is None
    assert yes_or_no("okay thanks bye") is None


@pytest.mark.parametrize("said", ["why not", "go on", "another one please", "of course", "I would"])
def test_yes_in_other_words(said):
    assert yes_or_no(said) is True


@pytest.mark.parametrize("said", ["that's enough", "not now", "maybe later", "I'd rather not"])
def test_no_in_other_words(said):
    assert yes_or_no(said) is False


@pytest.mark.parametrize(
    ("a", "b"), [("their", "there"), ("knight", "night"), ("see", "sea"), ("phone", "fone")]
)
def test_what_sounds_the_same(a, b):
    assert sound(a) == sound(b)


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        ("recognise speech", "wreck a nice beach"),
        ("book a table", "i would like to book the table"),
        ("opening hours", "what are your open in ours"),
        ("can i bring my dog", "can we bring our dog"),
        ("margherita", "i would like two large margheritas please"),
    ],
)
def test_close_enough(pattern, heard):
    assert match(words_of(pattern), words_of(heard)).score >= ENOUGH


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        ("what is your name", "what is your address"),
        ("book a table", "a long story"),
        ("no", "now"),
        ("eight", "wait"),
        ("what", "white"),
        ("what", "eat"),
        ("yeah", "hawaii"),
        ("book a table", "i do not want to book a table"),
        ("tell me a joke", "tell me the truth"),
    ],
)
def test_not_close_enough(pattern, heard):
    assert match(words_of(pattern), words_of(heard)).score < ENOUGH
