"""The process's media thread: Opus is coded here, off the event loop and off its default executor.

aiortc would encode in the default executor, where any blocking library call delays every packet of
every call. One thread carries dozens of calls: a frame takes a fraction of a millisecond.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache


@cache
def media_thread() -> ThreadPoolExecutor:
    """The one media thread, started on first use."""
    return ThreadPoolExecutor(1, thread_name_prefix="media")
