"""Whether one more call can be served well: lines free, event loop on time, not shutting down."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from web.errors import Refused
from web.settings import WebSettings

_TICK_S = 0.05
_REMEMBERED = 200  # ten seconds of ticks


class LoopLag:
    """How late the event loop wakes up, sampled every 50 ms. Media timing suffers by the same."""

    def __init__(self, observe_s: Callable[[float], None]):
        self._observe_s = observe_s
        self._lags_s: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def p95_ms(self) -> float:
        """Over the last ten seconds."""
        ordered = sorted(self._lags_s)
        return ordered[int(len(ordered) * 0.95)] * 1000 if ordered else 0.0

    async def watch(self) -> None:
        """Sample until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            lag_s = max(0.0, loop.time() - due_s)
            self._lags_s.append(lag_s)
            self._observe_s(lag_s)


class Admission:
    """Counts lines, including those whose offer is still being answered."""

    def __init__(self, settings: WebSettings, active: Callable[[], int], lag: LoopLag):
        self._settings = settings
        self._active = active
        self._lag = lag
        self._opening = 0
        self.draining = False

    def check(self) -> None:
        """Raise unless a new call would be served well.

        Raises:
            Refused: 503 with a hint when to try again.
        """
        settings = self._settings
        if self.draining:
            raise Refused(503, "The server is shutting down.", "Call again soon.", retry_after_s=30)
        if self._active() + self._opening >= settings.max_calls:
            lines = (
                f"all {settings.max_calls} lines are" if settings.max_calls > 1 else "the line is"
            )
            raise Refused(503, f"Sorry, {lines} taken.", "Try again shortly.", retry_after_s=10)
        if self._lag.p95_ms > settings.max_loop_lag_ms:
            cause = "The server is too busy to keep another conversation fluent."
            raise Refused(503, cause, "Try again shortly.", retry_after_s=10)

    @asynccontextmanager
    async def line(self) -> AsyncIterator[None]:
        """Hold a line while a call is being opened.

        Raises:
            Refused: As `check`.
        """
        self.check()
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1
