"""Rules of turn-taking, one scene each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent import decisions as d
from agent.caller_words import CallerWords
from agent.endpointing import Patience, judge
from agent.pace import BALANCED, PACES, options_for
from agent.turns import State
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


def test_ducks_within_one_frame() -> None:
    talk = Talk().speaks().quiet(1000)
    talk.fresh()
    talk.voice(20)
    assert talk.fresh() == ["Duck"]
    assert talk.state is State.HELD


@pytest.mark.parametrize("text", ["wait", "no that is wrong", "what about lakes", "tell me more"])
def test_words_interrupt(text: str) -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.say(text)
    assert talk.fresh()[-2:] == ["Interrupt", "TurnStarted"]
    assert talk.state is State.CALLER
    talk.quiet(160).heard(final=True).quiet(2500)
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.text == text


@pytest.mark.parametrize("text", ["mm-hm", "yeah", "right", "okay", "I see", "got it"])
def test_backchannels_do_not(text: str) -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.say(text, hear=False).quiet(160).heard(final=True).quiet(800)
    names = talk.fresh()
    assert names[0] == "Duck"
    assert names.count("Resume") == names.count("Backchannel") == 1
    assert "Interrupt" not in names
    assert talk.state is State.SPEAKING


def test_resumes_within_200_ms_of_knowing() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    began = talk.at
    talk.say("yeah", hear=False).quiet(80)
    resumed = talk.last(d.Resume)
    assert resumed.at - began < 400 * MS  # before people notice that it stopped


def test_a_short_command_is_waited_for_while_its_words_are_due() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.say("stop", hear=False).quiet(60).heard(final=True)
    assert talk.fresh() == ["Duck", "FlushWords", "Interrupt", "TurnStarted"]


def test_the_s_and_t_of_stop_are_not_somebody_far_away() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.voice(80, level=-42.0).quiet(120).voice(160).quiet(60)
    talk.words.append(Word("stop", talk.at - 400 * MS, talk.at - 60 * MS))
    talk.heard(final=True)
    assert [name for name in talk.fresh() if name != "FlushWords"] == [
        "Duck", "Interrupt", "TurnStarted",
    ]  # fmt: skip


def test_it_goes_on_softly_until_the_sound_is_judged() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.say("yeah", hear=False)
    talk.heard().voice(100)
    resumed = talk.last(d.Resume)
    assert isinstance(resumed, d.Resume)
    assert resumed.softly
    assert "Backchannel" not in talk.fresh()
    talk.quiet(160).heard(final=True)
    assert talk.fresh()[-1] == "Backchannel"


def test_after_a_long_silence_it_waits_for_the_answer_that_is_due() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    began = talk.at
    talk.say("rivers", hear=False)
    talk.words[-1] = Word("rivers", began, talk.at, confidence=0.5)
    talk.heard().voice(120).quiet(160)
    assert "Resume" not in talk.fresh()
    talk.words[-1] = Word("rivers", began, talk.at, confidence=0.9)
    talk.heard(final=True)
    assert talk.fresh()[:2] == ["Interrupt", "TurnStarted"]


def test_two_guessed_words_are_no_interruption_before_they_last() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    for text in ("got", "a"):
        talk.voice(260)
        talk.words.append(Word(text, talk.at - 260 * MS, talk.at, confidence=0.5))
        talk.heard()
    assert "Interrupt" not in talk.fresh()
    talk.voice(260)
    talk.words.append(Word("train", talk.at - 260 * MS, talk.at, confidence=0.5))
    talk.heard().voice(120)
    assert talk.fresh()[-2:] == ["Interrupt", "TurnStarted"]


def test_agreeing_and_going_on_interrupts() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.say("yeah").say("but why do they bend")
    assert talk.names[-2:] == ["Interrupt", "TurnStarted"]


@pytest.mark.parametrize(
    ("voiced_ms", "confidence", "level"),
    [
        (40, 0.1, -24.0),  # a click
        (600, 0.1, -24.0),  # a motor
        (300, 0.5, -24.0),  # a cough
    ],
)
def test_noises_do_not_interrupt(voiced_ms: int, confidence: float, level: float) -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.voice(voiced_ms, confidence=confidence, level=level).quiet(160).heard(final=True).quiet(
        600
    )
    names = talk.fresh()
    assert "Interrupt" not in names
    assert names.count("Duck") == names.count("Resume") == 1
    assert talk.state is State.SPEAKING


def test_someone_else_in_the_room_does_not_interrupt() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.say("please close the door over there", level=-34.0).quiet(160).heard(final=True)
    names = talk.fresh()
    assert "Interrupt" not in names
    assert "Resume" in names
    assert "Commit" not in talk.quiet(3000).fresh()


def test_who_began_far_away_and_comes_nearer_is_still_somebody_else() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.voice(300, level=-32.0)
    assert "Ignore" in talk.fresh()
    talk.say("seen my keys", level=-28.0, hear=False).quiet(160).heard(final=True).quiet(400)
    assert "Interrupt" not in talk.fresh()


@pytest.mark.parametrize(
    ("pitch_hz", "level", "yields"),
    [(190.0, -27.0, False), (190.0, -24.0, True), (110.0, -27.0, True)],
)
def test_another_voice_that_is_not_as_loud_is_somebody_else(
    pitch_hz: float, level: float, yields: bool
) -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.pitch_hz = pitch_hz
    talk.say("can you get the door please", level=level).quiet(160).heard(final=True).quiet(400)
    assert ("Interrupt" in talk.fresh()) is yields


def test_an_aside_does_not_interrupt_unless_it_goes_on() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.say("have you seen them", level=-29.0, hear=False).quiet(160).heard(final=True).quiet(400)
    assert "Interrupt" not in talk.fresh()
    talk.quiet(500).say("I am still talking to you here", level=-29.0)
    assert "Interrupt" in talk.fresh()


def test_a_quiet_command_interrupts() -> None:
    talk = Talk().ask().speaks().quiet(1000).say("stop it", level=-29.0)
    assert talk.names[-2:] == ["Interrupt", "TurnStarted"]


def test_long_voice_interrupts_before_any_word() -> None:
    talk = Talk().ask().speaks().quiet(1000).voice(BALANCED.interrupt_voice_ms + 200)
    assert talk.names[-2:] == ["Interrupt", "TurnStarted"]


def test_an_interruption_of_nothing_does_not_leave_the_agent_mute() -> None:
    talk = Talk().ask().speaks().quiet(1000).voice(1300).quiet(160).heard(final=True)
    talk.fresh()
    assert talk.quiet(2500).fresh() == ["Ignore", "Idle"]


def test_a_legal_notice_is_heard_out_and_the_callers_words_are_kept() -> None:
    talk = Talk().speaks("This call is recorded.", interruptible=False).quiet(500)
    talk.say("hello I need a doctor").quiet(1000).heard(final=True)
    assert talk.names == []
    talk.falls_silent().quiet(1000)
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.text == "hello I need a doctor"


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
