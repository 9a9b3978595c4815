"""Which rule of a script answers what was heard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.matching import CLEAR, ENOUGH, match, spot, words_of
from agent.scriptbook import PLACEHOLDER, Rule, Script
from agent.slots import parse, yes_or_no, yes_or_no_words

_ANYTHING = 0.5  # `*` loses against everything that is really understood
_OPEN_BONUS = 0.08  # an answer to what was just asked wins over a change of subject
_WORD_FOR_WORD = 0.03  # what was heard wins over what only sounds like it
_WHEN = re.compile(r"\bwhen(?= (?:are|is|do|does|can|will)\b)")


@dataclass(frozen=True, slots=True)
class _Pattern:
    words: tuple[str, ...]
    slots: tuple[str, ...]
    anything: bool


@dataclass(slots=True)
class _Entry:
    rule: Rule
    patterns: tuple[_Pattern, ...]
    then: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """A rule that fits, how well, what it captured, and whether it was heard word for word."""

    rank: tuple[float, float]
    key: int
    captured: Mapping[str, str]
    exact: bool = False

    @property
    def is_sentence(self) -> bool:
        """Whether it is more than a word or two of little weight."""
        return self.rank[1] > 1.0


class ScriptRules:
    """All rules of a script and of the small talk behind it, nested ones too; each has its key.

    Args:
        script: The persona's own.
        base: Small talk.
    """

    def __init__(self, script: Script, base: Script):
        self._slots = {**base.slots, **script.slots}
        self._entries: list[_Entry] = []
        own = self._compile(script.rules)
        self._n_own = len(self._entries)
        self._top = own + self._compile(base.rules)
        self._named = {e.rule.name: key for key, e in enumerate(self._entries) if e.rule.name}

    def __getitem__(self, key: int) -> Rule:
        return self._entries[key].rule

    def named(self, name: str) -> int:
        """The key of the rule that `goto` calls so."""
        return self._named[name]

    def opened_by(self, key: int, before: tuple[int, ...]) -> tuple[int, ...]:
        """What is tried first after a rule: small talk does not answer what the persona asked."""
        kept = tuple(k for k in before if k < self._n_own) if key >= self._n_own else ()
        return self._entries[key].then + kept

    def understand(self, first: tuple[int, ...], text: str) -> Heard | None:
        """The rule that fits best; None when none does.

        Args:
            first: Keys of rules that win over a change of subject.
            text: The caller's words as recognised.
        """
        words = words_of(text)
        found = [
            heard
            for keys, bonus in ((first, _OPEN_BONUS), (self._top, 0.0))
            for key in keys
            for pattern in self._entries[key].patterns
            if (heard := self._try(key, pattern, words, text, bonus)) is not None
        ]
        return max(found, key=lambda heard: heard.rank, default=None)

    def _compile(self, rules: Iterable[Rule]) -> tuple[int, ...]:
        keys = []
        for rule in rules:
            hear = dict.fromkeys(
                form for text in rule.hear for form in (text, _WHEN.sub("what time", text))
            )
            keys.append(len(self._entries))
            entry = _Entry(rule, tuple(map(_pattern, hear)))
            self._entries.append(entry)
            entry.then = self._compile(rule.then)
        return tuple(keys)

    def _try(
        self, key: int, pattern: _Pattern, words: tuple[str, ...], text: str, bonus: float
    ) -> Heard | None:
        if pattern.anything:
            return Heard((_ANYTHING, 0.0), key, {})
        if bonus and pattern.words in (("yes",), ("no",)):
            meant = yes_or_no(text)
            if meant is None or meant != (pattern.words == ("yes",)):
                return None
            # "How do I get there please" is rather a question than a yes.
            score = match(yes_or_no_words(words), words).score
            return Heard((score + 0.02 + _WORD_FOR_WORD + bonus, 1.0), key, {})
        urgent = self[key].urgent
        fit = match(pattern.words, words)
        score = spot(pattern.words, words) if urgent else fit.score
        if pattern.words and score + bonus < (CLEAR if urgent else ENOUGH):
            return None
        captured = {}
        for name in pattern.slots:
            slot = self._slots[name]
            after = " ".join(words[fit.end :]) if slot.kind in ("name", "text") else text
            if (value := parse(slot, after, asked=True)) is None:
                return None
            captured[name] = value
        score = score + urgent if pattern.words else ENOUGH
        exact = fit.found == 1.0
        score += 0.02 * min(fit.weight, 5.0) + _WORD_FOR_WORD * exact + bonus
        return Heard((score, fit.weight), key, captured, exact)


def _pattern(text: str) -> _Pattern:
    slots = tuple(PLACEHOLDER.findall(text))
    return _Pattern(words_of(PLACEHOLDER.sub(" ", text)), slots, text.strip() == "*")
