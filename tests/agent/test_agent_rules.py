"""A sound while the agent has the floor: it stops, goes on, or waits to know."""

from __future__ import annotations

import pytest

from agent import decisions as d
from agent.pace import BALANCED
from agent.turns import State
from asr.interface import Word
from tests.agent.talk import MS, Talk


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


@pytest.mark.parametrize(("confidence", "interrupts"), [(0.7, True), (0.5, False)])
def test_two_final_words_need_not_be_certain(confidence: float, interrupts: bool) -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    for text in ("never", "mind"):
        talk.voice(260)
        talk.words.append(Word(text, talk.at - 260 * MS, talk.at, confidence))
    talk.quiet(160).heard(final=True).quiet(100)
    assert ("Interrupt" in talk.fresh()) is interrupts


def test_words_that_were_final_before_the_sound_was_over_are_asked_for_again() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.voice(540)
    talk.words = [Word("and", talk.at - 500 * MS, talk.at - 240 * MS, 0.5)]
    talk.words += [Word("hmm", talk.at - 200 * MS, talk.at, 1.0)]
    talk.quiet(20).heard(final=True)
    assert "Interrupt" not in talk.fresh()
    talk.quiet(80)
    assert "FlushWords" in talk.fresh()
    talk.quiet(60).heard(final=True).quiet(400)
    assert "Backchannel" in talk.names
    assert "Interrupt" not in talk.names


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
    talk.pitch_hz = 190.0
    talk.say("please close the door over there", level=-34.0).quiet(160).heard(final=True)
    names = talk.fresh()
    assert "Interrupt" not in names
    assert "Resume" in names
    assert "Commit" not in talk.quiet(3000).fresh()


def test_who_began_far_away_and_comes_nearer_is_still_somebody_else() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.pitch_hz = 0.0
    talk.voice(300, level=-32.0)
    assert "Ignore" in talk.fresh()
    talk.say("seen my keys", level=-28.0, hear=False).quiet(160).heard(final=True).quiet(400)
    assert "Interrupt" not in talk.fresh()


@pytest.mark.parametrize(
    ("pitch_hz", "level", "yields"),
    [
        (190.0, -27.0, False),
        (190.0, -24.0, True),
        (110.0, -27.0, True),
        (120.0, -36.0, True),
        (130.0, -36.0, False),
    ],
)
def test_another_voice_that_is_not_as_loud_is_somebody_else(
    pitch_hz: float, level: float, yields: bool
) -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.pitch_hz = pitch_hz
    talk.say("can you get the door please", level=level).quiet(160).heard(final=True).quiet(400)
    assert ("Interrupt" in talk.fresh()) is yields


@pytest.mark.parametrize(("level", "yields"), [(-37.0, True), (-44.0, False)])
def test_nobody_is_so_quiet_as_a_television_whatever_its_pitch(level: float, yields: bool) -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.say("we will have two coffees please", level=level).quiet(160).heard(final=True).quiet(400)
    assert ("Interrupt" in talk.fresh()) is yields


@pytest.mark.parametrize("text", ["wait", "tell me about the sea"])
def test_the_callers_own_pitch_is_the_caller_however_quiet(text: str) -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.say(text, level=-36.0).quiet(160).heard(final=True)
    assert "Interrupt" in talk.fresh()


def test_an_aside_does_not_interrupt_unless_it_goes_on() -> None:
    talk = Talk().ask().speaks().quiet(1000)
    talk.fresh()
    talk.pitch_hz = 0.0
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


def test_stop_is_obeyed_before_the_first_sound() -> None:
    talk = Talk().ask()
    talk.fresh()
    talk.presses_stop()
    assert talk.fresh() == ["Interrupt", "Ignore"]
    assert talk.state is State.LISTENING


def late_end(talk: Talk, *late: str) -> None:
    """The recogniser's last view of the turn that is being answered comes, later than was waited for."""
    stopped = talk.turns._floor.stopped
    talk.words += [Word(text, stopped - 300 * MS, stopped - 10 * MS) for text in late]
    talk.heard(final=True)


def commit_on_a_partial_view(talk: Talk, *texts: str) -> None:
    """The voice goes on for 250 ms after the last word that the recogniser has told so far."""
    talk.quiet(300)
    talk.words = [
        Word(text, (300 + 200 * i) * MS, (500 + 200 * i) * MS) for i, text in enumerate(texts)
    ]
    talk.voice(200 * len(texts) + 250).heard()
    while talk.state is not State.THINKING:
        talk.quiet(20)
    talk.fresh()


def test_a_word_of_the_turn_that_is_placed_later_afterwards_is_no_new_one() -> None:
    talk = Talk()
    commit_on_a_partial_view(talk, "what", "can", "you", "do")
    talk.words.pop()
    late_end(talk, "do")
    talk.quiet(200).speaks().quiet(500)
    assert talk.fresh() == []


def test_words_of_the_turn_that_come_when_its_answer_is_heard_do_not_stop_it() -> None:
    talk = Talk()
    commit_on_a_partial_view(talk, "what", "is", "that")
    talk.speaks().quiet(100)
    late_end(talk, "do")
    talk.quiet(1000)
    assert talk.fresh() == []
    talk.words.clear()
    talk.say("wait").quiet(160).heard(final=True).quiet(2500)
    commit = talk.last(d.Commit)
    assert isinstance(commit, d.Commit)
    assert commit.text == "wait"


def test_an_answer_of_which_more_follows_keeps_the_floor():
    talk = Talk().ask().speaks("One moment, please.").quiet(1000).thinks().falls_silent()
    assert talk.state is State.THINKING
    assert talk.speaks("It is Lima.").quiet(1000).falls_silent().quiet(500).state is State.LISTENING
