"""Rules of turn-taking, one scene each; pauses and barge-in have files of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent import decisions as d
from agent.pace import BALANCED
from agent.turns import State
from asr.interface import Word
from tests.agent.talk import MS, Talk


def test_a_reply_is_prepared_early_and_committed_with_the_same_text() -> None:
    talk = Talk().quiet(300).say("what is the time?").quiet(160).heard(final=True)
    speculated = talk.last(d.Speculate)
    talk.quiet(300)
    commit = talk.last(d.Commit)
    assert isinstance(speculated, d.Speculate)
    assert isinstance(commit, d.Commit)
    assert commit.text == speculated.text == "what is the time?"
    assert commit.at - speculated.at >= 60 * MS


def test_going_on_drops_what_was_prepared_and_keeps_the_words() -> None:
    talk = Talk().quiet(300).say("what is the time").quiet(240).heard(final=True)
    assert "Speculate" in talk.fresh()
    talk.say("in Lima?").quiet(160).heard(final=True).quiet(300)
    assert talk.names[0] == "DropSpeculation"
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.text == "what is the time in Lima?"


def test_more_words_replace_what_was_prepared() -> None:
    talk = Talk().quiet(300).say("what is the").say("time", hear=False).quiet(100)
    talk.words.pop()
    talk.words[-1] = replace(talk.words[-1], text="capital")
    talk.heard().quiet(100)
    talk.words.append(replace(talk.words[-1], text="of Peru?", end_samples=talk.at))
    talk.heard(final=True)
    texts = [decision.text for decision in talk.decisions if isinstance(decision, d.Speculate)]
    assert texts[-1] == "what is capital of Peru?"
    assert talk.names.count("DropSpeculation") == talk.names.count("Speculate") - 1


def test_no_reply_is_prepared_to_words_of_which_the_last_may_be_on_their_way() -> None:
    talk = Talk()
    talk.lag_ms = 480
    talk.quiet(300).say("what is the time?").quiet(240)
    assert "FlushWords" in talk.names
    assert "Speculate" not in talk.names
    talk.heard(final=True)
    assert "Speculate" in talk.fresh()
    talk.heard().quiet(100)
    assert talk.names == ["Commit"]  # the live words lag again; these are final all the same


def test_final_words_are_not_taken_back_by_a_view_that_lags() -> None:
    talk = Talk()
    talk.lag_ms = 480
    talk.quiet(300).say("what is the time", hear=False).quiet(160).heard(final=True)
    talk.words = [Word("watt", talk.at - 900 * MS, talk.at - 160 * MS)]
    talk.heard().quiet(300)
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.text == "what is the time"


def test_words_that_lag_are_all_told_once_the_lag_has_passed() -> None:
    talk = Talk()
    talk.lag_ms = 480
    talk.quiet(300).say("what is the time?").quiet(460)
    assert "Speculate" not in talk.names
    talk.quiet(40)
    assert "Speculate" in talk.names


def test_words_that_arrive_before_they_are_final_are_waited_for() -> None:
    talk = Talk().quiet(300).say("what is the time?").quiet(500)
    assert "FlushWords" in talk.names
    assert "Commit" not in talk.names
    talk.heard(final=True)
    assert "Commit" in talk.names


def test_a_recogniser_that_never_finishes_does_not_hold_up_the_turn() -> None:
    talk = Talk().quiet(300).say("what is the time?").quiet(1000)
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.upto_samples == talk.words[-1].end_samples  # what comes later is not lost


def test_a_lagging_live_view_does_not_undo_final_words() -> None:
    talk = Talk().quiet(300).say("how do rivers form").quiet(160).heard(final=True)
    form = talk.words.pop()
    talk.heard().quiet(400)
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.text.endswith(form.text)


def test_a_cough_in_silence_is_nobodys_turn() -> None:
    talk = Talk().quiet(500).voice(200).quiet(180).heard(final=True).quiet(600)
    assert talk.names == ["TurnStarted", "FlushWords", "Ignore"]
    assert talk.state is State.LISTENING


def test_a_hum_is_not_answered() -> None:
    talk = Talk().quiet(300).say("mm-hm").quiet(180).heard(final=True).quiet(3000)
    assert talk.names[-1] == "Backchannel"
    assert "Commit" not in talk.names


def test_a_hum_answers_a_question() -> None:
    talk = Talk().speaks("Shall I book it?").quiet(1000).falls_silent()
    talk.quiet(300).say("mm-hm").quiet(180).heard(final=True).quiet(3000)
    assert "Commit" in talk.names


def test_words_said_while_the_agent_thinks_join_the_turn() -> None:
    talk = Talk().ask("do you have a table?").quiet(100)
    talk.fresh()
    talk.say("for tonight I mean it").quiet(160).heard(final=True).quiet(2500)
    names = talk.names
    assert names[:1] == ["Duck"]
    assert names.index("DropSpeculation") < names.index("TurnStarted") < names.index("Commit")
    assert "Interrupt" not in names
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.text == "do you have a table? for tonight I mean it"


def test_a_cough_while_the_agent_thinks_does_not_swallow_the_reply() -> None:
    talk = Talk().ask().quiet(100)
    talk.fresh()
    talk.voice(200, confidence=0.5).quiet(160).heard(final=True).quiet(400)
    names = talk.fresh()
    assert names[0] == "Duck"
    assert "Resume" in names
    assert "DropSpeculation" not in names
    assert talk.state is State.THINKING


def test_an_answer_given_before_the_question_ends_counts() -> None:
    talk = Talk().ask().speaks("Would you like Tuesday at five?").quiet(1000)
    talk.say("yeah", hear=False).quiet(160).heard(final=True).quiet(200)
    talk.falls_silent().quiet(1000)
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.text == "yeah"


def test_a_question_agreed_to_is_finished_aloud() -> None:
    talk = Talk().ask().speaks("Would you like Tuesday at five?").quiet(1000)
    talk.say("yeah", hear=False)
    talk.heard().voice(100)
    softly = [item.softly for item in talk.decisions if isinstance(item, d.Resume)]
    talk.quiet(160).heard(final=True)
    assert softly == [True]
    last = talk.last(d.Resume)
    assert isinstance(last, d.Resume)
    assert not last.softly


def test_the_agents_own_words_are_not_the_callers() -> None:
    talk = Talk().ask().speaks("Rivers begin in the mountains and run to the sea.").quiet(500)
    talk.fresh()
    talk.own_voice = 0.9
    talk.say("rivers begin in the mountains").quiet(500)
    assert talk.fresh() == []
    assert talk.state is State.SPEAKING


def test_the_caller_may_use_the_agents_words() -> None:
    talk = Talk().ask().speaks("We have Tuesday at five.").quiet(500)
    talk.say("Tuesday works")
    assert talk.names[-2:] == ["Interrupt", "TurnStarted"]


@pytest.mark.parametrize("text", ["okay goodbye", "thanks, bye", "That is all, thank you."])
def test_goodbyes_are_noticed(text: str) -> None:
    talk = Talk().ask(text)
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.goodbye


def test_typed_messages_need_no_waiting() -> None:
    talk = Talk().ask().speaks().quiet(500)
    talk.fresh()
    talk.types("and lakes?")
    assert talk.fresh() == ["Interrupt", "Commit"]
    talk.types("and seas?")
    assert talk.names == ["DropSpeculation", "Commit"]
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.text == "and lakes? and seas?"


def test_the_stop_button_stops() -> None:
    talk = Talk().ask().speaks().quiet(500)
    talk.fresh()
    talk.presses_stop()
    assert talk.fresh() == ["Interrupt", "Ignore"]
    assert talk.state is State.LISTENING


def test_silence_is_asked_about_more_than_once() -> None:
    talk = Talk(replace(BALANCED, idle_s=5.0)).quiet(11_000)
    assert [decision.prompts for decision in talk.decisions if isinstance(decision, d.Idle)] == [
        1,
        2,
    ]


def test_a_long_turn_is_acknowledged_without_taking_the_floor() -> None:
    talk = Talk(replace(BALANCED, long_turn_s=5.0)).quiet(300)
    for _ in range(6):
        talk.say("and then we went to the").quiet(300)
    assert talk.names.count("Acknowledge") == 2
    talk.speaks("mm-hm").quiet(200).falls_silent()
    assert "Interrupt" not in talk.names


def test_an_agent_that_begins_over_the_caller_is_stopped() -> None:
    talk = Talk().quiet(300).say("I would like")
    talk.fresh()
    talk.speaks("Are you still there?")
    assert talk.fresh() == ["Interrupt"]


def test_a_reply_that_comes_to_nothing_frees_the_floor() -> None:
    talk = Talk().ask().thinks().thinks(False)
    assert talk.state is State.LISTENING


def test_a_playout_that_reports_its_own_duck_goes_on_speaking() -> None:
    talk = Talk().ask().speaks().quiet(500).voice(40, confidence=0.1).falls_silent().quiet(200)
    assert talk.names[-2:] == ["Resume", "Ignore"]
    assert talk.state is State.SPEAKING
    talk.speaks().quiet(500)
    assert talk.state is State.SPEAKING


def test_what_must_be_heard_out_is_not_cut_by_who_speaks_already() -> None:
    talk = Talk().quiet(200).voice(400)
    talk.speaks("This call is recorded.", interruptible=False).voice(400)
    assert "Interrupt" not in talk.names
    talk.say("hello").quiet(140).heard(final=True).quiet(1500)
    assert talk.names.count("Commit") == 1


def test_a_prompt_that_comes_while_a_reply_is_prepared_gives_way_and_the_reply_is_asked_for_anew() -> (
    None
):
    talk = Talk().quiet(300).say("what is the capital of Peru?").quiet(140).heard(final=True)
    while "Speculate" not in talk.names:
        talk.quiet(20)
    talk.fresh()
    talk.speaks("Are you still there?")
    assert talk.fresh() == ["DropSpeculation", "Interrupt", "Speculate"]
    talk.quiet(1500)
    assert talk.names.count("Commit") == 1


def test_no_mm_hm_when_an_answer_is_ready() -> None:
    talk = Talk(replace(BALANCED, long_turn_s=2.0)).quiet(300)
    talk.say("I would like to know what the capital of Peru is today, and why?")
    talk.quiet(140).heard(final=True).quiet(1500)
    names = talk.names
    assert "Speculate" in names
    assert "Commit" in names
    assert "Acknowledge" not in names
