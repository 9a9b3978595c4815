"""Words that are said differently beside others: phone numbers, codes, years, units, streets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tts.spoken_numbers import (
    MONTHS,
    PROPER_FRACTION,
    attributive,
    digits,
    fraction_after_whole,
    leading_money,
    number_in_words,
    ordinal,
    price,
    year,
)
from tts.spoken_units import UNITS, per_name, plural_of

_YEAR = re.compile(r"1[1-9]\d\d|20\d\d")
_BEFORE_YEARS = """in since until till of year from by before after during around to and early late mid
spring summer autumn fall winter q1 q2 q3 q4 © c ca circa"""
_YEAR_LEADS = frozenset(_BEFORE_YEARS.split())
_MONTH_NAMES = frozenset(MONTHS) | {month[:3] for month in MONTHS} | {"Sept"}
_SHORT_MONTHS = {month[:3]: month for month in MONTHS} | {"Sept": "September"}
_SIZES = frozenset({"thousand", "million", "billion", "trillion", "hundred"})
_COUNT = re.compile(r"[-−+~≈±<>≤≥]?[-–\d.,/xX×]*[\d¼-¾⅐-⅞]")
_WHOLE = re.compile(r"\d{1,3}")
_COMPASS = {"N": "North", "E": "East", "S": "South", "W": "West"}
_BEFORE_SAINTS = frozenset({"Mount", "Port", "Lake", "Fort", "Cape"})
_WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_DAYS = {day[:3]: day for day in _WEEKDAYS.split()}
_DAY = "|".join([*_WEEKDAYS.split(), "Mon|Tues|Tue|Wed|Thurs|Thur|Thu|Fri|Sat|Sun"])
_ROMANS = "II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX XXI"
_ROMAN = {numeral: f"{n}" for n, numeral in enumerate(_ROMANS.split(), 2) if len(numeral) > 1}
_ENUMERATED = """Act Appendix Article Book Chapter Class Figure Grade Level Part Phase Section Stage
Step Table Title Type Volume War"""
_NUMBERED = frozenset(_ENUMERATED.split())
_KINGS = """Henry Louis Elizabeth Charles George Edward James William Richard Philip Francis Paul
Pius Benedict Catherine Frederick Peter Nicholas Napoleon Alexander Mary Carlos"""
_RULERS = frozenset(_KINGS.split())
_CURRENCY_CODES = frozenset({"EUR", "USD", "GBP", "CHF"})
_CURRENCY_NAMES = _CURRENCY_CODES | {"€", "Euro", "Euros", "euro", "euros"}
_BEFORE_HOURS = frozenset({"at", "from", "until", "till"})
_AFTER_HOURS_WORDS = "this today tonight tomorrow on in to until till and or each"
_AFTER_HOURS = frozenset({"", *_AFTER_HOURS_WORDS.split()})
_BEFORE_ONE = frozenset({"a", "an", "one", "each", "every", "another"})
_DESIGNATOR = re.compile(r"[A-Z]{1,3}|[A-Z]\d|\d[A-Z]")
_HALVES_OF_DAY = frozenset({"am", "pm", "a.m", "p.m"})

_PHONE_GROUP = re.compile(r"\+?\d{1,8}(?:-\d{2,4})*")
_MAX_PHONE_GROUPS = 15
"""Numbers have at most fifteen digits; longer runs are not followed to their end."""
_CODE = re.compile(r"(?!\d{4}-\d\d-\d\d$)\d+(?:-\d+)*")
_BEFORE_CODES = """code codes passcode pin otp zip id ext extension dial call reference ref account
confirmation"""
_CODE_LEADS = frozenset(_BEFORE_CODES.split())
_BEFORE_LIKELY_CODES = "order number no ticket invoice booking case room flight zip postcode"
_LIKELY_CODE_LEADS = frozenset(_BEFORE_LIKELY_CODES.split())
"""Quantities follow these too: "order 200 bricks"."""
_PLURAL = re.compile(r"[a-z]+[a-rt-z]s")
_NO_PLURALS = "always as has is its perhaps plus this thus us was yes"
_NO_PLURAL = frozenset(_NO_PLURALS.split())
_PEOPLE = frozenset({"people", "men", "women", "children", "more", "of"})
_DOTTED_LEADS = frozenset({"ext", "ref", "no"})
_CODE_IS_AT_MOST = 4
"""How many words before a code may lead to it: "code is 482 913"."""


class Word(NamedTuple):
    """A word without markdown, and the brackets, quotes and punctuation around it."""

    before: str
    core: str
    after: str


@dataclass(frozen=True, slots=True)
class Place:
    """A word among the words of its text."""

    words: Sequence[Word]
    at: int

    @property
    def core(self) -> str:
        """The word itself."""
        return self.words[self.at].core

    @property
    def last(self) -> str:
        """The word before, without its edges; empty at the start."""
        return self.words[self.at - 1].core if self.at else ""

    @property
    def following(self) -> str:
        """The word after, without its edges; empty at the end."""
        return self.words[self.at + 1].core if self.at + 1 < len(self.words) else ""

    def runs_on(self, at: int) -> bool:
        """Whether no punctuation but brackets stands between word `at` and the one after it."""
        if not 0 <= at < len(self.words) - 1:
            return False
        return self.words[at].after in ("", ")") and self.words[at + 1].before in ("", "(")


def in_context(place: Place) -> str | None:
    """The word as it is said beside others, or None when they change nothing."""
    core, last, following = place.core, place.last, place.following
    if counted := _counted(place):
        return counted
    if last.lower() in _BEFORE_ONE and (amount := attributive(core)):
        return amount
    if following in _CURRENCY_NAMES and place.runs_on(place.at) and (amount := price(core)):
        return amount
    if hour := _hour_or_price(place):
        return hour
    if core in _CURRENCY_CODES and place.runs_on(place.at) and price(following):
        return ""  # EUR 7.50: said after the amount
    if last in _CURRENCY_CODES and place.runs_on(place.at - 1) and (amount := price(core)):
        return f"{amount} {plural_of(core, last)}"
    if core in _SHORT_MONTHS and (re.match(r"\d", following) or re.match(r"\d", last)):
        return _SHORT_MONTHS[core]
    if core in _SIZES and (money := leading_money(last)):
        return f"{core} {money[1]}"
    if following in _SIZES and (money := leading_money(core)):
        return money[0]
    if following.lower() in _HALVES_OF_DAY and re.fullmatch(r"\d{1,2}\.[0-5]\d", core):
        return number_in_words(core.replace(".", ":"))
    if _WHOLE.fullmatch(last) and PROPER_FRACTION.fullmatch(core) and place.runs_on(place.at - 1):
        return fraction_after_whole(core)
    if days := _days(place):
        return days
    if core in _ROMAN and last in _NUMBERED:
        return number_in_words(_ROMAN[core])
    if core in _ROMAN and last in _RULERS:
        return f"the {ordinal(_ROMAN[core])}"
    if following.lower() in _HALVES_OF_DAY and re.fullmatch(r"\d{1,2}:00", core):
        return number_in_words(core[:-3])
    until = re.fullmatch(r"([ap])\.m\.[-–](.+)", core.lower())
    if until and (end := number_in_words(until[2])):
        return f"{until[1].upper()} M to {end}"
    if core in ("x", "X") and last.isdigit() and following.isdigit():
        return "by"
    if re.fullmatch(r"\d+h", last) and re.fullmatch(r"\d+m", core):
        return number_in_words(f"{core}in")
    if last in _MONTH_NAMES and (through := re.fullmatch(r"(\d\d?)[-–](\d\d?)", core)):
        return f"{ordinal(through[1])} to {ordinal(through[2])}"
    if _is_code(place):
        return digits(core)
    if not core.isascii() or not core.isdigit():
        return None
    if _in_phone_number(place):
        return digits(core)
    if _WHOLE.fullmatch(core) and PROPER_FRACTION.fullmatch(following) and place.runs_on(place.at):
        return f"{number_in_words(core)} and"
    return _in_date(place)


def between_numbers(place: Place) -> bool:
    """Whether a dash by itself stands for "to": 9 am – 5 pm, but not 9 - 5 = 4."""
    last = place.last.lower()
    counts = last[-1:].isdigit() or last in _HALVES_OF_DAY or place.last in _MONTH_NAMES
    after = place.words[place.at + 2].core if place.at + 2 < len(place.words) else ""
    return counts and bool(re.match(r"[$€£]?\d", place.following)) and after != "="


def street_or_saint(place: Place) -> str:
    """What "St." or "St" is short for."""
    named = place.following[:1].isupper() and not re.search(r"[,;:!?]", place.words[place.at].after)
    return "Saint" if named and not in_street_name(place) else "Street"


def in_street_name(place: Place) -> bool:
    """Whether a capitalised word stands before that owes its capital to no start of a sentence."""
    if place.at < 2 or not place.last[:1].isupper() or place.last in _BEFORE_SAINTS:
        return False
    if "," in place.words[place.at - 1].after:
        return False
    return not re.search(r"[.!?…:]", place.words[place.at - 2].after)


def _hour_or_price(place: Place) -> str | None:
    """At 7.30, at 22.50: whichever of the two it is, it is said alike."""
    counted = re.fullmatch(r"\d\d?\.[0-5][05]", place.core)
    if not counted or place.last.lower() not in _BEFORE_HOURS:
        return None
    ends = place.words[place.at].after or place.following in _AFTER_HOURS
    return price(place.core) if ends else None


def _days(place: Place) -> str | None:
    """Mon-Fri, Sat/Sun, Tue, Sat 9-5; "Sat" and "Sun" by themselves are words."""
    core = place.core
    near = {word.core for word in place.words[max(0, place.at - 2) : place.at + 3]} - {core}
    if core in ("Sat", "Sun") and (place.following[:1].isdigit() or near & _DAYS.keys()):
        return _DAYS[core]
    if re.fullmatch(rf"(?:{_DAY})(?:[-–/](?:{_DAY}))+|Mon|Tues?|Wed|Thu(?:rs?)?|Fri", core):
        said = re.sub(_DAY, lambda day: _DAYS[day[0][:3]], core)
        return said.replace("/", " ").replace("-", " to ").replace("–", " to ")
    return None


def _counted(place: Place) -> str | None:
    """A unit as its own word after a number, with or without what it is per; or a compass point."""
    if not _COUNT.fullmatch(place.last) or not place.runs_on(place.at - 1):
        return None
    core = place.core
    named = place.following.istitle() or re.fullmatch(r"\d+(?:st|nd|rd|th)", place.following)
    if len(core) == 1 and named and place.runs_on(place.at):
        if core in _COMPASS:
            return _COMPASS[core]  # 123 W Main St
        if core.isupper():
            return None
    if core in UNITS:
        before = place.words[place.at - 2].core.lower() if place.at > 1 else ""
        return UNITS[core][0] if before in _BEFORE_ONE else plural_of(place.last, core)
    unit, _, per = core.partition("/")
    name = per_name(per)
    return f"{plural_of(place.last, unit)} per {name}" if unit in UNITS and name else None


def _in_date(place: Place) -> str | None:
    core, last, following = place.core, place.last, place.following
    if len(core) <= 2 and 1 <= int(core) <= 31:
        if last in _MONTH_NAMES and place.words[place.at - 1].after in ("", "."):
            return ordinal(core)
        if following in _MONTH_NAMES:
            return f"the {ordinal(core)} of"
    if _YEAR.fullmatch(core):
        word = place.words[place.at]
        led = last.lower() in _YEAR_LEADS or last in _MONTH_NAMES
        led = led or (word.before == "(" and word.after[:1] == ")")
        if led or (core >= "1900" and not (following[:1].islower() and not word.after)):
            return year(core)
        beside = place.at >= 2 and place.words[place.at - 2].core in _MONTH_NAMES
        return year(core) if beside else None
    return None


def _in_phone_number(place: Place) -> bool:
    """Groups of digits in a row that are too many, or begin too oddly, to be anything else."""
    words = place.words
    first = last = place.at
    earliest, latest = place.at - _MAX_PHONE_GROUPS, place.at + _MAX_PHONE_GROUPS
    while (
        first > earliest
        and place.runs_on(first - 1)
        and _PHONE_GROUP.fullmatch(words[first - 1].core)
    ):
        first -= 1
    while last < latest and place.runs_on(last) and _PHONE_GROUP.fullmatch(words[last + 1].core):
        last += 1
    run = words[first : last + 1]
    count = sum(character.isdigit() for word in run for character in word.core)
    odd = run[0].before.endswith("(") or run[0].core[0] in "+0"
    return len(run) >= 2 and count >= 7 and (odd or len(run) >= 3)


def _is_code(place: Place) -> bool:
    """Three digits or more after a word that codes follow."""
    core = place.core
    if len(core) < 3 or not _CODE.fullmatch(core):
        return False
    if len(core) == 5 and core.isdigit() and re.fullmatch("[A-Z]{2}", place.last):
        return not _counts_things(place)  # Washington, DC 20500
    for at in range(place.at - 1, max(-1, place.at - 1 - _CODE_IS_AT_MOST), -1):
        word = place.words[at]
        lead = word.core.lower()
        if lead in ("call", "is") and at == place.at - 1 and _counts_things(place):
            return False
        if lead == "in" and at and place.words[at - 1].core.lower() in ("ending", "ends"):
            return True
        if re.search(r"[.!?…]", word.after) and lead not in _DOTTED_LEADS:
            return False
        if lead in _CODE_LEADS:
            return True
        if lead in _LIKELY_CODE_LEADS:
            return len(core) >= 4 and core.isdigit() and not core.endswith("00")
        named = at == place.at - 1 and _DESIGNATOR.fullmatch(word.core)  # flight BA 2490
        if lead not in ("is", "or") and not lead.isdigit() and not named:
            return False
    return False


def _counts_things(place: Place) -> bool:
    """Whether the plural after a number says that it is one: "call 300 people", no telephone."""
    following = place.following
    if place.core.startswith("0") or not place.runs_on(place.at):
        return False
    if following in _PEOPLE:
        return True
    return bool(_PLURAL.fullmatch(following)) and following not in _NO_PLURAL
