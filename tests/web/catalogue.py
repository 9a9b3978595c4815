"""What the tested pages have on offer."""

from __future__ import annotations

from tts.interface import VoiceInfo
from web.calls import Catalogue, PersonaCard

CATALOGUE = Catalogue(
    personas=(
        PersonaCard("harbour", "Harbour office", persona="harbour"),
        PersonaCard("library", "Library desk", persona="library"),
    ),
    voices=(VoiceInfo("slt", description="clear, American"), VoiceInfo("rms", description="low")),
    asr="loudness",
    tts="flite",
    llm="script",
    privacy="Sound and words stay on this machine.",
)
