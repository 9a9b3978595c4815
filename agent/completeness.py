"""How finished a caller's sentence is, judged by its words alone (English)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from agent.idioms import whole

Verdict = tuple[float, str]
"""Belief 0..1 that a sentence is finished, and why, in words."""


def word_set(words: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(words.split())


_FILLERS = word_set("""um uh er erm hmm hm eh ah like so well umm uhh mm let's""")
_TRAILING = ("...", "…", "-", "–", "—")
# These announce a correction or a detail.
_HEDGES = re.compile(r"\b(?:actually|basically|probably|i mean|you know|sort of|kind of|rather)$")
# After these something must follow.
_OPEN_END = word_set(
    """a an the my your his her its our their of to and or but because with for at from
    about between than as if which who whose when while into onto by per until since although
    though i we he she they who's i'm i'd i'll i've we're we'd you're you'd it's he's she's they're
    there's that's is are am was were be been being will would could should can may might must do does
    did have has had going gonna wanna need want not very really just also plus no-one's number named
    called dot dash"""
)
# These may end a sentence ("log in", "turn it on") or want more ("I live in").
_MAY_BE_OPEN = word_set(
    """in on up out off over down back through around before after under near some any like said says tell
    think know mean guess"""
)
_OBJECTS = word_set("""you me it him them us this that these those""")
_QUESTION_START = word_set(
    """what what's who who's where where's when when's why how how's which whose is are am was were do does
    did can could will would should may have has isn't aren't don't doesn't didn't can't won't"""
)
_WHOLE_ANSWERS = word_set(
    """yes yeah yep yup no nope nah okay ok sure thanks correct right exactly absolutely perfect great fine
    none nothing maybe"""
)
_GOODBYES = re.compile(
    r"\b(?:good ?bye|bye(?: ?-?bye)?|see you(?: later| soon| then)?|have a (?:nice|good|great) \w+"
    r"|talk to you (?:later|soon)|that(?:'s| is| will be|'ll be) all(?: thanks| thank you)?)$"
)
_DIGITS = word_set("""zero oh one two three four five six seven eight nine double triple hundred""")
_DICTATES = re.compile(
    r"\b(?:number|code|zip|postcode|card|account|reference|phone|pin|id|email|address|spelled|spell)\b"
)
_OPENERS = re.compile(
    r"(?:i(?:'d| would) like|i(?:'m| am) looking for|can you|could you|do you|what about|how about"
    r"|the thing is|let me (?:see|think|check)|hold on|my name is|it is|this is|one second|one moment)$"
)
_TELLS_THAT = re.compile(
    r"\b(?:told(?: me)?|sa(?:id|ys?)|think|thought|know|hear|heard|is|so|sure) that$"
)
# "When I turn it on" wants a main clause; "when do you open" does not.
_CLAUSE_FIRST = re.compile(
    r"(?:when|whenever|if|because|since|while|after|before|although|once(?! an? )|unless|as soon as) "
    r"(?:i|i'm|i've|you|we|we're|he|she|it|it's|they|there|that|the|a|an|my|your|our|his|her|their) "
)
# Recognisers without punctuation run sentences together: "wait stop what can you do".
_ASKS_LATE = re.compile(
    r".*\b((?:what|what's|who|who's|where|where's|when|when's|why|how|how's|which)(?: \w+)?"
    r" (?:is|are|am|was|were|do|does|did|can|could|will|would|should|may|have|has)"
    r" (?:i|you|we|they|he|she|it|this|that|there|the|my|your|our|his|her|their)\b.*)"
)
_LEADS_IN = re.compile(
    r"^(?:(?:wait|stop|no|yes|yeah|ok|okay|hey|hi|hello|and|but|so|well|then|now|please|sorry|thanks|oh|um|uh"
    r"|thank you|hold on|all right|excuse me|hang on) )+"
)
_SHORT_CLAUSE = 6
_WANTS_OBJECT = word_set(
    """bought lost ordered booked found got get take give put make send bring buy find want need
    received returned rented"""
)
# … or in one of these: "what can you do", "how long will it be".
_LAST_VERBS = word_set("""do did have be been mean need want find get take""")
_WH = word_set("""what what's who who's where where's which""")
# A question may end in one of these: "where are you from", "what is it about".
_STRANDED = word_set("""from for about with like at""")


def normalise(text: str) -> list[str]:
    """The words of `text` in lower case, apostrophes kept, other punctuation gone."""
    return re.findall(r"[\w']+(?:-[\w']+)*", text.lower().replace("’", "'"))


def wants_more(word: str) -> bool:
    """Whether nobody would end a sentence, or say nothing else, than this word."""
    return word in _OPEN_END or word in _FILLERS


def says_goodbye(text: str) -> bool:
    """Whether the caller's sentence ends in a farewell."""
    return bool(_GOODBYES.search(" ".join(normalise(text))))


def finished(text: str, agent_text: str = "") -> Verdict:
    """Judge a caller's sentence.

    Args:
        text: What the caller said this turn.
        agent_text: What the agent said before, for judging short answers and expected numbers.

    Returns:
        Belief 0..1 that the sentence is finished, and why, in words.
    """
    words = normalise(text)
    if not words:
        return 0.0, "no words"
    flat = " ".join(words)
    sentence = _Sentence(text.rstrip(), words, flat, _last_question(flat), agent_text)
    return next(filter(None, (rule(sentence) for rule in _RULES)))


