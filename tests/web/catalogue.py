"""What the tested pages have on offer."""

from __future__ import annotations

from agent.persona import Persona
from tts.interface import VoiceInfo
from web.catalogue import Catalogue

CATALOGUE = Catalogue(
    personas={
        "harbour": Persona(name="harbour", title="Harbour office", description="Berths and tides."),
        "library": Persona(name="library", title="Library desk", description="Books and hours."),
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
