"""Running the server: SIGTERM or Ctrl-C lets calls finish, a second one does not wait."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from loguru import logger

from common.errors import ParleyError
from web.settings import WebSettings


def listen(settings: WebSettings) -> socket.socket:
    """Take the port, before anything slow is loaded that could not be reached.

    Raises:
        ParleyError: It cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=128)
    except OSError as error:
        number = error.errno or 0  # of an unknown name it is negative
        why = os.strerror(number) if number > 0 else str(error.strerror)
        raise ParleyError(
            f"Port {settings.port} of {settings.host} cannot be listened on: {why.lower()}.",
            {
                errno.EADDRINUSE: "Another program holds it, perhaps a Parley; choose another --port.",
                errno.EACCES: "Ports below 1024 are for the system; choose another --port.",
            }.get(number, "Check --host: it must be an address of this machine."),
        ) from error


class DrainingServer(uvicorn.Server):
    """Serves until told to stop, then until its calls are over."""

    def __init__(
        self,
        app: FastAPI,
        *,
        drain: Callable[[], Awaitable[None]],
        on_ready: Callable[[], None] = lambda: None,
    ):
        """Create it.

        Args:
            app: What to serve.
            drain: Waits for the calls to end.
            on_ready: Called when the port is open.
        """
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                log_level="warning",  # below it tells carriers' addresses, which hold a secret
                ws="websockets-sansio",
                timeout_graceful_shutdown=2,
                server_header=False,
            )
        )
        self._drain = drain
        self._on_ready = on_ready
        self._stopping: asyncio.Task[None] | None = None

    async def run_until_stopped(self, port: socket.socket) -> None:
        """Serve on `port`; returns when the last call is over after a signal, or at the second signal."""
        self._loop = asyncio.get_running_loop()
        await self.serve([port])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn before it serves."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn at SIGINT and SIGTERM."""
        if self._stopping is not None:
            self.should_exit = True
            return
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._stopping is None:
            logger.info("stopping: calls under way may finish, no new ones are taken")
            self._stopping = asyncio.create_task(self._finish())

    async def _finish(self) -> None:
        await self._drain()
        self.should_exit = True
