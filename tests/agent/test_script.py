"""Offline conversations: what is said, heard wrongly, and answered."""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.persona import load_persona, small_talk
from agent.script import Dialogue, ScriptPlayer
from agent.scriptbook import Rule, Script

NOW = datetime(2026, 11, 21, 19, 5)


class Talk:
    """A conversation with one persona."""

    def __init__(self, name: str):
        persona = load_persona(name)
        facts = {"title": persona.title, "goodbye": persona.goodbye[0]}
        self.player = ScriptPlayer(persona.script, small_talk(), facts)
        self.state = Dialogue(last=persona.greeting[0])

    def say(self, text: str) -> str:
        self.state, reply = self.player.reply(self.state, text, NOW)
        return reply


@pytest.mark.parametrize(
    ("heard", "answer"),
    [
        ("what time is it", "7:05 in the evening"),
        ("what thyme is it", "7:05 in the evening"),
        ("what dime is it please", "7:05 in the evening"),
        ("which date is it today", "Saturday, November 21"),
        ("tell me a choke", "feedback"),
        ("how do you word", "recogniser"),
        ("can i interrupt you", "Just start talking"),
        ("can eye interrupt you", "Just start talking"),
        ("are you a row bot", "machine"),
        ("are you recording me", "leaves this machine"),
        ("help", "ask me about what I am"),
        ("can you here me", "I can hear you"),
        ("tell us a story", "lighthouse"),
        ("what's the weather like", "cannot look outside"),
        ("who won the game last night", "cannot look things up"),
        ("hi can i speak to a human please", "cannot transfer you"),
    ],
)
def test_what_was_meant_lands_even_when_misheard(heard, answer):
    assert answer in Talk("parley").say(heard)


BOOKED = ("book a table for four", "friday", "at seven", "walter")


@pytest.mark.parametrize(
    ("name", "heard", "answer"),
    [
        (
            "restaurant",
            (*BOOKED, "actually make it eight o'clock"),
            "a table for 4, Friday, at 8 o'",
        ),
        ("restaurant", (*BOOKED, "do you have vegetarian dishes"), "three vegetarian dishes"),
        ("restaurant", (*BOOKED, "do you have wifi"), "under Walter. Is that right?"),
        (
            "restaurant",
            (*BOOKED, "thank you goodbye"),
            "Thank you for calling the Harbour Kitchen.",
        ),
        (
            "restaurant",
            ("a table for two tomorrow at nine under miller",),
            "at 9 o'clock, under Mil",
        ),
        ("quizmaster", ("yes", "can you repeat the question"), "Which planet"),
        ("quizmaster", ("yes", "mercury", "stop i want to quit"), "1 out of five. Thanks for play"),
        ("quizmaster", ("yes", "what was the question"), "Which planet"),
        ("listener", ("my mother died last week",), "so sorry"),
        ("parley", ("tell me a joke", "why not"), "packet loss"),
        ("parley", ("tell me a joke", "okay thanks bye"), "Goodbye"),
        ("parley", ("can you call me on the phone",), "telephones"),
        ("parley", ("my name is white", "what is my name"), "White"),
        ("parley", ("i like my dog",), "Your dog"),
        ("parley", ("don't tell me a joke",), "All right"),
        ("parley", ("i do not want to hear a story",), "All right"),
        ("restaurant", ("i do not want to book a table",), "have a lovely day"),
        ("restaurant", ("i don't want soup what is on the menu",), "Fresh fish"),
        ("restaurant", ("what is on the menu", "how do i get there please"), "Quay Street"),
        ("restaurant", ("what is on the menu", "no thank you"), "anything else you would like"),
        ("restaurant", ("book a table", "today", "just me"), "time"),
        ("restaurant", ("book a table", "two", "no three", "friday", "six", "anna"), "for 3, Fri"),
        ("restaurant", (*BOOKED, "no the name is knight"), "Friday, at 7 o'clock, under Knight"),
        ("restaurant", (*BOOKED, "no", "the day"), "hich day"),
        ("restaurant", (*BOOKED[:3], "sara"), "under Sara"),
        ("restaurant", (*BOOKED[:3], "white"), "under White"),
        ("restaurant", (*BOOKED[:3], "oh wait"), "And under what name?"),
        ("restaurant", ("book a table", "i do not want to book a table"), "not booked anything"),
        ("quizmaster", ("yes", "mercury", "wait"), "Take your time"),
        ("quizmaster", ("yes", "mercury", "what"), "How many legs"),
        ("quizmaster", ("yes", "wait", "what was the question"), "Which planet"),
        ("quizmaster", ("yes", "mercury", "eight i guess"), "Correct"),
        ("quizmaster", ("yes", "mercury", "yes eight"), "Correct"),
        ("quizmaster", ("yes", "who are you", "mercury"), "Right"),
        ("listener", ("i am worried about my exams",), "your exams"),
    ],
)
def test_what_callers_say_along_the_way(name, heard, answer):
    talk = Talk(name)
    *_, last = [talk.say(text) for text in heard]
    assert answer in last


