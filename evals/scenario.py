"""Scenario files: what a caller does, and what the agent should do about it.

One YAML file per family; each item is one conversation: the family's timeline, then its own. `[0.7]`
inside a text is a pause of 0.7 s; `{pause_s}` takes the value of a name that the family varies, `{text}`
that of the item. The same files drive the virtual world (`evals/virtual`) and a real caller.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from common.yamlfile import StrictModel, load_yaml

_PAUSE = re.compile(r"(\[[\d.]+\])")
# Somebody else in the room is softer than the caller (levels of Full-Duplex-Bench 1.5).
LEVEL_DB = {"side_talk": -8.0, "background": -15.0}
_FOLDER = Path(__file__).parent / "scenarios"

Role = Literal["turn", "interruption", "backchannel", "tic", "side_talk", "background"]
SoundKind = Literal["cough", "laughter", "keyboard", "click", "hum"]


_Varied = Annotated[str, StringConstraints(pattern=r"^\{\w+\}$")]


class Behaviour(StrEnum):
    """What the agent should do about the caller's last utterance."""

    RESPOND = "RESPOND"  # yield if speaking, then answer
    RESUME = "RESUME"  # go on speaking
    SILENT = "SILENT"  # say nothing


class Say(StrictModel):
    """The caller speaks."""

    id: str = ""
    text: str
    role: Role = "turn"


class Sound(StrictModel):
    """The caller makes a noise."""

    kind: SoundKind
    s: float


class Wait(StrictModel):
    """The caller waits: for a time, or until the agent does something."""

    s: float | _Varied = 0.0
    until: Literal["agent_onset", "agent_settled", ""] = ""
    timeout_s: float = 8.0
    agent_must_be_voicing: bool = False


class Step(StrictModel):
    """One step of a caller's script: exactly one of its fields is given."""

    say: Say | None = None
    sound: Sound | None = None
    wait: Wait | None = None

    @property
    def role(self) -> Role:
        """What is meant by it."""
        return self.say.role if self.say else "tic"

    @property
    def words(self) -> str:
        """What is said, without its pauses; "" for a noise."""
        parts = parts_of(self.say.text) if self.say else ()
        return " ".join(part for part in parts if isinstance(part, str))


class Scenario(StrictModel):
    """One conversation.

    Attributes:
        id: Unique among all families.
        family: One letter, as in the table of families in `docs/evaluation.md`.
        reply: What the scripted agent answers.
        notice: An uninterruptible first utterance of the agent, if any.
        expect: What it should do about the caller's last utterance or sound.
        timeline: The caller's script.
    """

    id: str
    family: str
    reply: str
    notice: str = ""
    expect: Behaviour
    timeline: tuple[Step, ...]

    @property
    def seed(self) -> int:
        """Fixed by the id, so that a scenario never changes because another was added."""
        return zlib.crc32(self.id.encode())


class _Item(StrictModel):
    id: str
    text: str = ""
    timeline: tuple[Step, ...] = ()


class _Family(StrictModel):
    family: str
    title: str
    reply: str
    notice: str = ""
    expect: Behaviour
    vary: dict[str, tuple[float | str, ...]] = Field(default_factory=dict)
    timeline: tuple[Step, ...] = ()
    items: tuple[_Item, ...]


def load_family(path: Path) -> list[Scenario]:
    """All scenarios of one file: every item with every combination of what varies.

    Raises:
        ConfigError: The file does not fit; names file, line and key.
    """
    return list(_expand(load_yaml(path, _Family)))


def load_all() -> list[Scenario]:
    """All scenarios of all families, in order of file name."""
    return [scenario for path in sorted(_FOLDER.glob("*.yaml")) for scenario in load_family(path)]


def parts_of(text: str) -> Iterator[str | float]:
    """A text's stretches of words, and its pauses in seconds, in order."""
    for part in _PAUSE.split(text):
        if _PAUSE.fullmatch(part):
            yield float(part[1:-1])
        elif part.strip():
            yield part.strip()


def _expand(family: _Family) -> Iterator[Scenario]:
    for item in family.items:
        for values in itertools.product(*family.vary.values()):
            chosen = dict(zip(family.vary, map(str, values), strict=True))
            chosen["text"] = str(_filled(item.text, chosen))
            steps = (*family.timeline, *item.timeline)
            yield Scenario(
                id="_".join([family.family, item.id, *map(str, values)]),
                family=family.family,
                reply=family.reply,
                notice=family.notice,
                expect=family.expect,
                timeline=tuple(Step.model_validate(_filled(s.model_dump(), chosen)) for s in steps),
            )


def _filled(value: object, chosen: dict[str, str]) -> object:
    """Every `{name}` in any string replaced by its value."""
    if isinstance(value, dict):
        return {key: _filled(inner, chosen) for key, inner in value.items()}
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: chosen[found[1]], value)
    return value
