"""Everything a visitor may choose or should know before calling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.llm_choice import LlmChoice
from agent.persona import Persona
from common.errors import ParleyError
from pipelines.engines import Engines
from tts.interface import VoiceInfo

_OWN_MACHINE = ("this machine", "in process", "127.", "localhost")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the page shows and offers.

    Attributes:
        pages: Who answers on each page, by path and name; the first of a page is its default.
        voices: By name; the first is the default.
        asr: Name of the ears.
        tts: Name of the voice.
        llm: Name of the brain.
        privacy: Where sound and words go, and whether they are kept, in one or two sentences.
    """

    pages: dict[str, dict[str, Persona]]
    voices: dict[str, VoiceInfo]
    asr: str
    tts: str
    llm: str
    privacy: str

    def at(self, path: str) -> dict[str, Persona]:
        """Who may be chosen on a page.

        Raises:
            ParleyError: There is no such page.
        """
        if path not in self.pages:
            raise ParleyError(f"There is no page {path!r}.", f"There is: {', '.join(self.pages)}.")
        return self.pages[path]


def catalogue(
    pages: Mapping[str, Sequence[Persona]],
    engines: Engines,
    choice: LlmChoice,
    *,
    recorded: bool = False,
) -> Catalogue:
    """Describe what was opened.

    Args:
        pages: Who answers on each, the front page `/` among them.
        engines: Ears and voice.
        choice: The brain.
        recorded: Whether calls are.
    """
    ears, voice = engines.asr.info, engines.tts.info
    places = [
        ("your voice goes to", ears.where),
        ("the agent's words go to", voice.where),
        *(("what is said goes to", server.where) for server in choice.servers),
    ]
    away = [f"{what} {where}" for what, where in places if not where.startswith(_OWN_MACHINE)]
    privacy = ", ".join(away) or "nothing you say leaves the machine that Parley runs on"
    return Catalogue(
        pages={path: {one.name: one for one in personas} for path, personas in pages.items()},
        voices={voice.name: voice for voice in engines.tts.voices()},
        asr=ears.name,
        tts=voice.name,
        llm=choice.servers[0].name if choice.servers else "offline script",
        privacy=f"{privacy[0].upper()}{privacy[1:]}.{' Calls are recorded.' * recorded}",
    )
