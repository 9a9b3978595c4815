"""Understanding short answers: a number, a time, a day, a name, yes or no. Pure; English."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby, pairwise

from agent.matching import alike, word_set, words_of
from agent.scriptbook import Slot

_COUNT = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen"""
_HEARD_AS = {"oh": 0, "to": 2, "too": 2, "for": 4, "ate": 8, "won": 1}
_UNITS = {word: n for n, word in enumerate(_COUNT.split())} | {"couple": 2, "dozen": 12} | _HEARD_AS
_DECADES = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * n for n, word in enumerate(_DECADES.split(), 2)}
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday"
_DAYS = ("the day after tomorrow", *_WEEKDAYS.split(), "today", "tonight", "tomorrow", "weekend")
_YES = word_set(
    """yes yeah yep yup sure correct right exactly absolutely definitely okay ok fine perfect indeed
    please affirmative great"""
)
_NO = word_set("no nope nah not never wrong incorrect cancel negative")
_COURTEOUS = word_set("thank thanks really")
_YES_PHRASE = re.compile(
    r"^(?:why not|go on|go ahead|keep going|of course|please do|sounds good|another(?: one)?|one more|i would"
    r"|i do|let us(?: hear it| go| do it)?|do it|tell me(?: more)?)(?: please| then| thanks)?$"
)
_NO_PHRASE = re.compile(r"^(?:that is enough|enough|maybe later)\b")
_NAME_LEADS = (
    "my name is", "the name is", "name is", "call me", "under the name of", "under the name", "under",
    "this is", "it is", "for", "i am called", "i am",
)  # fmt: skip
_FEWEST_LETTERS = 3  # two may be initials
_SAME_NAME = 0.6
_CLEAR_LEADS = 7  # the first so many introduce a name even unasked
_TIME_PHRASE = re.compile(
    r"\b(at|around|by|past|to) (half |quarter )?\S+( (past|to) \w+| (\w+teen|thirty|forty|ten|oclock|"
    r"am|pm|a m|p m|\d\d))*\b"
)
_SPOKEN_NUMBER = rf"(?:\d+|{'|'.join([*_COUNT.split(), *_TENS])})"
_CLOCK = re.compile(rf"\b(?:{_SPOKEN_NUMBER} )+(?:oclock|am|pm|a m|p m|in the \w+)\b")
_MINUTES_FIRST = re.compile(
    rf"\b(?:(?:at|around|by) )?((?:{_SPOKEN_NUMBER} )+)(?:minutes? )?(past|to) ({_SPOKEN_NUMBER})\b"
)
_HOUR_FIRST = re.compile(rf"\b{_SPOKEN_NUMBER}(?: (?:oh|hundred|{_SPOKEN_NUMBER}))*\b")
_NOON = {"noon": "noon", "midday": "noon", "midnight": "midnight"}
_DAY_PARTS = ("morning", "afternoon", "evening", "night")
_CLOCK_MARK = re.compile(rf"\b(at|around|by|half|quarter)\b(?=.*\b{_SPOKEN_NUMBER}\b)")
_AM = re.compile(rf"\b{_SPOKEN_NUMBER} (am|a m)\b")
_PM = re.compile(rf"\b{_SPOKEN_NUMBER} (pm|p m)\b")
_FILLERS = word_set(
    "um uh er ah oh well so hi hello yes yeah please thanks thank you mister mr mrs ms miss the for"
)
_TWICE = re.compile(r"\bdouble (\w+)")
_THRICE = re.compile(r"\b(?:triple|treble) (\w+)")
_ALONE = re.compile(r"\b(?:just|only) (?:me|myself)\b")
_REFLECTED = {
    "i": "you", "me": "you", "my": "your", "mine": "yours", "myself": "yourself", "am": "are",
    "we": "you", "us": "you", "our": "your", "ours": "yours",
}  # fmt: skip
_NOT_NAMES = word_set(
    "not no fine good sorry calling looking here just happy tired great nothing nobody what who why"
    " on at in back later again today tomorrow when if a an crazy i we you"
)


