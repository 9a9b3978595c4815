"""Who is speaking: a persona is one YAML file."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, field_validator

from agent.heard import CUT_NOTE
from agent.phrases import usual
from agent.scriptbook import Lines, Script, SomeLines, all_rules
from agent.tools import Tool, find_tool
from agent.transfers import Transfers, put_through_tool
from common.errors import ConfigError
from common.language import Language
from common.yamlfile import StrictModel, load_yaml

PERSONAS_DIR = Path(__file__).parent / "personas"
_SMALL_TALK = PERSONAS_DIR / "_small_talk.yaml"

SPOKEN_STYLE = f"""\
You are on a live voice call: what you write is spoken aloud as you write it.
- Answer in one to three short sentences, then let the caller speak. Ask at most one question.
- Write only words to be spoken: no markdown, lists, emoji, headings or stage directions.
- The caller's words come from a speech recogniser and may be mis-heard. Guess kindly; when it
  matters, ask.
- A reply of yours that ends in "{CUT_NOTE}" was cut off there: the caller did not hear the rest.
  Do not repeat what was heard, and never write that note yourself.
- Never invent facts about orders, people or prices. Say plainly when you do not know."""


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", value):
        raise ValueError("use lower-case letters, digits and -; what callers see is the `title`")
    return value


class Persona(StrictModel):
    """A character with a voice, manners and knowledge.

    What it says in every call has a default in its language (`agent/languages`).

    Attributes:
        name: How it is asked for; the file's name without `.yaml`.
        title: Shown to people who choose.
        description: One sentence for people who choose.
        language: BCP 47 tag.
        voice: Name of a voice; empty for the engine's default.
        pace: How soon it takes its turn, in plain words.
        greeting: First words; one variant is chosen per call.
        goodbye: Last words.
        disclosure: Said first and heard out, whatever the caller does: a legal notice.
        instructions: Who it is, for the language model.
        idle: Said when nobody has spoken for a while: first, second, … time; after the last it
            says goodbye and ends the call.
        idle_after_s: How long that while is, seconds; 0 turns it off.
        acknowledge: Short sounds of listening during a very long turn.
        filler: Short words said while an answer is long in coming, in turn; any of them must suit.
            Empty for silence, which is the default in a language that Parley has no words in.
        failure: Said when no language model answers.
        lexicon: How to pronounce words, by word as written.
        transfers: Whom it may put callers through to, by name: a number or a SIP address.
        connecting: Said before it does, when the language model says nothing.
        unreachable: Said when that did not work, or the caller is on no telephone.
        script: What it can say without a language model.
        tools: Names of tools it may use: built in ones, or `package.module:function`.
    """

    name: Annotated[str, AfterValidator(_name)]
    title: str = ""
    description: str = ""
    language: Language = "en"
    voice: str = ""
    pace: Literal["eager", "balanced", "patient"] = "balanced"
    greeting: SomeLines = Field(default_factory=usual("greeting"))
    goodbye: SomeLines = Field(default_factory=usual("goodbye"))
    disclosure: str = ""
    instructions: str = ""
    idle: Lines = Field(default_factory=usual("idle"))
    idle_after_s: float = Field(default=12.0, ge=0)
    acknowledge: SomeLines = Field(default_factory=usual("acknowledge"))
    filler: Lines = Field(default_factory=usual("filler"))
    failure: str = Field(default_factory=usual("failure"))
    lexicon: dict[str, str] = Field(default_factory=dict)
    transfers: Transfers = Field(default_factory=dict)
    connecting: str = Field(default_factory=usual("connecting"))
    unreachable: str = Field(default_factory=usual("unreachable"))
    script: Script = Field(default_factory=Script)
    tools: list[str] = Field(default_factory=list)
    _path: Path = PrivateAttr(default=Path())  # its file, for errors

    @field_validator("script")
    @classmethod
    def _puts_through_to_whom_it_names(cls, script: Script, info: ValidationInfo) -> Script:
        for rule in all_rules(script.rules):
            if rule.put_through and rule.put_through not in info.data.get("transfers", {}):
                raise ValueError(f"put_through: there is no '{rule.put_through}' in `transfers`")
        return script

    def find_tools(self) -> list[Tool]:
        """The tools a language model gets.

        Raises:
            ConfigError: One is nowhere, cannot be one, or is there twice.
        """
        found = [find_tool(name) for name in self.tools]
        if self.transfers:
            found.append(put_through_tool(self.transfers))
        names = [tool.name for tool in found]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"'{name}' is given twice.", "Keep one of them.")
        return found

    def system_prompt(self) -> str:
        """What the language model is told about itself and about speaking aloud."""
        who = self.instructions or f"You are {self.title or self.name}, a helpful voice assistant."
        return f"{who.strip()}\n\n{SPOKEN_STYLE}\nSpeak the language tagged '{self.language}'."


def list_personas() -> list[Persona]:
    """The personas shipped with Parley; `parley` first, then by name.

    Raises:
        ConfigError: One of the files is malformed.
    """
    paths = sorted(PERSONAS_DIR.glob("*.yaml"))
    personas = [load_persona(path) for path in paths if not path.name.startswith("_")]
    return sorted(personas, key=lambda persona: (persona.name != "parley", persona.name))


def load_persona(name_or_path: str | Path) -> Persona:
    """Open a shipped persona by name, or any persona by the path of its file.

    Its tools are imported, from modules beside its file too, so that a broken one shows now.

    Raises:
        ConfigError: There is no such persona, its file is malformed, or a tool cannot be used.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = PERSONAS_DIR / f"{name_or_path}.yaml"
        if not path.is_file() or path.name.startswith("_"):
            known = [p.stem for p in PERSONAS_DIR.glob("*.yaml") if not p.name.startswith("_")]
            file = Path(f"{name_or_path}.yaml")
            close = (
                [str(file)]
                if file.is_file()
                else difflib.get_close_matches(str(name_or_path), known, n=1)
            )
            hint = f"Did you mean '{close[0]}'?" if close else f"There are: {', '.join(known)}."
            raise ConfigError(
                f"There is no persona '{name_or_path}'.", f"{hint} Or give the path of a YAML file."
            )
    persona = load_yaml(path, Persona)
    persona._path = path
    _check_tools(persona, path)
    return persona


def refuse_namesakes(personas: Iterable[Persona]) -> None:
    """Make sure that callers can tell these personas from one another: they choose by name.

    Raises:
        ConfigError: Two files have the same name; says which.
    """
    paths: dict[str, Path] = {}
    for persona in personas:
        first = paths.setdefault(persona.name, persona._path)
        if first.resolve() != persona._path.resolve():
            raise ConfigError(
                f"{first} and {persona._path} are both named '{persona.name}'.",
                "Give one of them another `name`.",
            )


def _check_tools(persona: Persona, path: Path) -> None:
    folder = str(path.parent.absolute())
    if any(":" in name for name in persona.tools) and folder not in sys.path:
        sys.path.append(folder)  # last, so that nothing there hides an installed module
    try:
        persona.find_tools()
    except ConfigError as error:
        raise ConfigError(f"{path}, tools: {error.cause}", error.cure) from error


def small_talk() -> Script:
    """The shared English small talk that stands behind every persona's own script."""
    return load_yaml(_SMALL_TALK, Script)
