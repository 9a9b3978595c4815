from __future__ import annotations

import random

from agent.manners import Manners
from agent.persona import Persona

ANN = Persona(
    name="ann",
    greeting=["Hi.", "Hello."],
    goodbye=["Bye."],
    disclosure="This call is answered by a machine.",
    idle=["Still there?", "Hello?"],
    acknowledge=["Mm-hm.", "I see."],
)


def test_the_notice_comes_first_and_is_heard_out():
    notice, greeting = Manners(ANN, random.Random(1)).opening()
    assert (notice.text, notice.interruptible) == ("This call is answered by a machine.", False)
    assert greeting.interruptible
    assert greeting.text in ANN.greeting


def test_greetings_vary():
    assert {Manners(ANN, random.Random(n)).opening()[1].text for n in range(20)} == set(
        ANN.greeting
    )


def test_silence_is_asked_about_twice_and_then_ends_politely():
    manners = Manners(ANN)
    assert [manners.idle(n).text for n in (1, 2, 3)] == ["Still there?", "Hello?", "Bye."]
    assert [manners.idle(n).ends_call for n in (1, 2, 3)] == [False, False, True]


def test_acknowledgements_take_turns():
    manners = Manners(ANN)
    assert [manners.acknowledgement().text for _ in range(3)] == ["Mm-hm.", "I see.", "Mm-hm."]


def test_fillers_take_turns():
    manners = Manners(ANN.model_copy(update={"filler": ["One moment.", "Let me see."]}))
    said = [manners.filler().text for _ in range(3)]
    assert said == ["One moment.", "Let me see.", "One moment."]
