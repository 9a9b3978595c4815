"""From text to clauses of model units, each word of the original text knowing where it ends.

Text is made speakable, then cut into pieces the model was trained to speak in one breath, at the
ends of sentences where possible, then turned into units (Tekken pieces, or phones). In this order
nothing is cut that is read as one: "Dr. Smith", "$7.50 million", an address. The units of a clause
are made when its turn comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from backbone.tekken import Tekken
from tts.estimate import weight
from tts.speakable import Spoken, speakable

Span = tuple[int, int]
_BREAKS = tuple(
    re.compile(rf"(?:{mark})['\")\]”’]*$")
    for mark in (r"[!?…。！？؟।॥]|(?<!\b[^\W\d])\.", r"[,;:—،؛]")  # "John F." ends nothing
)
"""How a word ends after which text is best cut, and second best."""
_CLOSED = ".!?…,;:—。！？؟।॥،؛"
_AROUND = "'\")]”’"
"""What may stand behind a closing mark."""
_LONGEST_WORD_CHARS = 40
"""Longer runs without a space are cut: no voice says them in one breath."""


class TextUnits(Protocol):
    """What turns speakable text into the model's text units."""

    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        """Ids, and for each the span of characters it stands for."""

    def onward(self, ids: Sequence[int]) -> list[int]:
        """Ids of the same text behind another text, the space between the two included."""


class TekkenUnits:
    """Tekken pieces as text units."""

    def __init__(self, tekken: Tekken):
        self._tekken = tekken

    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        """Ids of the pieces and their characters; a piece that splits a character counts it whole."""
        ids = self._tekken.encode(text)
        first_byte = [0]
        for character in text:
            first_byte.append(first_byte[-1] + len(character.encode()))
        character_at = [i for i, c in enumerate(text) for _ in range(len(c.encode()))]
        spans, byte = [], 0
        for token in ids:
            end = byte + len(self._tekken.piece(token))
            spans.append((character_at[byte], character_at[end - 1] + 1))
            byte = end
        return ids, spans

    def onward(self, ids: Sequence[int]) -> list[int]:
        """Encoded anew: Tekken has one piece for a space and the word behind it."""
        return self._tekken.encode(f" {self._tekken.decode(ids)}")


@dataclass(frozen=True, slots=True)
class PlannedWord:
    """A word of the original text in a clause.

    Attributes:
        text: As it stood in the text.
        end_unit: One past the last unit it is spoken with; the pause after it is not.
        end_share: The share, 0..1, of the clause's length (see `Clause`) up to its end.
    """

    text: str
    end_unit: int
    end_share: float


@dataclass(frozen=True, slots=True)
class Clause:
    """What the model is asked to speak in one go.

    Attributes:
        ids: Text units.
        words: Those of the text that end in it, in order.
        characters: How long it takes to say, in characters, pauses included.
    """

    ids: tuple[int, ...]
    words: tuple[PlannedWord, ...]
    characters: int

    @property
    def max_frames(self) -> int:
        """A clause that has not ended after this many frames never will.

        Speech takes about one frame a character (arXiv 2603.25551, table 8).
        """
        return 3 * self.characters + 25


def cut(words: Sequence[Spoken], max_chars: int) -> Iterator[list[Spoken]]:
    """Cut words into pieces of at most `max_chars` to say, at the best place each piece offers.

    What is too long for one piece is said in several, and is the word of the text in the last; in
    those before it stands as nothing.
    """
    piece: list[Spoken] = []
    length = 0
    for word in words:
        for part in _parts(word, max_chars):
            while piece and length + _room(part) > max_chars + 1:
                end = _best_end(piece)
                yield piece[:end]
                piece = piece[end:]
                length = sum(map(_room, piece))
            piece.append(part)
            length += _room(part)
    if piece:
        yield piece


def characters_of(words: Sequence[Spoken]) -> int:
    """How many characters there are to say, spaces between the words included."""
    return max(0, sum(map(_room, words)) - 1)


def _room(word: Spoken) -> int:
    """Characters of a word and the space after it."""
    return len(word.spoken) + bool(word.spoken)


def _parts(word: Spoken, max_chars: int) -> list[Spoken]:
    longest = min(_LONGEST_WORD_CHARS, max_chars)
    said = re.sub(rf"\S{{{longest}}}(?=\S)", r"\g<0> ", word.spoken)
    if len(said) <= max_chars:
        return [Spoken(word.original, said)]
    *before, last = said.split()
    return [*(Spoken("", part) for part in before), Spoken(word.original, last)]


def _best_end(words: Sequence[Spoken]) -> int:
    for mark in _BREAKS:
        for end in range(len(words), 0, -1):
            if mark.search(words[end - 1].spoken):
                return end
    return len(words)


class ClausePlanner:
    """Plans one clause at a time.

    Args:
        units: Of the model.
        lexicon: Spellings by which particular words are to be spoken.
        language: BCP 47 tag of the voice: in what language numbers are read.
    """

    def __init__(
        self,
        units: TextUnits,
        lexicon: Mapping[str, str] | None = None,
        language: str = "en",
    ):
        self._units, self._lexicon, self._language = units, lexicon, language

    def read(self, text: str) -> list[Spoken]:
        """Make a text speakable: its words, in order, as they are said."""
        return speakable(text, self._lexicon, language=self._language)

    def plan(self, piece: Sequence[Spoken]) -> Clause | None:
        """Turn a piece from `cut` into units; None when there is nothing to speak in it."""
        words: list[_Said] = []
        parts: list[str] = []
        end = sounds_until = characters = 0
        for word in piece:
            if word.spoken:
                end += bool(parts)
                sounds_until = end + len(word.spoken.rstrip(_CLOSED))
                end += len(word.spoken)
                characters += sum(weight(part) for part in word.spoken.split())
                parts.append(word.spoken)
            if word.original:
                words.append(_Said(word.original, sounds_until, characters))
        spoken = " ".join(parts)
        if not any(c.isalnum() for c in spoken):
            return None
        # Without a closing mark the model tends to go on after the last word.
        closed = spoken if spoken.rstrip(_AROUND)[-1] in _CLOSED else f"{spoken}."
        ids, spans = self._units.encode(closed)
        if not ids:
            return None  # a script the front end cannot read
        return Clause(tuple(ids), tuple(_located(words, spans, characters)), characters)


@dataclass(frozen=True, slots=True)
class _Said:
    """A word, where its sound ends in the speakable text, and how long it takes to get there."""

    original: str
    end: int
    characters: int


def _located(
    words: Sequence[_Said], spans: Sequence[Span], characters: int
) -> Iterator[PlannedWord]:
    unit = 0
    for word in words:
        while unit < len(spans) and spans[unit][1] <= word.end:
            unit += 1
        yield PlannedWord(word.original, unit, word.characters / characters)
