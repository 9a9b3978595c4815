"""How finished sentences are, by their words."""

from __future__ import annotations

import pytest

from agent.backchannels import Meaning, meaning
from agent.completeness import finished, says_goodbye
from agent.endpointing import judge

OPEN = [
    "I am calling because",
    "can you",
    "the problem with my account is",
    "um",
    "my name is",
    "let me see",
    "we would like a table with",
    "it is for my sister, I mean",
    "when I turn it on",
    "do you know if",
    "my number is five five five",
    "It's 555 12",
    "I need milk, eggs,",
    "I was told that",
    "tell me how old is",
    "do you know what time is",
    "stop, what did",
    "no I was",
    "yes but what if I",
]
WHOLE = [
    "What is the capital of Peru?",
    "when do you open on sunday",
    "I need to cancel my reservation.",
    "thank you very much",
    "what time is it",
    "my number is five five five one two one two",
    "goodbye",
    "wait stop what can you do",
    "okay how long does it take",
    "i need to go to rome how long will it take",
    "do you know what time it is",
    "i don't know what to do",
    "who am i talking to",
    "what does she look like",
    "what time is that",
    "how's it going",
    "i don't think so",
    "yes it is",
    "not really",
    "why not",
]


@pytest.mark.parametrize("text", OPEN)
def test_open_sentences(text: str) -> None:
    belief, reason = finished(text)
    assert belief <= 0.15
    assert reason


@pytest.mark.parametrize("text", WHOLE)
def test_whole_sentences(text: str) -> None:
    assert finished(text)[0] >= 0.6


def test_short_answers_depend_on_the_question() -> None:
    assert finished("yes", "Shall I book it?")[0] > finished("yes", "It is booked.")[0]


def test_digits_are_dictation_only_where_a_number_is_expected() -> None:
    assert finished("at five", "When shall I book it?")[0] > 0.5
    assert finished("five", "What is your phone number?")[0] < 0.2


def test_melody_moves_a_doubtful_sentence_both_ways() -> None:
    low, unknown, high = (
        judge("I will come later", "", sound).belief for sound in (0.05, None, 0.95)
    )
    assert low + 0.1 < unknown < high - 0.1
    assert judge("I will come later", "", None, recogniser=0.95).belief > unknown


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", Meaning.NOTHING),
        ("Mm-hmm.", Meaning.VOCAL),
        ("and hmm", Meaning.VOCAL),
        ("and um", Meaning.BEGINNING),
        ("and hmm trains", Meaning.CONTENT),
        ("Yeah, right.", Meaning.ACKNOWLEDGE),
        ("oh I see", Meaning.ACKNOWLEDGE),
        ("makes", Meaning.BEGINNING),
        ("makes sense", Meaning.ACKNOWLEDGE),
        ("makes no difference", Meaning.CONTENT),
        ("Wait", Meaning.TAKES_FLOOR),
        ("yeah but", Meaning.TAKES_FLOOR),
        ("submarines", Meaning.CONTENT),
    ],
)
def test_what_words_do_to_the_floor(text: str, what: Meaning) -> None:
    assert meaning(text) is what


def test_goodbyes() -> None:
    assert says_goodbye("All right, bye-bye!")
    assert not says_goodbye("I said goodbye to her yesterday")
