"""Text made speakable, word by word, so that the transcript keeps what was written.

"$7.50" is said "seven dollars and fifty cents" but stays one word of the text; markdown and emoji
are said as nothing. English is read out in full; in other languages only what no voice should ever
say (markup, addresses' technical parts, emoji) is changed, and numbers are left to the voice.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from tts.spoken_beside import (
    Place,
    Word,
    between_numbers,
    in_context,
    in_street_name,
    street_or_saint,
)
from tts.spoken_marks import address, only_speakable, symbol, without_markdown
from tts.spoken_numbers import cardinal, digits, number_in_words
from tts.spoken_units import UNITS

_EDGES = re.compile(r"^([(\"'“‘¿¡«{]*)(.*?)([)\"'”’»}.,;:!?…]*)$", re.DOTALL)
_ABBREVIATIONS = {
    "dr.": "Doctor", "mr.": "Mister", "mrs.": "Missus", "ms.": "Miz", "prof.": "Professor",
    "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus",
    "vs": "versus", "approx.": "approximately", "no.": "number", "nr.": "number",
    "ext.": "extension", "ext": "extension", "ref.": "reference", "tel.": "telephone",
    "dept.": "department", "jr.": "junior", "sr.": "senior", "a.m.": "A M", "p.m.": "P M", "am": "am",
    "pm": "P M", "w/": "with", "w/o": "without", "aka": "also known as", "ave.": "Avenue",
    "mon.": "Monday", "tue.": "Tuesday", "wed.": "Wednesday", "thu.": "Thursday", "fri.": "Friday",
    "jan.": "January", "feb.": "February", "aug.": "August", "sept.": "September", "sep.": "September",
    "oct.": "October", "nov.": "November", "dec.": "December",
    "tues.": "Tuesday", "thur.": "Thursday", "thurs.": "Thursday", "rd.": "Road",
    "blvd.": "Boulevard", "apt.": "Apartment", "mt.": "Mount", "ft.": "Fort", "lt.": "Lieutenant",
    "sgt.": "Sergeant", "gen.": "General", "rev.": "Reverend", "capt.": "Captain",
    "col.": "Colonel", "sen.": "Senator", "gov.": "Governor", "inc.": "Incorporated",
    "ltd.": "Limited", "co.": "Company", "corp.": "Corporation", "incl.": "including",
    "excl.": "excluding", "max.": "maximum", "min.": "minimum", "fig.": "figure",
    "vol.": "volume", "p.": "page", "pp.": "pages", "nos.": "numbers", "ph.d.": "P H D",
    "sat.": "Saturday", "sun.": "Sunday", "c.": "circa", "ca.": "circa", "ch.": "chapter",
    "op.": "opus", "appt": "appointment", "appt.": "appointment", "ppl": "people",
}  # fmt: skip
_INITIALS = re.compile(r"([A-Za-z]\.){2,}[,;]?")
_TITLES = "mt. ft. lt. sgt. gen. rev. capt. col. sen. gov."
_ONLY_BEFORE_NAMES = frozenset(_TITLES.split())
_BEFORE_NUMBERS = (
    "no. nr. ext. ext ref. max. min. fig. vol. p. pp. nos. apt. sat. sun. c. ca. ch. op."
)
_ONLY_BEFORE_NUMBERS = frozenset(_BEFORE_NUMBERS.split())
_KEYS = {"*": "star", "#": "hash"}
_ELISIONS = frozenset(["em", "til", "tis", "twas", "cause", "bout", "cuz"])
_LONGEST_QUOTE = 40
_DASHES = frozenset("-–—")
_PARTS = re.compile(
    r"\d+/\d+|(?:1[1-9]|20)\d0s\b|\d+(?:st|nd|rd|th)\b|[$€£]?\d+(?:[.,]\d+)*|[^\d]+"
)
_HEIGHT = re.compile(r"(\d)['’′](\d\d?)|(\d+(?:\.\d+)?)")


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
    written = [(w, n == 0) for line in text.splitlines() for n, w in enumerate(line.split())]
    words = [_split(without_markdown(word, first_in_line=first)) for word, first in written]
    return [
        Spoken(word, _without_single_quotes(_say(Place(words, at), said, english)))
        for at, (word, _) in enumerate(written)
    ]


def _say(place: Place, lexicon: Mapping[str, str], english: bool) -> str:
    before, core, after = place.words[place.at]
    word = f"{before}{core}{after}"
    if listed := lexicon.get(core) or lexicon.get(core.lower()):
        return f"{before}{listed}{after}"
    if found := address(core):
        return f"{before}{_english(found, place) if english else found}{after}"
    if not english:
        return only_speakable(word, numbers=True)  # a voice reads its own language's numbers best
    if feet := _height(place):
        return f"{before}{feet}{after[1:]}"
    if abbreviation := _abbreviation(f"{core}.", place) if after.startswith(".") else None:
        return f"{before}{abbreviation}{after[1:]}"
    if abbreviation := _abbreviation(core, place):
        return f"{before}{abbreviation}{after}"
    if _INITIALS.fullmatch(core + after):
        return " ".join(character for character in core if character != ".") + after.lstrip(".")
    if core in _KEYS:
        return f"{before}{_key(place)}{after}"
    if word in _DASHES and between_numbers(place):
        return "to"
    if named := symbol(word):
        return named if _between_words(place) or word in tuple("&@%°€$£") else ""
    spoken = _english(core, place)
    if after.startswith(".") and core in UNITS and place.following[:1].islower():
        after = after[1:]  # 10 min. by bus
    return f"{_quiet(before)}{spoken}{_quiet(after)}" if spoken else ""


def _english(core: str, place: Place) -> str:
    """A word without its edges, with no digit left."""
    if (beside := in_context(place)) is not None:
        return beside
    if (number := number_in_words(core)) is not None:
        return number
    # "H200", "mp3", "COVID-19", "and/or", "½": letters as they are, the digits between them read.
    core = core.replace("/", " ").replace("_", " ")
    core = core.replace("²", " squared ").replace("³", " cubed ")
    core = unicodedata.normalize("NFKC", core).replace("⁄", "/")
    parts = _PARTS.findall(core)
    coded = len(parts) > 1 and any(map(str.isupper, core))
    said = [
        digits(part)
        if coded and part.isdecimal() and len(part) >= 4  # AB-1234
        else number_in_words(part) or _left_over(part)
        for part in parts
    ]
    if len(parts) > 1:  # a hyphen without a neighbour would be a dash, or a minus: "5-star"
        said = [part.strip("-–") for part in said]
    return only_speakable(" ".join(said))


def _left_over(part: str) -> str:
    """No digit of any script may be left."""
    part = re.sub(r"\d+", lambda m: f" {digits(m[0])} ", part)
    numeric = (c for c in set(part) if c.isnumeric() and not c.isalpha())
    for character in numeric:
        value = unicodedata.numeric(character)
        part = part.replace(character, f" {cardinal(f'{value:g}') if value >= 0 else ''} ")
    return part


def _height(place: Place) -> str | None:
    """Feet and inches in 5'10", or inches in a 27" screen; quotes are quotes."""
    _, core, after = place.words[place.at]
    match = _HEIGHT.fullmatch(core)
    if not match or after[:1] not in tuple('"”″'):
        return None
    if match[1]:
        return f"{cardinal(match[1])} foot {cardinal(match[2])}"
    near = place.words[max(0, place.at - _LONGEST_QUOTE) : place.at + 1]
    opened = sum('"' in word.before for word in near)
    closed = sum('"' in word.after and not _HEIGHT.fullmatch(word.core) for word in near)
    return None if opened > closed or after[0] == "”" else f"{cardinal(match[3])} inch"


