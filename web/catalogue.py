"""Everything a visitor may choose or should know before calling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.llm_choice import LlmChoice
from agent.persona import Persona
from pipelines.engines import Engines
from tts.interface import VoiceInfo

_OWN_MACHINE = ("this machine", "in process", "127.", "localhost")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the page shows and offers.

    Attributes:
        personas: By name; the first is the default.
        voices: By name; the first is the default.
        asr: Name of the ears.
        tts: Name of the voice.
        llm: Name of the brain.
        privacy: Where sound and words go, in one sentence.
    """

    personas: dict[str, Persona]
    voices: dict[str, VoiceInfo]
    asr: str
    tts: str
    llm: str
    privacy: str


def catalogue(personas: Sequence[Persona], engines: Engines, choice: LlmChoice) -> Catalogue:
    """Describe what was opened."""
    ears, voice = engines.asr.info, engines.tts.info
    places = [
        ("your voice goes to", ears.where),
        ("the agent's words go to", voice.where),
        *(("what is said goes to", server.where) for server in choice.servers),
    ]
    away = [f"{what} {where}" for what, where in places if not where.startswith(_OWN_MACHINE)]
    privacy = ", ".join(away) or "nothing you say leaves the machine that Parley runs on"
    return Catalogue(
        personas={persona.name: persona for persona in personas},
        voices={voice.name: voice for voice in engines.tts.voices()},
        asr=ears.name,
        tts=voice.name,
        llm=choice.servers[0].name if choice.servers else "offline script",
        privacy=f"{privacy[0].upper()}{privacy[1:]}.",
    )