def parse(slot: Slot, text: str, *, asked: bool) -> str | None:
    """Find the slot's value in what was said.

    Args:
        slot: What to look for.
        text: The caller's words.
        asked: Whether the caller was asked for just this; otherwise only unmistakable values count.

    Returns:
        The value in words fit to be said back, or None.
    """
    words = words_of(text)
    match slot.kind:
        case "yes_no":
            return {True: "yes", False: "no", None: None}[yes_or_no(text)]
        case "number":
            plain = _ALONE.sub("one", " ".join(words))
            if not asked:
                plain = _TIME_PHRASE.sub(" ", _CLOCK.sub(" ", _hour_first(plain)))
            found = numbers(plain.split())
            if asked and not found:  # "for ten" is ten, "for" may be four
                found = numbers(plain.split(), homophones=True)
            fits = [n for n in found if slot.least <= n <= slot.most]
            return str(fits[0]) if fits else None
        case "time":
            return time_of_day(words, asked=asked)
        case "day":
            day = closest(_DAYS, words, enough=0.7 if asked else 0.8)
            return day.capitalize() if day in _WEEKDAYS.split() else day
        case "digits":
            told = _THRICE.sub(r"\1 \1 \1", _TWICE.sub(r"\1 \1", " ".join(words)))
            digits = "".join(map(str, numbers(told.split(), homophones=asked, digits=True)))
            return " ".join(digits) if len(digits) >= (1 if asked else 5) else None
        case "one_of":
            return closest(slot.options, words)
        case "name":
            return name_in(words, asked=asked)
    if not (asked and words):
        return None
    return re.sub(
        r"[\w']+", lambda word: _REFLECTED.get(word[0].lower(), word[0]), text.strip(" .!?,")
    )


def yes_or_no(text: str) -> bool | None:
    """True for yes, False for no, None when it is neither (or both)."""
    words = words_of(text)
    phrase = " ".join(words)
    if words[-1:] in (("bye",), ("goodbye",)):
        return None  # "okay, bye"
    if _YES_PHRASE.match(phrase):
        return True
    if _NO_PHRASE.match(phrase):
        return False
    no = any(word in _NO for word in words)
    yes = any(word in _YES for word in words) and "not right" not in phrase
    if words[:1] in (("no",), ("nope",), ("nah",)):
        return False  # "no, that is fine"
    if words[:1] in (("yes",), ("yeah",), ("yep",)):
        return True
    return None if yes == no else yes