def _abbreviation(form: str, place: Place) -> str | None:
    lower = form.lower()
    if lower in _ONLY_BEFORE_NUMBERS and not place.following[:1].isdigit():
        return None
    named = place.following[:1].isupper() and not place.last[-1:].isdigit()
    if lower in _ONLY_BEFORE_NAMES and not named:
        return None
    if lower in ("am", "pm") and not place.last[-1:].isdigit():
        return None
    if lower == "dr." and in_street_name(place) and not place.following[:1].isupper():
        return "Drive"
    if lower == "st." or form == "St":
        return street_or_saint(place)
    return "A M" if lower == "am" else _ABBREVIATIONS.get(lower)


def _key(place: Place) -> str:
    """A star or hash by itself: a key of a phone, unless numbers stand beside it."""
    if place.core == "#" and place.following[:1].isdigit():
        return "number"
    if place.core == "*" and place.last[-1:].isdigit() and place.following[:1].isdigit():
        return "times"
    return _KEYS[place.core]


def _between_words(place: Place) -> bool:
    return bool(place.last) and bool(place.following)


def _split(word: str) -> Word:
    before, core, after = _EDGES.match(word).groups()  # type: ignore[union-attr]
    if before.endswith("'") and re.fullmatch(r"\d0s", core):
        before, core = before[:-1], f"'{core}"  # the '90s
    return Word(before, core, after)


def _without_single_quotes(spoken: str) -> str:
    """Voxtral TTS has been heard to say something for single quotes; apostrophes stay."""
    return " ".join(filter(None, map(_unquoted, spoken.split())))


def _unquoted(word: str) -> str:
    before, core, after = _EDGES.match(word).groups()  # type: ignore[union-attr]
    if (len(core) == 1 and core.isalpha()) or core.lower() in _ELISIONS:  # 'n', 'em
        return word
    bare = re.sub("['‘]", "", before)
    kept = int(bare == before and core[-1:] in ("s", "n"))  # dogs', runnin'
    return bare + core + after[:kept] + re.sub("['’]", "", after[kept:])


def _quiet(edge: str) -> str:
    return "".join(character for character in edge if character not in "{}«»")
