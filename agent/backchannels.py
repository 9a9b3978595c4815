"""Words that do not take the floor ("mm-hm", "right"), and words that certainly do ("wait")."""

from __future__ import annotations

from enum import StrEnum

from agent.completeness import normalise, wants_more, word_set


def _phrases(lines: str) -> frozenset[str]:
    return frozenset(phrase.strip() for phrase in lines.split("|"))


# Sounds that never are a turn of their own.
_VOCAL = word_set(
    """m mm mmm mhm um-hum umhum mm-hm mm-hmm mmhm mmhmm mm-mm hm hmm h uh-huh uhhuh uhuh huh uh um ah oh
    aha ooh wow ha haha hehe heh"""
)
_HUMS = word_set("m mm mmm mhm hm hmm")
_LIKE_HUMS = word_set("and an am em in on")  # what recognisers make of the first half of "mm-hm"
_ACKNOWLEDGE = word_set(
    """yeah yes yep yup ya right okay ok sure cool nice great good interesting exactly true alright gotcha
    fine indeed totally absolutely perfect"""
)
_PHRASES = _phrases(
    """i see|got it|all right|of course|makes sense|that makes sense|i know|go on|uh huh|mm hm|mm hmm
    |really|oh really|is that right|i understand|that's right|that's true|that's good|that's great
    |that's fine|fair enough|very good|very nice|good to know"""
)
_TAKES_FLOOR = word_set(
    """wait stop no hold hang excuse sorry actually but pause listen hey what who where when why how enough
    quiet pardon nope cancel"""
)


class Meaning(StrEnum):
    """What the caller's words do to the floor."""

    NOTHING = "nothing"
    VOCAL = "vocal"  # "mm-hm": never a turn
    ACKNOWLEDGE = "acknowledge"  # "right": a turn only as the answer to a question
    BEGINNING = "beginning"  # "the", or "makes" of "makes sense": nothing by itself
    CONTENT = "content"
    TAKES_FLOOR = "takes floor"  # "wait": an interruption from its first word

    @property
    def backchannel(self) -> bool:
        """Whether the agent may go on speaking over it."""
        return self in (Meaning.VOCAL, Meaning.ACKNOWLEDGE)


def agrees(word: str) -> bool:
    """Whether a single word can be a backchannel."""
    return all(token in _VOCAL or token in _ACKNOWLEDGE for token in normalise(word))


def meaning(text: str) -> Meaning:
    """What `text`, said while the agent speaks, does to the floor."""
    words = normalise(text)
    if not words:
        return Meaning.NOTHING
    misheard = _LIKE_HUMS if words[-1] in _HUMS else ()
    if all(word in _VOCAL or word in misheard for word in words):
        return Meaning.VOCAL
    flat = " ".join(word for word in words if word not in _VOCAL)
    if flat in _PHRASES or all(word in _ACKNOWLEDGE for word in flat.split()):
        return Meaning.ACKNOWLEDGE
    first = next(word for word in flat.split() if word not in _ACKNOWLEDGE)
    if first in _TAKES_FLOOR:
        return Meaning.TAKES_FLOOR
    if flat == "i":
        return Meaning.NOTHING  # "I see" or "I want": the next word tells
    if all(wants_more(word) or word in _ACKNOWLEDGE for word in flat.split()):
        return Meaning.BEGINNING
    if any(phrase.startswith(flat + " ") for phrase in _PHRASES):
        return Meaning.BEGINNING
    return Meaning.CONTENT