def yes_or_no_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `words` that say yes or no; all of them where only the whole phrase does."""
    return tuple(word for word in words if word in _YES | _NO | _COURTEOUS) or words


def numbers(words: Iterable[str], *, homophones: bool = False, digits: bool = False) -> list[int]:
    """Whole numbers below a million in what was said, from digits and words alike.

    Args:
        words: Lower-case words.
        homophones: Take "for" as 4 and "to" as 2, as a recogniser may write them.
        digits: Read every word by itself ("five five five" is three numbers), for phone numbers.
    """
    found: list[int] = []
    open_tens = False
    for word in words:
        value = _UNITS.get(word) if homophones or word not in _HEARD_AS else None
        if word.isdecimal() and len(word) < 16:
            found += [int(digit) for digit in word] if digits else [int(word)]
        elif value is not None:
            if open_tens and 0 < value < 10 and not digits:
                found[-1] += value
            else:
                found.append(value)
        elif word in _TENS:
            found.append(_TENS[word])
            open_tens = True
            continue
        elif word == "hundred":
            found[-1:] = [found[-1] * 100] if found else [100]
        elif word == "thousand":
            found[-1:] = [found[-1] * 1000] if found else [1000]
        open_tens = False
    return found


def time_of_day(words: tuple[str, ...], *, asked: bool) -> str | None:
    """A time such as "half past seven" or "19:30", as words like "7:30 in the evening"."""
    for name in words:
        if name in _NOON:
            return _NOON[name]
    text = _hour_first(re.sub(r"(\d)([ap]m)\b", r"\1 \2", " ".join(words)))
    part = next((name for name in _DAY_PARTS if name in words), "")
    part = part or "morning" * bool(_AM.search(text)) or "evening" * bool(_PM.search(text))
    mark = _CLOCK_MARK.search(text) or _CLOCK.search(text)
    spoken = _HOUR_FIRST.search(text, mark.start() if mark else 0)
    if not spoken or not (asked or mark):
        return None
    clock = numbers(spoken[0].split())
    hour, minute = clock[0], 0
    if "half" in words:
        minute = 30
    elif "quarter" in words:
        minute = 15 if "past" in words else 45
        hour -= "to" in words
    elif hour >= 100:
        hour, minute = divmod(hour, 100)
    elif len(clock) > 1 and clock[1] < 60:
        minute = clock[1]
    if not (0 <= hour < 24 and 0 <= minute < 60):
        return None
    if hour > 12:
        hour, part = hour - 12, part or ("evening" if hour >= 18 else "afternoon")
    said = f"{hour or 12}:{minute:02d}" if minute else f"{hour or 12} o'clock"
    if part == "night":
        return f"{said} at night"
    return f"{said} in the {part}" if part else said


def _hour_first(text: str) -> str:
    """Say "twenty past seven" as "at 7 20"."""

    def clock(said: re.Match[str]) -> str:
        minute, hour = numbers(said[1].split())[-1], numbers([said[3]])[0]
        if said[2] == "to":
            hour, minute = (hour - 1) % 24, 60 - minute
        return f"at {hour} {minute:02d}" if 0 <= minute < 60 else said[0]

    return _MINUTES_FIRST.sub(clock, text)


def closest(options: Iterable[str], words: tuple[str, ...], *, enough: float = 0.7) -> str | None:
    """The option that was said, even if mis-heard, or None when none is as close as `enough`."""
    joined = [a + b for a, b in pairwise(words) if a != "the"]  # "fry day", not "the day"
    scores = {}
    for option in options:
        parts = words_of(option)
        best = [
            max((alike(part, word) for word in (*words, *joined)), default=0.0) for part in parts
        ]
        scores[option] = sum(best) / max(len(best), 1)
    said = " ".join(words)  # of two, the later one: "not friday, saturday"
    winner = max(scores, key=lambda o: (scores[o], said.rfind(o) + len(o)), default=None)
    return winner if winner is not None and scores[winner] >= enough else None


def _spelled(words: list[str]) -> list[str]:
    """The same with letters joined; who spells a name after saying it says it once."""
    joined: list[str] = []
    for spelt, run in groupby(words, key=lambda word: len(word) == 1):
        letters = list(run)
        if not spelt or len(letters) < _FEWEST_LETTERS:
            joined += letters
            continue
        name = "".join(letters)
        if joined and alike(joined[-1], name) >= _SAME_NAME:
            joined.pop()
        joined.append(name)
    return joined


def name_in(words: tuple[str, ...], *, asked: bool) -> str | None:
    """The name a caller gives: what follows "my name is", or a short answer when asked."""
    text = f" {' '.join(words)} "
    leads = _NAME_LEADS if asked else _NAME_LEADS[:_CLEAR_LEADS]
    lead = next((lead for lead in leads if f" {lead} " in text), None)
    if lead is None and not asked:
        return None
    rest = (text.rpartition(f" {lead} ")[2] if lead else text).split()
    rest = _spelled([word for word in rest if word not in _FILLERS])[:3]
    for stop in ("and", "but", "because", "from"):
        rest = rest[: rest.index(stop)] if stop in rest else rest
    if not rest or rest[0] in _NOT_NAMES or numbers(rest):
        return None
    return " ".join(word.capitalize() for word in rest)
