"""What callers and agents say to each other, and the plain words of it."""

from __future__ import annotations

import random
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Literal
from zlib import crc32

from agent.persona import list_personas, small_talk
from agent.scriptbook import PLACEHOLDER, Script, all_rules
from common.errors import ConfigError
from training.text.grammar import Grammar

_HERE = Path(__file__).parent
_FORMS = ("do", "does", "did", "doing")

Speaker = Literal["caller", "agent"]


@cache
def conversation_grammar() -> Grammar:
    """The grammar of both sides, read once."""
    with tempfile.TemporaryDirectory() as folder:
        verbs = Path(folder) / "verbs.txt"
        verbs.write_text(_verb_rules((_HERE / "verbs.txt").read_text()))
        scripts = Path(folder) / "scripts.txt"
        scripts.write_text(_script_rule([small_talk(), *(p.script for p in list_personas())]))
        files = ("lists.txt", "caller.txt", "agent.txt")
        return Grammar([verbs, scripts, *(_HERE / name for name in files)])


class Conversation:
    """Endless sentences, the same for the same seed.

    Args:
        seed: Of the random choices.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._grammar = conversation_grammar()

    def say(self, speaker: Speaker) -> str:
        """One utterance with punctuation, its first letter capital."""
        text = self._grammar.sample(speaker, self._chance)
        return text[0].upper() + text[1:]


def spoken(text: str) -> list[str]:
    """The words of a text as a recogniser writes them: lower case, apostrophes, no punctuation.

    >>> spoken("Twenty-two, mm-hm. It's HALF past!")
    ['twenty', 'two', 'mhm', "it's", 'half', 'past']
    """
    text = text.lower().replace("mm-hm", "mhm").replace("uh-huh", "uhuh").replace("’", "'")
    return [word.strip("'") for word in re.findall(r"[a-z']+", text) if word.strip("'")]


def held_out(text: str) -> bool:
    """Whether a sentence is kept for tests: one in twelve of those with four words or more."""
    words = spoken(text)
    return len(words) >= 4 and crc32(" ".join(words).encode()) % 12 == 0


def _verb_rules(table: str) -> str:
    """Turn the verb table into the four rules <do>, <does>, <did> and <doing>."""
    rules: dict[str, list[str]] = {form: [] for form in _FORMS}
    for number, line in enumerate(table.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        forms, colon, objects = line.partition(":")
        if not colon or len(forms.split()) != len(_FORMS):
            raise ConfigError(
                f"verbs.txt, line {number}: expected 'base third past ing : objects'."
            )
        for form, verb in zip(_FORMS, forms.split(), strict=True):
            rules[form].append(f"  {verb} ({objects.strip()})")
    return "\n".join(f"{form} =\n" + "\n".join(options) for form, options in rules.items()) + "\n"


def _script_rule(scripts: list[Script]) -> str:
    """Turn what the personas' offline scripts hope to hear into the rule <scripted>.

    A slot becomes one of its options or <heard-KIND>, a rule of caller.txt.
    """
    lines = []
    for script in scripts:
        said = {
            name: f"({'|'.join(slot.options)})" if slot.options else f"<heard-{slot.kind}>"
            for name, slot in script.slots.items()
        }
        for rule in all_rules(script.rules):
            words = [text for text in rule.hear if re.search("[a-z]", text)]
            lines += [_filled(text, said) for text in words]
        lines += [option for slot in script.slots.values() for option in slot.options]
    return "\n  ".join(["scripted =", *lines]) + "\n"


def _filled(text: str, said: dict[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: said[match[1]], text)