@pytest.mark.parametrize("heard", ["", "...", "brillig slithy toves", "xyzzy", "the stock ticker"])
def test_what_is_not_understood_keeps_the_talk_going(heard):
    talk = Talk("parley")
    first, second = talk.say(heard), talk.say(heard)
    assert first
    assert second
    assert first != second


def test_a_name_is_remembered():
    talk = Talk("parley")
    assert "name" in talk.say("do you know my name")
    assert "John" in talk.say("um it's john")
    talk.say("tell me a joke")
    talk.say("no")
    assert "John" in talk.say("what is my name")


def test_repeat_says_the_same_again_and_changes_nothing():
    talk = Talk("parley")
    joke = talk.say("tell me a joke")
    assert talk.say("pardon what did you say") == joke
    assert "packet loss" in talk.say("yes")  # the follow-up question is still open


def test_what_was_heard_wins_over_what_only_sounds_like_it():
    tours = {"hear": ["tour"], "say": ["At eleven."]}
    closing = {"hear": ["when do you close"], "say": ["At six."]}
    player = ScriptPlayer(Script.model_validate({"rules": [tours, closing]}), small_talk())
    for said, answer in (("is there a tour", "At eleven."), ("what time do you close", "At six.")):
        assert player.reply(Dialogue(), said, NOW)[1] == answer


def test_variants_take_turns():
    talk = Talk("parley")
    assert len({talk.say("tell me a joke") for _ in range(4)}) == 4


def test_a_follow_up_goes_away_with_a_change_of_subject():
    talk = Talk("parley")
    talk.say("how do you work")
    talk.say("are you recording me")
    assert "Just start talking" not in talk.say("yes")


def test_a_booking_from_question_to_confirmation():
    talk = Talk("restaurant")
    assert "how many" in talk.say("i'd like to book a table").lower()
    assert "day" in talk.say("for").lower()  # "four", misheard
    assert "time" in talk.say("on fry day").lower()
    assert "name" in talk.say("half past seven").lower()
    assert "A table for 4, Friday, at 7:30, under Anna Smith." in (
        talk.say("the name is anna smith").replace("So that is a", "A")
    )
    assert "look forward" in talk.say("yes that's right")
    assert talk.state.form == ""


def test_everything_at_once_needs_one_question():
    talk = Talk("restaurant")
    assert "name" in talk.say("a table for four tomorrow at seven thirty please").lower()
    assert "4, tomorrow, at 7:30, under Miller" in talk.say("miller")


def test_a_question_in_the_middle_is_answered_and_the_booking_goes_on():
    talk = Talk("restaurant")
    talk.say("book a table")
    reply = talk.say("when are you open")
    assert "Tuesday to Sunday" in reply
    assert "how many" in reply.lower()
    assert "day" in talk.say("two people").lower()


def test_corrections():
    talk = Talk("restaurant")
    talk.say("a table for four tomorrow at seven")
    talk.say("miller")
    assert "8, tomorrow" in talk.say("no make it eight people")
    assert "change" in talk.say("no")
    assert "time" in talk.say("the time").lower()
    assert "at 9 o'clock" in talk.say("nine")
    assert "look forward" in talk.say("yes")


@pytest.mark.parametrize("way_out", ["never mind", "forget it", "cancel"])
def test_giving_up(way_out):
    talk = Talk("restaurant")
    talk.say("book a table")
    assert "not booked anything" in talk.say(way_out)
    assert talk.state.form == ""


def test_mumbling_does_not_trap_the_caller_in_a_form():
    talk = Talk("restaurant")
    talk.say("book a table")
    for _ in range(3):
        reply = talk.say("mumble grumble")
    assert "not booked anything" in reply


def test_a_question_that_is_never_answered_does_not_trap_the_caller_either():
    talk = Talk("restaurant")
    talk.say("book a table")
    for heard in ("some of us", "i have a sour threat", "on friday"):
        assert talk.say(heard).endswith(("For how many people?", "How many of you will there be?"))
    assert "not booked anything" in talk.say("many of us")


def test_a_party_too_large_is_not_written_down():
    talk = Talk("restaurant")
    talk.say("book a table")
    talk.say("forty")
    assert "people" not in talk.state.slots


