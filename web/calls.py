"""What the server needs from whoever carries browser calls, and what it offers on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tts.interface import VoiceInfo


class Calls(Protocol):
    """Carries WebRTC calls. `pipelines.browser.BrowserCalls` is the real one."""

    @property
    def active(self) -> int:
        """Calls going on or being set up."""

    def admit(self) -> None:
        """Pass when one more call would be served well.

        Raises:
            EngineFull: It would not; says why, and when to try again.
        """

    async def offer(
        self,
        sdp: str,
        kind: str,
        *,
        persona: Any,
        voice: str | None = None,
        pc_id: str | None = None,
        restart: bool = False,
    ) -> Mapping[str, str]:
        """Answer an offer with `sdp`, `type` and `pc_id`; a known `pc_id` renegotiates that call.

        Raises:
            EngineFull: The engines cannot serve one more.
            ParleyError: The offer cannot be answered; says why.
        """

    async def add_candidates(self, pc_id: str, candidates: Sequence[dict[str, Any]]) -> None:
        """Take in candidates that the browser found after its offer.

        Raises:
            ParleyError: No such call.
        """

    async def close(self) -> None:
        """End every call."""


@dataclass(frozen=True, slots=True)
class PersonaCard:
    """A persona as a visitor chooses it.

    Attributes:
        name: How it is asked for.
        title: What people read.
        voice: The voice it speaks with unless the visitor chooses another.
        language: BCP 47 tag.
        persona: Handed to `Calls.offer` as it is.
    """

    name: str
    title: str
    voice: str | None = None
    language: str = "en"
    persona: Any = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything a visitor may choose or should know.

    Attributes:
        personas: The first is the default.
        voices: As the synthesiser lists them; the first is the default.
        asr: Name of the ears, and where they run.
        tts: Name of the voice, and where it runs.
        llm: Name of the brain, and where it runs.
        privacy: One sentence on where sound and words go.
    """

    personas: tuple[PersonaCard, ...]
    voices: tuple[VoiceInfo, ...] = ()
    asr: str = ""
    tts: str = ""
    llm: str = ""
    privacy: str = ""
