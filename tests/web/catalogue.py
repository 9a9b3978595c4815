"""What the tested pages have on offer."""

from __future__ import annotations

from agent.persona import Persona
from tts.interface import VoiceInfo
from web.catalogue import Catalogue

_HARBOUR = Persona(name="harbour", title="Harbour office", description="Berths and tides.")
_LIBRARY = Persona(name="library", title="Library desk", description="Books and hours.")

CATALOGUE = Catalogue(
    pages={
        "/": {"harbour": _HARBOUR, "library": _LIBRARY},
        "/books": {"library": _LIBRARY.model_copy(update={"voice": "rms"})},
    },
    voices={
        "slt": VoiceInfo("slt", description="clear, American"),
        "rms": VoiceInfo("rms", description="low"),
    },
    asr="loudness",
    tts="flite",
    llm="script",
    privacy="Nothing you say leaves the machine that Parley runs on.",
)
