"""How finished a caller's sentence is, judged by its words alone (English)."""

from __future__ import annotations

import re

from agent.idioms import whole


def word_set(words: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(words.split())


_FILLERS = word_set("""um uh er erm hmm hm eh ah like so well umm uhh mm let's""")
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


def finished(text: str, agent_text: str = "") -> tuple[float, str]:
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
    last = words[-1]
    flat = " ".join(words)
    ending = text.rstrip()[-1]
    if text.rstrip().endswith(("...", "…", "-", "–", "—")):
        return 0.05, "trails off"
    question = _last_question(flat)
    idiom = whole(" ".join(question) or flat)
    if idiom is not None:
        return idiom, f"whole in spite of “{last}”"
    if last in _FILLERS:
        return 0.03, f"ends in “{last}”"
    if _OPENERS.search(flat):
        return 0.05, "has only opened the sentence"
    if says_goodbye(text):
        return 0.95, "says goodbye"
    if ending == "?":
        return 0.95, "a finished question"
    dictated = _dictated_digits(words)
    if dictated and (
        dictated >= 3 or _DICTATES.search(flat) or _DICTATES.search(agent_text[-120:].lower())
    ):
        return _dictation(dictated)
    if _TELLS_THAT.search(flat):
        return 0.05, "is about to tell what"
    if _HEDGES.search(flat):
        return 0.15, "hesitates"
    if _CLAUSE_FIRST.match(flat) and len(words) <= _SHORT_CLAUSE:
        return 0.15, "only the first clause"
    asks = len(question) >= 3
    if question and question[0] in _WH and last in _STRANDED:
        return 0.5, f"a question ending in “{last}”"
    if len(question) >= 4 and last in _LAST_VERBS:
        return 0.82, "a question"
    if last in _WANTS_OBJECT:
        return 0.2, f"“{last}” what?"
    if last in _OPEN_END:
        return 0.05, f"something must follow “{last}”"
    if ending == ",":
        return 0.12, "a list or clause goes on"
    if ending in ".!":
        return 0.88, "a finished sentence"
    if len(words) <= 2 and words[0] in _WHOLE_ANSWERS:
        return (0.9, "answers the question") if agent_text.rstrip().endswith("?") else (
            0.7, "a short answer")  # fmt: skip
    if last in _OBJECTS:
        if asks or len(words) >= 4:
            return (0.82, "a question") if asks else (0.68, "could be a whole sentence")
        return 0.55, f"“{last}” may go on"
    if last in _MAY_BE_OPEN:
        return 0.6 if asks or len(words) >= 6 else 0.45, f"“{last}” may go on"
    if asks:
        return 0.86, "a question"
    if len(words) == 1:
        return 0.6, "a single word"
    return 0.74, "could be a whole sentence"


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


def _dictation(digits: int) -> tuple[float, str]:
    """A number being read out comes in groups: the pause between groups is not the end."""
    if digits < 7:
        return 0.1, f"reading out a number, {digits} digits so far"
    if digits in (8, 9):
        return 0.35, f"reading out a number, {digits} digits so far"
    return 0.7, f"a number of {digits} digits"
