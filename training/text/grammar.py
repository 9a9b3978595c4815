"""A small random grammar, written as plain text so that what is said is data, not code.

    # a comment
    greeting =
      3: hello[, <name>]          three times as likely as the next line
      good (morning|evening)      one of two words
    name = Anna | Ben             alternatives may share a line

`<rule>` expands another rule, `(a|b)` chooses evenly, `[a|b]` is left out half the time, and
`<number 1 99>` calls one of the spoken-number makers of `training.text.numbers`. Brackets nest;
spaces and commas that begin a bracket belong to all its alternatives.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError
from training.text.numbers import MAKERS

_RULE = re.compile(r"^([a-z][a-z-]*)\s*=\s*(.*)$")
_WEIGHT = re.compile(r"^(\d+):\s*(.*)$")
_REFERENCE = re.compile(r"<([^<>]+)>")
_MAX_DEPTH = 40


@dataclass(frozen=True, slots=True)
class _Rule:
    options: list[str]
    weights: list[int]
    where: str


class Grammar:
    """Rules by name, checked on construction so that a typing error cannot wait in a rare branch.

    Args:
        files: Grammar files; a rule may be defined in any of them, once.

    Raises:
        ConfigError: A line cannot be read, or refers to a rule that no file defines.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._rules: dict[str, _Rule] = {}
        for path in files:
            self._read(path)
        self._check()

    def sample(self, rule: str, chance: random.Random) -> str:
        """One random expansion of `rule`, single-spaced."""
        text = self._expand_rule(rule, chance, 0)
        text = re.sub(r"\s+", " ", text).strip()
        text = re.sub(r" ([,.?!;:])", r"\1", text)
        return re.sub(r"\ba (?=[aeiou])", "an ", text)

    def words(self) -> set[str]:
        """Every literal word of every rule, lower case: the vocabulary, numbers excepted."""
        found: set[str] = set()
        for rule in self._rules.values():
            for option in rule.options:
                text = _REFERENCE.sub(" ", option)
                found |= set(re.findall(r"[a-z][a-z']*", text.lower()))
        return found

    def _read(self, path: Path) -> None:
        current: _Rule | None = None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            text = line.split("#")[0].rstrip()
            where = f"{path.name}, line {number}"
            if not text:
                continue
            if not text[0].isspace():
                match = _RULE.match(text)
                if not match or match[1] in self._rules:
                    raise ConfigError(f"{where}: expected a new rule, 'name = …', not {text!r}.")
                current = self._rules[match[1]] = _Rule([], [], where)
                if match[2]:
                    current.options.append(match[2])
                    current.weights.append(1)
            elif current is None:
                raise ConfigError(f"{where}: an option before the first rule.")
            else:
                match = _WEIGHT.match(text.strip())
                current.options.append(match[2] if match else text.strip())
                current.weights.append(int(match[1]) if match else 1)

    def _check(self) -> None:
        for name, rule in self._rules.items():
            if not rule.options:
                raise ConfigError(f"{rule.where}: rule {name!r} has no options.")
            for option in rule.options:
                for reference in _REFERENCE.findall(option):
                    head = reference.split()[0]
                    if head not in self._rules and head not in MAKERS:
                        raise ConfigError(f"{rule.where}: {name!r} uses <{head}>, unknown.")
                if any(option.count(a) != option.count(b) for a, b in ("[]", "()", "<>")):
                    raise ConfigError(f"{rule.where}: unbalanced brackets in {option!r}.")

    def _expand_rule(self, reference: str, chance: random.Random, depth: int) -> str:
        if depth > _MAX_DEPTH:
            raise ConfigError(f"The grammar never ends below <{reference}>.")
        head, *arguments = reference.split()
        maker: Callable[..., str] | None = MAKERS.get(head)
        if maker:
            return maker(chance, *map(int, arguments))
        rule = self._rules[head]
        (option,) = chance.choices(rule.options, rule.weights)
        return self._expand(chance.choice(_split(option)), chance, depth + 1)

    def _expand(self, text: str, chance: random.Random, depth: int) -> str:
        out, i = [], 0
        while i < len(text):
            if text[i] in "<[(":
                end = _closing(text, i)
                inner = text[i + 1 : end]
                if text[i] == "<":
                    out.append(self._expand_rule(inner, chance, depth))
                elif text[i] == "(" or chance.random() < 0.5:
                    lead = inner[: len(inner) - len(inner.lstrip(" ,"))]
                    choice = chance.choice(_split(inner[len(lead) :]))
                    out.append(lead + self._expand(choice, chance, depth))
                i = end + 1
            else:
                out.append(text[i])
                i += 1
        return "".join(out)


def _closing(text: str, start: int) -> int:
    """Index of the bracket that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] in "<[(") - (text[i] in ">])")
        if depth == 0:
            return i
    raise ConfigError(f"Unbalanced brackets in {text!r}.")


def _split(text: str) -> list[str]:
    """Split at the bars that are not inside brackets."""
    parts, depth, last = [], 0, 0
    for i, char in enumerate(text):
        depth += (char in "<[(") - (char in ">])")
        if char == "|" and depth == 0:
            parts.append(text[last:i])
            last = i + 1
    return [*parts, text[last:]]
