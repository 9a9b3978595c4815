"""Calls that only remember what they were asked, and a client of a server around them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from common.errors import EngineFull
from tests.web.catalogue import CATALOGUE
from web.server import create_app
from web.settings import WebSettings


class Switchboard:
    """Answers every offer the way it is told to, and remembers what it was asked."""

    def __init__(self, *, most: int = 4, slow_s: float = 0.0, error: Exception | None = None):
        self.active = 0
        self.failure = ""
        self.asked: list[dict[str, Any]] = []
        self.candidates: list[dict[str, Any]] = []
        self._most, self._slow_s, self._error = most, slow_s, error

    def carries(self, pc_id: str) -> bool:
        return self.active > 0

    def admit(self) -> None:
        if self.active >= self._most:
            raise EngineFull(f"All {self._most} lines are busy.", 10)

    async def offer(self, sdp: str, kind: str, **asked: Any) -> dict[str, str]:
        self.admit()
        self.asked.append(asked)
        self.active += 1
        await asyncio.sleep(self._slow_s)
        if self._error:
            raise self._error
        return {"sdp": sdp, "type": "answer", "pc_id": f"call-{len(self.asked)}"}

    async def add_candidates(self, pc_id: str, candidates: Sequence[dict[str, Any]]) -> None:
        self.candidates += candidates

    async def close(self) -> None:
        self.active = 0


def client(calls: Switchboard, **settings: Any) -> httpx.AsyncClient:
    verify = settings.pop("verify", None)
    app = create_app(calls, CATALOGUE, WebSettings(**settings), verify=verify)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:7860")
