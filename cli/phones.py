"""The telephone options of `parley serve`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from ipaddress import IPv4Network
from socket import socket
from typing import TYPE_CHECKING
from urllib.parse import quote

from common.errors import ConfigError
from web.settings import WebSettings, is_loopback

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pipelines.phone.door import PhoneDoor


_CARRIER_TOKEN = re.compile(r"[A-Za-z0-9._~+=-]*")


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
    def read(
        cls, sip: str, sip_allow: Sequence[str], carrier_token: str, *, open_to_all: bool = False
    ) -> PhonePlan:
        """Understand the options.

        Raises:
            ConfigError: An address, a network or the token is malformed, networks are named for no
                SIP endpoint, or strangers could call although nobody said that they may.
        """
        host, _, port = sip.rpartition(":")
        if sip and not (host and port.isdecimal() and 0 < int(port) < 65_536):
            raise ConfigError(f"--sip {sip} is no HOST:PORT.", "For example --sip 127.0.0.1:5060.")
        if ":" in host:
            raise ConfigError(
                f"--sip {sip}: SIP is spoken over IPv4 only.", "Give such an address."
            )
        try:
            networks = tuple(map(IPv4Network, sip_allow))
        except ValueError as error:
            raise ConfigError(f"--sip-allow: {error}.", "For example 192.168.1.0/24.") from error
        if networks and not sip:
            raise ConfigError(
                "--sip-allow says who may call over SIP, but SIP is not answered.",
                "Add --sip HOST:PORT, or leave --sip-allow out.",
            )
        if not _CARRIER_TOKEN.fullmatch(carrier_token):  # not quoted: it is a key
            raise ConfigError(
                "PARLEY_PHONE_TOKEN holds a character that is special in an address, such as a slash.",
                "Make one of letters and digits: openssl rand -hex 16.",
            )
        plan = cls((host, int(port)) if sip else None, networks, carrier_token)
        if plan.is_open and not open_to_all:
            raise ConfigError(
                f"Strangers can reach --sip {sip}, and SIP asks nobody for a key.",
                "Name the network of your PBX with --sip-allow, or pass --open if anyone may call.",
            )
        return plan

    @property
    def is_open(self) -> bool:
        """Whether strangers may call over SIP."""
        return self.sip is not None and not self.sip_allow and not is_loopback(self.sip[0])

    def doors(self, settings: WebSettings) -> str:
        """Where telephones come in, in words for the operator; empty when they do not."""
        doors = []
        if self.sip is not None:
            networks = ", ".join(map(str, self.sip_allow))
            doors.append("sip:{}:{}".format(*self.sip) + (f" from {networks}" if networks else ""))
        if self.carrier_token:
            path = f"/phone/twilio/{quote(self.carrier_token, safe='')}"
            doors.append(f"{settings.address}{path} (or telnyx, plivo)")
        return " and ".join(doors)

    def listen(self) -> AbstractContextManager[socket | None]:
        """Take the SIP port, if there is to be one.

        Raises:
            ParleyError: It cannot be listened on.
        """
        from pipelines.phone.sip_wire import take_port

        return take_port(*self.sip) if self.sip else nullcontext()

    async def open(
        self, door: PhoneDoor, app: FastAPI, settings: WebSettings, sip_port: socket | None
    ) -> None:
        """Open what was asked for, SIP on the port that `listen` took."""
        if sip_port is not None:
            await door.listen_sip(sip_port, self.sip_allow)
        if self.carrier_token:
            from web.phone import phone_routes

            app.include_router(phone_routes(door, self.carrier_token, settings))
