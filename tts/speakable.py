"""Text made speakable, word by word, so that the transcript keeps what was written.

"$7.50" is said "seven dollars and fifty cents" but stays one word of the text; markdown and emoji
are said as nothing. English is read out in full; in other languages only what no voice should ever
say (markup, addresses' technical parts, emoji) is changed, and numbers are left to the voice.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tts.spoken_marks import address, only_speakable, symbol, without_markdown
from tts.spoken_numbers import (
    MONTHS,
    UNITS,
    cardinal,
    digits,
    number_in_words,
    ordinal,
    plural_of,
    year,
)

_EDGES = re.compile(r"^([(\"'“‘¿¡«{]*)(.*?)([)\"'”’»}.,;:!?…]*)$", re.DOTALL)
_ABBREVIATIONS = {
    "dr.": "Doctor", "mr.": "Mister", "mrs.": "Missus", "ms.": "Miz", "prof.": "Professor",
    "st.": "Saint", "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus",
    "vs": "versus", "approx.": "approximately", "no.": "number", "nr.": "number", "tel.": "telephone",
    "dept.": "department", "jr.": "junior", "sr.": "senior", "a.m.": "a m", "p.m.": "p m", "am": "am",
    "pm": "p m", "w/": "with", "w/o": "without", "aka": "also known as", "ave.": "Avenue",
    "mon.": "Monday", "tue.": "Tuesday", "wed.": "Wednesday", "thu.": "Thursday", "fri.": "Friday",
    "jan.": "January", "feb.": "February", "aug.": "August", "sept.": "September", "sep.": "September",
    "oct.": "October", "nov.": "November", "dec.": "December",
}  # fmt: skip
_INITIALS = re.compile(r"([A-Za-z]\.){2,}[,;]?")
_ONLY_BEFORE_NUMBERS = frozenset({"no.", "nr."})
_YEAR = re.compile(r"1[1-9]\d\d|20\d\d")
_BEFORE_YEARS = """in since until till of year from by before after during around to and early late mid
spring summer autumn fall winter ©"""
_YEAR_LEADS = frozenset(_BEFORE_YEARS.split())
_MONTH_NAMES = frozenset(MONTHS) | {month[:3] for month in MONTHS} | {"Sept"}
_SIZES = frozenset({"thousand", "million", "billion", "trillion", "hundred"})
_LEADING_CURRENCY = {"$": "dollars", "€": "euros", "£": "pounds", "¥": "yen", "₹": "rupees"}


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word as written and as said.

    Attributes:
        original: The word as it stands in the text, punctuation included.
        spoken: What the voice gets for it: letters and marks of speech, perhaps several words,
            perhaps nothing.
    """

    original: str
    spoken: str


def speakable(
    text: str, lexicon: Mapping[str, str] | None = None, *, language: str = "en"
) -> list[Spoken]:
    """Make `text` speakable.

    Args:
        text: Anything a language model or a person may write.
        lexicon: How to say particular words, by the word as written (upper and lower case count
            only when both are listed).
        language: BCP 47 tag of the text.

    Returns:
        The words of `text.split()`, in order, each with what is said for it.
    """
    english = language.split("-")[0].lower() == "en"
    said = {**{k.lower(): v for k, v in (lexicon or {}).items()}, **(lexicon or {})}
    words = [(w, n == 0) for line in text.splitlines() for n, w in enumerate(line.split())]
    bare = [_bare(without_markdown(word, first_in_line=first)) for word, first in words]
    return [
        Spoken(word, _say(without_markdown(word, first_in_line=first), bare, at, said, english))
        for at, (word, first) in enumerate(words)
    ]


def _say(word: str, bare: Sequence[str], at: int, lexicon: Mapping[str, str], english: bool) -> str:
    before, core, after = _split(word)
    if listed := lexicon.get(core) or lexicon.get(core.lower()):
        return f"{before}{listed}{after}"
    if found := address(core):
        return f"{before}{found if not english else _english(found, bare, at)}{after}"
    if not english:
        return only_speakable(word, numbers=True)  # a voice reads its own language's numbers best
    dotted = f"{core}." if after.startswith(".") else core
    if abbreviation := _abbreviation(dotted, bare, at):
        return f"{before}{abbreviation}{after[1:] if dotted.endswith('.') else after}"
    if _INITIALS.fullmatch(core + after):
        return " ".join(character for character in core if character != ".")
    if named := symbol(word):
        return named if _between_words(bare, at) or word in ("&", "@", "%", "°") else ""
    spoken = _english(core, bare, at)
    return f"{_quiet(before)}{spoken}{_quiet(after)}" if spoken else ""


