"""What every persona can say in its language, unless its own file says it otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from agent.scriptbook import Lines, SomeLines
from common.yamlfile import StrictModel, load_yaml

LANGUAGES_DIR = Path(__file__).parent / "languages"


class Phrases(StrictModel):
    """One language's; for the meaning of each see `agent.persona.Persona`."""

    greeting: SomeLines
    goodbye: SomeLines
    idle: SomeLines
    acknowledge: SomeLines
    filler: Lines
    failure: str
    connecting: str
    unreachable: str


@lru_cache
def phrases(language: str) -> Phrases:
    """Those of a language tag; in a language without any, English ones, but no fillers.

    Nobody need be asked for patience in a foreign language; that something failed must be said.
    """
    path = LANGUAGES_DIR / f"{language.split('-')[0].lower()}.yaml"
    if path.is_file():
        return load_yaml(path, Phrases)
    return phrases("en").model_copy(update={"filler": []})


def usual(phrase: str) -> Callable[[Mapping[str, Any]], Any]:
    """The default of a persona's field: the phrase in the language given before it."""
    return lambda given: getattr(phrases(given.get("language", "en")), phrase)
