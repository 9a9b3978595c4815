"""How late the event loop is: the one number that tells whether calls on it still sound right."""

from __future__ import annotations

import asyncio
from collections import deque

_PERIOD_S = 0.020
_WINDOW = 1_500  # half a minute
_FEWEST = 250


class LoopLag:
    """Samples by how much a 20 ms sleep overshoots; `start` it once per process."""

    def __init__(self) -> None:
        self._lags_s: deque[float] = deque(maxlen=_WINDOW)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin sampling on the running loop. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._sample(), name="loop lag")

    def stop(self) -> None:
        """Stop sampling. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    @property
    def known(self) -> bool:
        """Enough was sampled to judge by; starting up is slow and says nothing about calls."""
        return len(self._lags_s) >= _FEWEST

    def percentile_ms(self, percent: float) -> float:
        """The given percentile over the last half minute, milliseconds; 0 before the first sample."""
        if not self._lags_s:
            return 0.0
        ordered = sorted(self._lags_s)
        return 1000.0 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100.0))]

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before_s = loop.time()
            await asyncio.sleep(_PERIOD_S)
            self._lags_s.append(max(0.0, loop.time() - before_s - _PERIOD_S))