def _english(core: str, bare: Sequence[str], at: int) -> str:
    """A word without its edges, with no digit left."""
    if in_context := _in_context(core, bare, at):
        return in_context
    if (number := number_in_words(core)) is not None:
        return number
    # "H200", "mp3", "COVID-19", "and/or", "½": letters as they are, the digits between them read.
    core = core.replace("/", " ").replace("_", " ")
    core = unicodedata.normalize("NFKC", core).replace("⁄", "/")
    parts = re.findall(r"\d+/\d+|\d+(?:[.,]\d+)*|[^\d]+", core)
    return only_speakable(" ".join(number_in_words(p) or _left_over(p) for p in parts))


def _left_over(part: str) -> str:
    """No digit of any script may be left."""
    part = re.sub(r"\d+", lambda m: f" {digits(m[0])} ", part)
    numeric = (c for c in set(part) if c.isnumeric() and not c.isalpha())
    for character in numeric:
        value = unicodedata.numeric(character)
        part = part.replace(character, f" {cardinal(f'{value:g}') if value >= 0 else ''} ")
    return part


def _in_context(core: str, bare: Sequence[str], at: int) -> str | None:
    """Words that are said differently beside others, or None."""
    last = bare[at - 1] if at else ""
    following = bare[at + 1] if at + 1 < len(bare) else ""
    if core in UNITS and re.fullmatch(r"[\d.,]*\d", last):
        return plural_of(last, core)
    if core in _SIZES and last[:1] in _LEADING_CURRENCY:
        return f"{core} {_LEADING_CURRENCY[last[0]]}"
    if core[:1] in _LEADING_CURRENCY and following in _SIZES:
        return cardinal(core[1:]) if re.fullmatch(r"[\d,.]*\d", core[1:]) else None
    if not core.isascii() or not core.isdigit():
        return None
    if _in_phone_number(bare, at):
        return digits(core)
    if 1 <= int(core) <= 31 and len(core) <= 2:
        if last in _MONTH_NAMES:
            return ordinal(core)
        if following in _MONTH_NAMES:
            return f"the {ordinal(core)} of"
    if _YEAR.fullmatch(core):
        led = last.lower() in _YEAR_LEADS or last in _MONTH_NAMES
        if led or (core >= "1900" and not following[:1].islower()):
            return year(core)
        beside = at >= 2 and bare[at - 2] in _MONTH_NAMES
        return year(core) if beside else None
    return None


def _in_phone_number(bare: Sequence[str], at: int) -> bool:
    """Groups of digits in a row that are too many, or begin too oddly, to be anything else."""
    group = partial(re.fullmatch, r"\+?\(?\d{1,4}\)?(?:-\d{2,4})*")
    first, last = at, at
    while first and group(bare[first - 1]):
        first -= 1
    while last + 1 < len(bare) and group(bare[last + 1]):
        last += 1
    run = bare[first : last + 1]
    count = sum(character.isdigit() for word in run for character in word)
    return len(run) >= 2 and count >= 7 and (run[0][0] in "+0(" or len(run) >= 3)


def _abbreviation(dotted: str, bare: Sequence[str], at: int) -> str | None:
    following = bare[at + 1] if at + 1 < len(bare) else ""
    lower = dotted.lower()
    if lower in _ONLY_BEFORE_NUMBERS and not following[:1].isdigit():
        return None
    if lower in ("am", "pm") and not (at and bare[at - 1][-1:].isdigit()):
        return None
    if lower == "st." and not following[:1].isupper():
        return "Street"
    return "a m" if lower == "am" else _ABBREVIATIONS.get(lower)


def _between_words(bare: Sequence[str], at: int) -> bool:
    return 0 < at < len(bare) - 1 and bool(bare[at - 1]) and bool(bare[at + 1])


def _split(word: str) -> tuple[str, str, str]:
    before, core, after = _EDGES.match(word).groups()  # type: ignore[union-attr]
    if before.endswith("'") and re.fullmatch(r"\d0s", core):
        before, core = before[:-1], f"'{core}"  # the '90s
    if before.endswith("(") and re.match(r"\d{3}\)", core):
        before, core = before[:-1], f"({core}"  # (555) 0100
    return before, core, after


def _bare(word: str) -> str:
    return _split(word)[1]


def _quiet(edge: str) -> str:
    return "".join(character for character in edge if character not in "{}«»")
