from __future__ import annotations

from typing import Any

from agent.heard import Cut
from asr.interface import Hypothesis, Word
from pipelines.mouth import Reply
from pipelines.reporter import Reporter
from tts.interface import SpokenWord
from tts.speakable import speakable


def reporter() -> tuple[Reporter, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    return Reporter(
        lambda event, **fields: told.append({"event": event, **fields}), lambda: 0
    ), told


def reply(turn: int, text: str) -> Reply:
    """A reply whose words last 100 samples each, synthesised but not played."""
    made = Reply(turn)
    made.expect(text, speakable(text))
    for index, word in enumerate(text.split()):
        made.spoke(SpokenWord(word, index * 100, index * 100 + 100))
    return made


def words(text: str, begin: int = 0) -> Hypothesis:
    return Hypothesis(
        tuple(Word(w, begin + i * 100, begin + i * 100 + 100) for i, w in enumerate(text.split()))
    )


def test_a_state_is_told_when_it_changes():
    report, told = reporter()
    for state in ("listening", "listening", "thinking", "speaking", "speaking"):
        report.state(state)
    assert [event["state"] for event in told] == ["listening", "thinking", "speaking"]


def test_the_callers_words_are_told_once_and_not_again_after_they_were_committed():
    report, told = reporter()
    assert report.caller_says(1, words("book a")) == "book a"
    assert report.caller_says(1, words("book a")) == ""
    report.caller_said(1, "book a table", 300)
    assert report.caller_says(2, words("book a table")) == ""
    assert report.caller_says(2, words("book a table for")) == "for"
    assert [(e["turn"], e["text"], e["final"]) for e in told] == [
        (1, "book a", False), (1, "book a table", True), (2, "for", False),
    ]  # fmt: skip


def test_a_sound_that_was_nobodys_turn_is_taken_off_the_screen():
    report, told = reporter()
    report.caller_says(1, words("huh"))
    report.caller_said(1, "", 100)
    assert told[-1] == {"event": "caller_words", "turn": 1, "text": "", "final": True}
    report.caller_said(1, "", 200)
    assert len(told) == 2


def test_two_replies_in_one_breath_are_counted_and_cut_as_one_text():
    report, told = reporter()
    notice, greeting = reply(0, "This call is recorded."), reply(0, "Hello, how are you?")
    notice.ledger.wrote(400)
    report.show(notice)
    report.show(greeting)
    report.done(notice)
    greeting.ledger.wrote(200)
    report.spoken(greeting, 0)
    assert told[-1] == {"event": "agent_words", "turn": 0, "spoken": 6}
    report.finished_speaking()  # the cut silences the agent before it is told
    report.cut([(greeting, greeting.cut(0)), (reply(0, "Bye."), Cut("", "Bye."))])
    assert told[-1]["heard"] == "This call is recorded. Hello, how"
    assert told[-1]["unheard"] == "are you?"  # of the rest nobody has been told


def test_each_turns_text_is_cut_by_itself():
    report, told = reporter()
    replies = [reply(0, "Hello."), reply(1, "Two o'clock.")]
    for one in replies:
        report.show(one)
    report.cut([(one, one.cut(0)) for one in replies])
    cuts = [(e["turn"], e["unheard"]) for e in told if e["event"] == "agent_cut"]
    assert cuts == [(0, "Hello."), (1, "Two o'clock.")]


def test_what_a_broken_voice_did_not_say_is_struck_and_no_interruption():
    report, told = reporter()
    broken = reply(1, "It is late.")
    broken.ledger.wrote(200)
    report.done(broken)
    assert told[-1] == {
        "event": "agent_cut", "turn": 1, "heard": "It is", "unheard": "late.", "by": "voice",
    }  # fmt: skip


def test_after_silence_counting_begins_anew():
    report, told = reporter()
    first, prompt = reply(1, "Yes it is."), reply(1, "Are you there?")
    first.ledger.wrote(300)
    report.done(first)
    report.finished_speaking()
    prompt.ledger.wrote(100)
    report.spoken(prompt, 0)
    assert told[-1] == {"event": "agent_words", "turn": 1, "spoken": 1}


def test_a_held_reply_is_shown_once_when_it_is_let_go():
    report, told = reporter()
    held = Reply(1, held=True)
    held.expect("Maybe. ", [])
    report.let_go(held)
    report.show(held)
    report.show(held)
    assert [event["event"] for event in told] == ["speculation", "agent_text"]


def test_a_reply_that_ran_dry_is_told_of_even_if_it_was_cut():
    report, told = reporter()
    starved = reply(1, "one two")
    starved.starved_samples = 2_400
    report.cut([(starved, Cut("one", "two"))])
    assert told[-1] == {"event": "underrun", "turn": 1, "ms": 100}
