"""Running the server: SIGTERM or Ctrl-C lets calls finish, a second one does not wait."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from loguru import logger

from common.errors import ParleyError
from web.settings import WebSettings


class DrainingServer(uvicorn.Server):
    """Serves until told to stop, then until its calls are over."""

    def __init__(
        self,
        app: FastAPI,
        settings: WebSettings,
        *,
        drain: Callable[[], Awaitable[None]],
        on_ready: Callable[[], None] = lambda: None,
    ):
        """Create it.

        Args:
            app: What to serve.
            settings: Where.
            drain: Waits for the calls to end.
            on_ready: Called when the port is open.
        """
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                ws="websockets-sansio",
                timeout_graceful_shutdown=2,
                server_header=False,
            )
        )
        self._drain = drain
        self._on_ready = on_ready
        self._stopping: asyncio.Task[None] | None = None

    async def run_until_stopped(self) -> None:
        """Serve; returns when the last call is over after a signal, or at the second signal.

        Raises:
            ParleyError: The port cannot be listened on.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self.serve()
        except SystemExit as error:  # how uvicorn gives up on a port
            raise ParleyError(
                f"Port {self.config.port} of {self.config.host} cannot be listened on.",
                "Another program may hold it; choose another with --port.",
            ) from error

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
