"""A reply cut into clauses as it is written, so that the voice can start before it is finished.

The voice needs enough text to sound natural and as little as possible to start early. So the first
clause ends at the first breath a speaker would take, later ones at the ends of sentences. Nothing
is cut inside a number, an abbreviation, an address or a word.
"""

from __future__ import annotations

import re

from agent.matching import word_set

_FIRST_WORDS = 2  # fewest of the first clause, unless its sentence is shorter
_LATER_WORDS = 10  # fewest of a later clause that ends at a breath instead of a full stop
_LONGEST_WORDS = 40  # a clause longer than this is cut at a space, whatever it says
_ABBREVIATIONS = word_set(
    """mr mrs ms dr prof sr jr st vs etc e.g i.e approx no nr tel dept est fig gen gov hon inc ltd
    co corp mt rev sgt capt col jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri
    sat sun a.m p.m u.s u.k z.b bzw ca usw"""
)

_SENTENCE_END = re.compile(r"[.!?…。！？؟।]+[\"'”’)\]*_]*(?=\s)|[。！？]|\n")
_BREATH = re.compile(r"[,;:，；：،؛][\"'”’)\]*_]*(?=\s)|\s[–—-](?=\s+[^\s\d$€£])|—|[，；：]")
_JOINT = re.compile(r"\s(?=(?:and|but|because|so|which|when|while|if|or|unless|although)\s)")
_JOINT_MORE_WORDS = 3  # a joint without a comma is a weaker breath: more must stand before it
_LAST_WORD = re.compile(r"(\S+?)\.[\"'”’)\]*_]*$")


class ClauseSplitter:
    """Cuts a stream of text into clauses. The clauses joined are exactly the text pushed."""

    def __init__(self) -> None:
        self._pending = ""
        self._count = 0

    def push(self, text: str) -> list[str]:
        """Take in more text; return the clauses it completes."""
        self._pending += text
        clauses = []
        while end := self._end_of_clause():
            clauses.append(self._take(end))
        return clauses

    def flush(self) -> list[str]:
        """No more text will come: return what is left, and start afresh."""
        rest = self._take(len(self._pending))
        self._count = 0
        return [rest] if rest.strip() else []

    def _take(self, end: int) -> str:
        # The space after a clause stays with it, so that joining loses nothing.
        while end < len(self._pending) and self._pending[end].isspace():
            end += 1
        clause, self._pending = self._pending[:end], self._pending[end:]
        self._count += bool(clause.strip())
        return clause

    def _end_of_clause(self) -> int:
        """Where the first clause of the pending text ends, or 0 when it is not complete."""
        fewest = _LATER_WORDS if self._count else _FIRST_WORDS
        firsts = (
            next(filter(self._ends_sentence, _SENTENCE_END.finditer(self._pending)), None),
            self._breath(_BREATH, fewest),
            self._breath(_JOINT, fewest + _JOINT_MORE_WORDS),
        )
        ends = [match.end() for match in firsts if match]
        if ends:
            return min(ends)
        words = list(re.finditer(r"\S+\s", self._pending))
        if len(words) > _LONGEST_WORDS:
            return words[_LONGEST_WORDS - 1].end()
        return 0

    def _breath(self, pattern: re.Pattern[str], fewest: int) -> re.Match[str] | None:
        """The first match with so many words before its end."""
        found = pattern.finditer(self._pending)
        return next((m for m in found if len(self._pending[: m.end()].split()) >= fewest), None)

    def _ends_sentence(self, match: re.Match[str]) -> bool:
        before = self._pending[: match.end()]
        if not before.strip(" \n.!?…"):
            return False
        if not match.group().startswith(".") or match.group().startswith(".."):
            return True
        found = _LAST_WORD.search(before)
        word = found.group(1).lstrip("(\"'“‘*_").lower() if found else ""
        if re.fullmatch(r"\d{1,2}", word) and len(before.split()) == 1:
            return False  # "1. First of all" – the number of a list item
        return word not in _ABBREVIATIONS and not re.fullmatch(r"[a-z]", word)
