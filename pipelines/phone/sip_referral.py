"""What becomes of a call that the other side was asked to hand over (RFC 3515)."""

from __future__ import annotations

import asyncio
import re

from common.errors import ParleyError

_FIRST_NEWS_S = 10.0
_RINGS_S = 60.0  # whoever has not picked up by then will not


class Referral:
    """One REFER, from its answer to its last NOTIFY.

    Attributes:
        answered: The other side has accepted or refused it.
    """

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self._news: asyncio.Queue[int] = asyncio.Queue()

    def answer(self, status: int) -> None:
        """The REFER was answered; accepted, it is not done yet."""
        if status >= 300 and not self.answered.is_set():
            self._news.put_nowait(status)
        self.answered.set()

    def hear(self, fragment: str) -> None:
        """A NOTIFY brought the first line of what was answered to the other side's own call."""
        found = re.match(r"SIP/2\.0 (\d{3})", fragment)
        if found is not None:
            self._news.put_nowait(int(found[1]))

    async def outcome(self) -> None:
        """Wait until the caller talks to somebody else.

        Raises:
            ParleyError: It will not come to that.
        """
        wait_s = _FIRST_NEWS_S
        while self.answered.is_set():
            try:
                status = await asyncio.wait_for(self._news.get(), wait_s)
            except TimeoutError:
                break
            if status >= 300:
                raise ParleyError(f"The call was not handed over: {status}.")
            if status >= 200:
                return
            wait_s = _RINGS_S
        raise ParleyError("The call was not handed over: nothing more was heard of it.")
