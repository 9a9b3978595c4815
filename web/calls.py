"""What the server needs from whoever carries browser calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.persona import Persona


class Calls(Protocol):
    """Carries WebRTC calls. `pipelines.browser.BrowserCalls` is the real one."""

    @property
    def active(self) -> int:
        """Calls going on or being set up."""

    @property
    def failure(self) -> str:
        """Why there can be no calls until Parley is started again; empty while it works."""

    def carries(self, pc_id: str) -> bool:
        """Whether the call of that connection still goes on."""

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
        persona: Persona,
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