@dataclass(frozen=True, slots=True)
class _Sentence:
    """What the rules look at.

    Attributes:
        text: As it was said, punctuation included.
        words: Its words, normalised; at least one.
        flat: Those, joined by spaces.
        question: The words of the question that it is or ends in.
        agent_text: What the agent said before.
    """

    text: str
    words: list[str]
    flat: str
    question: list[str]
    agent_text: str

    @property
    def last(self) -> str:
        """Its last word."""
        return self.words[-1]

    @property
    def asks(self) -> bool:
        """It is or ends in a question long enough to be one."""
        return len(self.question) >= 3

    @property
    def answers_shortly(self) -> bool:
        """It is one of the words that can be a whole answer, perhaps with one more."""
        return len(self.words) <= 2 and self.words[0] in _WHOLE_ANSWERS


_Rule = Callable[[_Sentence], Verdict | None]


def _when(holds: Callable[[_Sentence], object], belief: float, reason: str) -> _Rule:
    """A rule that always believes the same; `{last}` in its reason is the last word."""

    def rule(sentence: _Sentence) -> Verdict | None:
        return (belief, reason.format(last=sentence.last)) if holds(sentence) else None

    return rule


def _idiom(sentence: _Sentence) -> Verdict | None:
    belief = whole(" ".join(sentence.question) or sentence.flat)
    return None if belief is None else (belief, f"whole in spite of “{sentence.last}”")


def _number(sentence: _Sentence) -> Verdict | None:
    """A number being read out comes in groups: the pause between groups is not the end."""
    digits = _dictated_digits(sentence.words)
    asked_for = _DICTATES.search(sentence.flat) or _DICTATES.search(
        sentence.agent_text[-120:].lower()
    )
    if not digits or (digits < 3 and not asked_for):
        return None
    if digits < 7:
        return 0.1, f"reading out a number, {digits} digits so far"
    if digits in (8, 9):
        return 0.35, f"reading out a number, {digits} digits so far"
    return 0.7, f"a number of {digits} digits"


# The first rule that has something to say decides.
_RULES: tuple[_Rule, ...] = (
    _when(lambda s: s.text.endswith(_TRAILING), 0.05, "trails off"),
    _idiom,
    _when(lambda s: s.last in _FILLERS, 0.03, "ends in “{last}”"),
    _when(lambda s: _OPENERS.search(s.flat), 0.05, "has only opened the sentence"),
    _when(lambda s: _GOODBYES.search(s.flat), 0.95, "says goodbye"),
    _when(lambda s: s.text.endswith("?"), 0.95, "a finished question"),
    _number,
    _when(lambda s: _TELLS_THAT.search(s.flat), 0.05, "is about to tell what"),
    _when(lambda s: _HEDGES.search(s.flat), 0.15, "hesitates"),
    _when(
        lambda s: _CLAUSE_FIRST.match(s.flat) and len(s.words) <= _SHORT_CLAUSE,
        *(0.15, "only the first clause"),
    ),
    _when(
        lambda s: s.question and s.question[0] in _WH and s.last in _STRANDED,
        *(0.5, "a question ending in “{last}”"),
    ),
    _when(lambda s: len(s.question) >= 4 and s.last in _LAST_VERBS, 0.82, "a question"),
    _when(lambda s: s.last in _WANTS_OBJECT, 0.2, "“{last}” what?"),
    _when(lambda s: s.last in _OPEN_END, 0.05, "something must follow “{last}”"),
    _when(lambda s: s.text.endswith(","), 0.12, "a list or clause goes on"),
    _when(lambda s: s.text.endswith((".", "!")), 0.88, "a finished sentence"),
    _when(
        lambda s: s.answers_shortly and s.agent_text.rstrip().endswith("?"),
        *(0.9, "answers the question"),
    ),
    _when(lambda s: s.answers_shortly, 0.7, "a short answer"),
    _when(lambda s: s.last in _OBJECTS and s.asks, 0.82, "a question"),
    _when(lambda s: s.last in _OBJECTS and len(s.words) >= 4, 0.68, "could be a whole sentence"),
    _when(lambda s: s.last in _OBJECTS, 0.55, "“{last}” may go on"),
    _when(
        lambda s: s.last in _MAY_BE_OPEN and (s.asks or len(s.words) >= 6),
        *(0.6, "“{last}” may go on"),
    ),
    _when(lambda s: s.last in _MAY_BE_OPEN, 0.45, "“{last}” may go on"),
    _when(lambda s: s.asks, 0.86, "a question"),
    _when(lambda s: len(s.words) == 1, 0.6, "a single word"),
    _when(lambda s: True, 0.74, "could be a whole sentence"),
)


def _last_question(flat: str) -> list[str]:
    """The words of the question that a sentence is or ends in; none if it asks nothing."""
    late = _ASKS_LATE.fullmatch(flat)
    words = (late[1] if late else _LEADS_IN.sub("", flat)).split()
    return words if words and words[0] in _QUESTION_START else []


def _dictated_digits(words: list[str]) -> int:
    """How many digits the sentence ends in, spoken or written."""
    count = 0
    for word in reversed(words):
        if word.isdigit():
            count += len(word)
        elif word in _DIGITS:
            count += 1
        else:
            break
    return count
