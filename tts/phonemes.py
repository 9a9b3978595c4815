"""Text to phones: the text units of checkpoints that say `"text_units": "phonemes"`.

A word is looked up; failing that it is taken apart (hyphens, possessives, plurals, initials); failing
that its letters are sounded out by rules learnt from the dictionary. Punctuation stays as units of its
own, because it is what pauses and rising questions are made of; front ends that have the units of
`CLOSING_GAPS` also say them for the gap before a sentence's last word, where its rise or fall begins.
Every unit knows the characters it stands for, so that words can be timed.

A checkpoint folder holds `phonemes.json` (units and where everything comes from) and `lexicon.json.xz`
(words and letter rules).
"""

from __future__ import annotations

import json
import lzma
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import CheckpointError

Span = tuple[int, int]
GAP = " "
CLOSING_GAPS = {"?": "¿", ".": "↘", "!": "↘"}
"""For each mark that ends a sentence, the unit for the gap before its last word."""
MARKS = ",.?!"
_SAME_MARK = str.maketrans({";": ",", ":": ",", "—": ",", "–": ",", "…": ".", "。": "."})
_STRENGTH = {GAP: 0, ",": 1, ".": 2, "!": 3, "?": 4}
_PIECES = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*['’]?|\d|[,.;:!?…—–。()]")
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_SPELLED = frozenset({"AI", "AM", "ID", "US", "VAT"})  # written small they are words
LETTER_REACH = ((0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (3, 2), (3, 3), (4, 4))
"""Letters to the left and right that a rule may look at, from the vaguest to the most specific."""


class LetterRules:
    """Sounds out words no dictionary holds: each letter by its most specific known neighbourhood.

    Args:
        rules: From "neighbourhood" keys (see `neighbourhoods`) to phones, space-separated.
    """

    def __init__(self, rules: Mapping[str, str]):
        self._rules = rules

    def __call__(self, word: str) -> list[str]:
        """Phones of a lower-case word; letters unknown to the rules are silent."""
        phones: list[str] = []
        for keys in neighbourhoods(word):
            for key in reversed(keys):
                if key in self._rules:
                    phones += self._rules[key].split()
                    break
        return phones


def neighbourhoods(word: str) -> Iterator[list[str]]:
    """For each letter of `word`, its keys from the vaguest to the most specific."""
    edge = max(left for left, _ in LETTER_REACH)
    padded = "#" * edge + word + "#" * edge
    for i in range(edge, edge + len(word)):
        yield [
            f"{padded[i - left : i]}>{padded[i]}<{padded[i + 1 : i + 1 + right]}"
            for left, right in LETTER_REACH
        ]


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit before it has an id."""

    name: str
    start: int
    end: int


class Phonemes:
    """The front end of one checkpoint.

    Args:
        units: Names of the units; unit i has id `first_id + i`. Punctuation and the gap between words
            are units, the others are CMU phones, vowels with a stress of 0 or 1.
        first_id: Below it lie the model's special tokens.
        lexicon: Lower-case words to their phones, space-separated.
        letter_rules: For words outside the lexicon.
    """

    def __init__(
        self,
        units: Sequence[str],
        first_id: int,
        lexicon: Mapping[str, str],
        letter_rules: LetterRules,
    ):
        self._ids = {unit: first_id + i for i, unit in enumerate(units)}
        self._lexicon = lexicon
        self._letter_rules = letter_rules

    @classmethod
    def load(cls, folder: str | Path) -> Phonemes:
        """Read a checkpoint's front end.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        folder = Path(folder)
        try:
            head = json.loads((folder / "phonemes.json").read_text())
            tables = json.loads(lzma.decompress((folder / head["lexicon"]).read_bytes()))
            lexicon = expanded(tables["words"])
            return cls(head["units"], head["first_id"], lexicon, LetterRules(tables["letters"]))
        except (OSError, ValueError, KeyError, lzma.LZMAError) as error:
            raise CheckpointError(
                f"The phone front end in {folder} cannot be read: {error!r}.",
                "Its folder must hold phonemes.json and the lexicon that file names.",
            ) from error

    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        """Turn speakable text into units.

        Args:
            text: Words and punctuation; digits left in it are read one by one.

        Returns:
            Ids, and for each the span of characters it stands for.
        """
        units = self._units(text)
        return [self._ids[u.name] for u in units], [(u.start, u.end) for u in units]

    def onward(self, ids: Sequence[int]) -> list[int]:
        """Ids of the same text behind another text: a gap, then the same."""
        return [*self.encode(" ")[0], *ids]

    def names(self, text: str) -> list[str]:
        """The units of `text` by name, for people and tests."""
        return [unit.name for unit in self._units(text)]

    def pronounce(self, word: str) -> list[str]:
        """Phones of one word, whatever it is."""
        plain = _unaccented(word.replace("’", "'"))
        lower = plain.lower()
        if lower in self._lexicon and plain not in _SPELLED:
            return self._lexicon[lower].split()
        if plain.isupper() and 1 < len(plain) <= 5:
            return [phone for letter in lower for phone in self._letter(letter)]
        for ending in ("'s", "s'", "'", "s"):
            stem = lower.removesuffix(ending)
            is_plural = stem != lower and not lower.endswith("ss")  # "press" is not two of "pres"
            if is_plural and stem in self._lexicon:
                phones = self._lexicon[stem].split()
                return phones + (_plural(phones[-1]) if "s" in ending else [])
        return self._letter_rules(lower.replace("'", ""))

    def _letter(self, letter: str) -> list[str]:
        """Its name; the dictionary's "a" is the article."""
        return ["ey1"] if letter == "a" else self.pronounce(letter)

    def _units(self, text: str) -> list[_Unit]:
        """As `_words_and_marks`, with the gap before the last word of a sentence told apart."""
        units = list(self._words_and_marks(text))
        gap: int | None = None  # the last one since the last mark
        for i, unit in enumerate(units):
            closing = CLOSING_GAPS.get(unit.name, "")
            if gap is not None and closing in self._ids:
                units[gap] = replace(units[gap], name=closing)
            if unit.name in MARKS:
                gap = None
            elif unit.name == GAP:
                gap = i
        return units

    def _words_and_marks(self, text: str) -> Iterator[_Unit]:
        """Words with exactly one gap or mark between them, and a mark at the end if there is one."""
        between: _Unit | None = None
        begun = False
        for match in _PIECES.finditer(text):
            piece, start, end = match[0], match.start(), match.end()
            name = piece.translate(_SAME_MARK)
            if name in "()":
                name = ","
            if name in MARKS:
                if begun and (between is None or _STRENGTH[name] > _STRENGTH[between.name]):
                    between = _Unit(name, start, end)
                continue
            for word, first in self._words(piece):
                in_sentence = begun and (between is None or between.name == ",")
                is_letter = word == "A" and in_sentence  # else the article
                phones = self._letter("a") if is_letter else self.pronounce(word)
                if not phones:
                    continue
                if begun:
                    at = start + first
                    yield between or _Unit(GAP, max(at - 1, 0), at)
                begun, between = True, None
                yield from _spread(phones, start + first, min(start + first + len(word), end))
        if between is not None:
            yield between

    def _words(self, piece: str) -> Iterator[tuple[str, int]]:
        """A piece of text as words that can be pronounced, and where each begins in it."""
        if piece.isdigit():
            yield _DIGITS[int(piece)], 0
        elif piece.lower() in self._lexicon:
            yield piece, 0
        else:
            for match in re.finditer(r"[^-]+", piece):
                yield match[0], match.start()


def _unaccented(word: str) -> str:
    """Letters without their marks: é is read as e."""
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


def _spread(phones: Sequence[str], start: int, end: int) -> Iterator[_Unit]:
    """Units of one word, its characters shared out among them."""
    width = (end - start) / len(phones)
    for i, phone in enumerate(phones):
        first = min(start + int(i * width), end - 1)
        yield _Unit(phone, first, max(first + 1, start + int((i + 1) * width)))


def _plural(last: str) -> list[str]:
    """The ending -s after a phone."""
    if last in ("s", "z", "sh", "zh", "ch", "jh"):
        return ["ax0", "z"]
    return ["s"] if last in ("p", "t", "k", "f", "th") else ["z"]


def compacted(lexicon: Mapping[str, str]) -> list[str]:
    """Words in order, each without what it shares with the one before: "3ing ih0 ng"."""
    lines, last = [], ""
    for word in sorted(lexicon):
        shared = 0
        while shared < min(len(word), len(last), 9) and word[shared] == last[shared]:
            shared += 1
        lines.append(f"{shared}{word[shared:]} {lexicon[word]}")
        last = word
    return lines


def expanded(lines: Sequence[str]) -> dict[str, str]:
    """What `compacted` was made from."""
    lexicon, last = {}, ""
    for line in lines:
        tail, phones = line[1:].split(" ", 1)
        last = last[: int(line[0])] + tail
        lexicon[last] = phones
    return lexicon
