"""Who answers which number: telephone calls become conversations, admitted like those from browsers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Network
from typing import Any

from agent.persona import Persona
from common.errors import ConfigError
from pipelines.browser import BrowserCalls
from pipelines.conversation import Conversation
from pipelines.phone.carrier_call import CarrierCalls
from pipelines.phone.sip import SipServer


class PhoneDoor:
    """Opens a conversation for a call from a SIP endpoint or a carrier.

    Attributes:
        carriers: Holds the calls of carriers.
    """

    def __init__(self, calls: BrowserCalls, persona_for: Callable[[str], Persona]):
        """Create it.

        Args:
            calls: Opens conversations, as long as one more would be served well.
            persona_for: Given the called number, who answers; raises ConfigError when nobody does.
        """
        self._calls = calls
        self._persona_for = persona_for
        self._sip: SipServer | None = None
        self.carriers = CarrierCalls(self.answer)

    async def listen_sip(self, port: socket.socket, allowed: Sequence[IPv4Network]) -> None:
        """Answer SIP calls on a UDP port, which is closed with the door."""
        self._sip = SipServer(self.answer, allowed, self._calls.admit)
        await self._sip.listen(port)

    def puts_through(self, called: str) -> bool:
        """Whether who answers that number may put callers through."""
        with suppress(ConfigError):
            return bool(self._persona_for(called).transfers)
        return False

    async def close(self) -> None:
        """Hang up all SIP calls. Idempotent."""
        if self._sip is not None:
            await self._sip.close()

    async def answer(
        self, called: str, to_screen: Callable[[Any], None] = lambda message: None
    ) -> Conversation:
        """A conversation, not started yet, with whoever answers `called`.

        Raises:
            EngineFull: One more call would not be served well.
            ConfigError: Nobody answers that number.
        """
        return self._calls.answer_phone(self._persona_for(called), to_screen)
