"""From text to clauses of model units, each word of the original text knowing where it ends.

Text is cut into pieces the model was trained to speak in one breath, at the ends of sentences where
possible, then made speakable, then turned into units (Tekken pieces, or phones). Cutting is cheap and
done for all text at once; the rest is done for each clause when its turn comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from backbone.tekken import Tekken
from tts.estimate import weight
from tts.speakable import speakable

Span = tuple[int, int]
_BREAKS = (r"[.!?…。！？؟]['\")\]]*\s", r"[,;:—]\s", r"\s")
"""Where a text may be cut, best first."""
_CLOSED = ".!?…,;:—。！？؟"
_LONGEST_WORD_CHARS = 40
"""Longer runs without a space are cut: no voice says them in one breath."""


class TextUnits(Protocol):
    """What turns speakable text into the model's text units."""

    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        """Ids, and for each the span of characters it stands for."""


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
        words: In order; their texts make up the original.
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


def cut(text: str, max_chars: int) -> Iterator[str]:
    """Cut text into pieces of at most `max_chars`, at the best place each piece offers.

    Control characters become spaces; pieces with nothing in them are left out.
    """
    text = "".join(c if c.isprintable() else " " for c in text)
    longest = min(_LONGEST_WORD_CHARS, max_chars)
    text = re.sub(rf"\S{{{longest}}}(?=\S)", r"\g<0> ", text)
    rest = text.strip()
    while len(rest) > max_chars:
        end = _best_end(rest[: max_chars + 1])
        yield rest[:end].strip()
        rest = rest[end:].strip()
    if rest:
        yield rest


def _best_end(text: str) -> int:
    for pattern in _BREAKS:
        if ends := [match.end() for match in re.finditer(pattern, text)]:
            return ends[-1]
    return len(text)


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

    def plan(self, text: str) -> Clause | None:
        """Make a piece of text from `cut` speakable; None when there is nothing to speak in it."""
        words: list[_Said] = []
        parts: list[str] = []
        end = sounds_until = characters = 0
        for word in speakable(text, self._lexicon, language=self._language):
            if word.spoken:
                end += bool(parts)
                sounds_until = end + len(word.spoken.rstrip(_CLOSED))
                end += len(word.spoken)
                characters += sum(weight(part) for part in word.spoken.split())
                parts.append(word.spoken)
            words.append(_Said(word.original, sounds_until, characters))
        spoken = " ".join(parts)
        if not any(c.isalnum() for c in spoken):
            return None
        # Without a closing mark the model tends to go on after the last word.
        closed = spoken if spoken[-1] in _CLOSED else f"{spoken}."
        ids, spans = self._units.encode(closed)
        if not ids:
            return None  # a script the front end cannot read
        return Clause(tuple(ids), tuple(_located(words, spans)), characters)


@dataclass(frozen=True, slots=True)
class _Said:
    """A word, where its sound ends in the speakable text, and how long it takes to get there."""

    original: str
    end: int
    characters: int


def _located(words: Sequence[_Said], spans: Sequence[Span]) -> Iterator[PlannedWord]:
    unit = 0
    for word in words:
        while unit < len(spans) and spans[unit][1] <= word.end:
            unit += 1
        yield PlannedWord(word.original, unit, word.characters / words[-1].characters)
