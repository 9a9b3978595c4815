"""When a pause is the end of the turn."""

from __future__ import annotations

import pytest

from agent import decisions as d
from agent.caller_words import CallerWords
from agent.endpointing import Patience, judge
from agent.pace import BALANCED, PACES, options_for
from asr.interface import Word
from common.errors import ConfigError
from tests.agent.talk import MS, Talk

OPEN_SENTENCES = [
    "my number is",
    "my number is five five five",
    "I would like to",
    "I would like the soup and",
    "I wanted to ask um",
    "I was told that",
    "when I turn it on",
    "could we come at",
    "On Monday, no, actually",
    "I need milk,",
    "yesterday I bought",
    "so",
]
FINISHED_SENTENCES = [
    "What is the capital of Peru?",
    "where are you from?",
    "Do you have a table for two?",
    "I would like to book an appointment.",
    "that is all, goodbye",
]


def _silence_until_commit_ms(
    text: str, *, sound: float | None = None, pace: str = "balanced"
) -> int:
    talk = Talk(options_for(pace)).quiet(300).say(text).quiet(220).heard(final=True)
    if sound is not None:
        talk.finished(sound)
    silent_ms = 220
    while not any(isinstance(decision, d.Commit) for decision in talk.decisions):
        talk.quiet(20)
        silent_ms += 20
        assert silent_ms < 8000
    return silent_ms


@pytest.mark.parametrize("text", FINISHED_SENTENCES)
def test_a_finished_turn_is_answered_at_once(text: str) -> None:
    assert 220 <= _silence_until_commit_ms(text) <= 400


@pytest.mark.parametrize("text", OPEN_SENTENCES)
def test_an_open_sentence_is_given_time(text: str) -> None:
    assert _silence_until_commit_ms(text) > 1500


def test_words_and_melody_are_weighed_together() -> None:
    vague = "I will come by later"
    sure = _silence_until_commit_ms(vague, sound=0.95)
    unknown = _silence_until_commit_ms(vague)
    doubtful = _silence_until_commit_ms(vague, sound=0.05)
    assert sure <= 340 < unknown < doubtful


def test_no_melody_closes_an_open_sentence() -> None:
    assert _silence_until_commit_ms("my name is", sound=0.99) > 1500


def test_a_guessed_last_word_is_given_time() -> None:
    sure, guess = judge("what is it", ""), judge("what is good", "", end_confidence=0.1)
    patience = Patience(BALANCED.patience_ms)
    assert patience.needed_ms(sure.belief) < 400
    assert 800 < patience.needed_ms(guess.belief) < 1200
    assert "guess" in guess.reason


@pytest.mark.parametrize(
    ("confidences", "belief"),
    [((), 1.0), ((0.9, 0.3), 0.3), ((0.2, 0.3, 0.7), 0.4), ((0.1, 1.0, 1.0, 0.9), 0.9)],
)
def test_the_end_is_no_surer_than_its_last_word_and_its_last_three(
    confidences: tuple[float, ...], belief: float
) -> None:
    words = tuple(Word("word", i, i + 1, sure) for i, sure in enumerate(confidences))
    assert CallerWords(words).end_confidence == pytest.approx(belief)


def test_paces_differ_in_patience() -> None:
    waits = [_silence_until_commit_ms("I will come by later", pace=pace) for pace in PACES]
    assert waits == sorted(waits)
    assert len(set(waits)) == 3
    with pytest.raises(ConfigError, match="hasty"):
        options_for("hasty")


def test_a_slow_speaker_is_given_more_time() -> None:
    slow, usual = Patience(BALANCED.patience_ms), Patience(BALANCED.patience_ms)
    for pause_ms in (300, 1000, 1100, 900):
        slow.learn(pause_ms)
    assert slow.needed_ms(0.5) > usual.needed_ms(0.5)
    assert slow.needed_ms(1.0) == usual.needed_ms(1.0)  # a sure end is the end for anybody


def test_pauses_are_learnt_during_the_call() -> None:
    def doubtful_end_ms(talk: Talk) -> float:
        stopped = talk.say("I will come by later").at
        talk.quiet(220).heard(final=True).finished(0.2).quiet(4000)
        return (talk.last(d.Commit).at - stopped) / MS

    slow = Talk().quiet(300)
    for _ in range(4):
        slow.say("and").quiet(1000)
    assert doubtful_end_ms(slow) > 1.15 * doubtful_end_ms(Talk().quiet(300))
