"""The clock of everything that sends 20 ms at a time."""

from __future__ import annotations

import asyncio

FRAME_S = 0.020
_LATEST_S = 0.060


class Pace:
    """An absolute schedule of one turn every 20 ms, begun by the first.

    A loop that stalls for longer than 60 ms skips ahead rather than catching up in a burst: the other
    side hears a gap either way, but nothing stays late for the rest of the call.
    """

    def __init__(self) -> None:
        self._due_s: float | None = None

    async def turn(self) -> int:
        """Wait until the next turn is due; returns how many were skipped before it."""
        now_s = asyncio.get_running_loop().time()
        due_s = now_s if self._due_s is None else self._due_s
        skipped = round((now_s - due_s) / FRAME_S) if now_s - due_s > _LATEST_S else 0
        due_s += skipped * FRAME_S
        await asyncio.sleep(max(0.0, due_s - now_s))
        self._due_s = due_s + FRAME_S
        return skipped
