"""The telephone options of `parley serve`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from common.errors import ConfigError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pipelines.phone.door import PhoneDoor
    from web.settings import WebSettings


@dataclass(frozen=True, slots=True)
class PhonePlan:
    """Where telephones come in.

    Attributes:
        sip: Address and port of a SIP endpoint; None for none.
        sip_allow: Networks that may call it; empty for any that can reach it.
        carrier_token: Part of the carriers' addresses; empty when no carrier may call.
    """

    sip: tuple[str, int] | None
    sip_allow: tuple[IPv4Network, ...]
    carrier_token: str

    @classmethod
    def read(cls, sip: str, sip_allow: Sequence[str], carrier_token: str) -> PhonePlan:
        """Understand the options.

        Raises:
            ConfigError: An address or a network is malformed.
        """
        host, _, port = sip.rpartition(":")
        if sip and not (host and port.isdecimal() and 0 < int(port) < 65_536):
            raise ConfigError(f"--sip {sip} is no HOST:PORT.", "For example --sip 127.0.0.1:5060.")
        try:
            networks = tuple(map(IPv4Network, sip_allow))
        except ValueError as error:
            raise ConfigError(f"--sip-allow: {error}.", "For example 192.168.1.0/24.") from error
        return cls((host, int(port)) if sip else None, networks, carrier_token)

    async def open(self, door: PhoneDoor, app: FastAPI, settings: WebSettings) -> None:
        """Open what was asked for.

        Raises:
            ParleyError: The SIP port is taken.
        """
        if self.sip is not None:
            await door.listen_sip(*self.sip, self.sip_allow)
        if self.carrier_token:
            from web.phone import phone_routes

            app.include_router(phone_routes(door.take_carrier_call, self.carrier_token, settings))