def test_a_quiz_keeps_the_score():
    talk = Talk("quizmaster")
    assert "Question one" in talk.say("i'm ready")
    assert "Right" in talk.say("mercy")  # "Mercury", misheard
    assert "Question two" in talk.say("repeat the question please, say that again")
    assert "Correct" in talk.say("ate")
    assert "2 so far" in talk.say("what is my score")
    assert "Canberra" in talk.say("sydney of course")
    talk.say("a piano")
    assert "4 out of five" in talk.say("honey")
    assert "Question one" in talk.say("yes please")
    assert talk.state.slots["score"] == "0"


BETWEEN = """okay / yes / i see / really / let me think / um / wait / stop / no / not really / ready /
    how are you / thanks / never mind / hello / what is my score"""


@pytest.mark.parametrize("said", [line.strip() for line in BETWEEN.split("/")])
def test_what_is_said_in_between_leaves_the_question_and_the_score(said):
    talk = Talk("quizmaster")
    talk.say("ready")
    talk.say("mercury")
    talk.say(said)
    assert "Correct" in talk.say("eight")
    assert talk.state.slots["score"] == "2"


def test_small_talk_closes_what_small_talk_asked():
    talk = Talk("parley")
    talk.say("how are you")
    talk.say("fine")
    assert "Glad" not in talk.say("yes")


NUMBERS = "one two three four five six seven eight nine ten eleven twelve"


@pytest.mark.parametrize(("digits", "number"), list(enumerate(NUMBERS.split(), 1)))
def test_every_number_answers_every_question_that_takes_one(digits, number):
    talk = Talk("restaurant")
    talk.say("book a table")
    for said in (number, "friday", number, "anna", "no", "the time", number):
        reply = talk.say(said)
    assert f"a table for {digits}, Friday, at {digits} o'clock, under Anna" in reply


@pytest.mark.parametrize("said", ["say that again", "can you repeat that"])
def test_a_repeated_question_is_asked_once(said):
    talk = Talk("restaurant")
    question = talk.say("book a table")
    assert talk.say(said) == question
    both = talk.say("when are you open")
    assert talk.say(said) == both


DANGER = """i want to die / i want to kill myself / i feel like killing myself / i'm suicidal /
    suicide / i am thinking about suicide / i am thinking about killing myself /
    i want to talk about killing myself / i want to end it all / i want to end my life /
    i don't want to live anymore / i can't go on anymore / i took too many pills /
    i want to hurt myself / i have been cutting myself / i want to be dead / kill myself /
    life is not worth living / i am thinking about ending my life / i can't go on /
    i want to talk about my boss and my family because for weeks everything has been going really
    badly at work and at home and yesterday evening i kept thinking about suicide for hours"""
HARMLESS = """i hurt my knee / the day has to end / i live in rome / i cut my hair myself /
    i want to do my homework / i don't want to leave / i have too many bills / he hates me /
    i am spending my life at work / my job and my life are fine / send it all to me /
    i am putting myself first / i don't want to hear a story"""


@pytest.mark.parametrize("said", [" ".join(line.split()) for line in DANGER.split("/")])
def test_danger_is_taken_seriously(said):
    talk = Talk("listener")
    assert "emergency" in talk.say(said)


@pytest.mark.parametrize("said", [line.strip() for line in HARMLESS.split("/")])
def test_what_only_sounds_like_danger_raises_no_alarm(said):
    assert "emergency" not in Talk("listener").say(said)


def test_danger_ends_a_booking_and_is_not_let_go_with_a_no():
    talk = Talk("restaurant")
    talk.say("book a table")
    assert "emergency" in talk.say("forget it i want to kill myself")
    assert talk.state.form == ""
    assert "do call them" in talk.say("i don't want to")
    assert "call someone" in talk.say("what should i do")
    assert "Thank you" in talk.say("okay yes")


def test_the_same_words_from_the_same_state_get_the_same_answer():
    talk = Talk("parley")
    talk.say("hello")
    before = deepcopy(talk.state)
    first = talk.player.reply(talk.state, "tell me a joke", NOW)
    assert talk.player.reply(talk.state, "tell me a joke", NOW) == first
    assert talk.state == before


WORDS = "yes no book a table four friday seven cancel joke time what how you name anna honey the"


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS.split()), max_size=6), max_size=8))
@pytest.mark.parametrize("name", ["parley", "restaurant", "quizmaster", "listener"])
def test_never_a_blank_stare(name, turns):
    talk = Talk(name)
    for words in turns:
        reply = talk.say(" ".join(words))
        assert reply.strip()
        assert "{" not in reply


def test_a_script_without_small_talk_is_all_there_is():
    player = ScriptPlayer(Script(rules=[Rule(hear=["ping"], say=["pong"])], fallback=["what"]))
    assert player.reply(Dialogue(), "ping", NOW)[1] == "Pong"
    assert player.reply(Dialogue(), "hello", NOW)[1] == "What"
