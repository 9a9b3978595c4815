"""The UDP port that SIP messages come and go by, and how one is sent until it is known to have arrived."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress

from common.errors import ParleyError
from pipelines.phone.sip_message import SipMessage, parse

Address = tuple[str, int]

_T1_S, _T2_S = 0.5, 4.0  # RFC 3261 17.1.1.1
_EVERYWHERE = "0.0.0.0"


def take_port(host: str, port: int) -> socket.socket:
    """Take a UDP port, before anything slow is loaded that could not be reached.

    Raises:
        ParleyError: It cannot be listened on.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise ParleyError(
            f"SIP cannot listen on {host}:{port}: {error.strerror}.",
            "Choose another port for --sip."
            if error.errno in (errno.EADDRINUSE, errno.EACCES)
            else "Check --sip: it must be an IPv4 address of this machine.",
        ) from error
    return held


class SipWire(asyncio.DatagramProtocol):
    """One port, and everything that is said over it.

    Attributes:
        host: Where it listens; empty before it does.
        port: Likewise.
    """

    def __init__(self, on_message: Callable[[SipMessage, Address], None]):
        """Create it; `listen` makes it reachable.

        Args:
            on_message: Is told what comes, and from where; never of junk.
        """
        self.host, self.port = "", 0
        self._on_message = on_message
        self._transport: asyncio.DatagramTransport | None = None

    async def listen(self, port: socket.socket) -> None:
        """Take what comes in on a UDP port, and close it in the end."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=port)
        self._transport = transport
        self.host, self.port = transport.get_extra_info("sockname")[:2]

    def close(self) -> None:
        """Free the port. Idempotent."""
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """One message; junk gets no answer."""
        message = parse(data)
        if message is not None:
            self._on_message(message, addr)

    def send(self, data: bytes, to: Address) -> None:
        """Put a datagram on the wire."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, to)

    async def repeat(
        self, data: bytes, to: Address, arrived: asyncio.Event, *, most_t1: int = 64
    ) -> None:
        """Send again what was sent until it has arrived (RFC 3261 13.3.1.4, 17.1.2.2, 17.2.1).

        Args:
            data: The datagram.
            to: Where it went.
            arrived: Set when the other side shows that it has it.
            most_t1: When to give up, in units of T1 (0.5 s).
        """
        wait_s, waited_s = _T1_S, 0.0
        while not arrived.is_set() and waited_s < most_t1 * _T1_S:
            if waited_s:
                self.send(data, to)
            with suppress(TimeoutError):
                await asyncio.wait_for(arrived.wait(), wait_s)
            waited_s += wait_s
            wait_s = min(2 * wait_s, _T2_S)

    def host_towards(self, addr: Address) -> str:
        """Our address for the other side: of all those we listen on, the one its route begins at."""
        if self.host != _EVERYWHERE:
            return self.host
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(addr)  # sends nothing
            return str(probe.getsockname()[0])

    def contact_towards(self, addr: Address) -> str:
        """How the other side reaches us."""
        return f"<sip:parley@{self.host_towards(addr)}:{self.port}>"
