"""Files about calls: what people said is nobody else's to read, and no call waits for the disk."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from pathlib import Path

from loguru import logger

_LAST_WORDS_S = 10.0  # for a slow disk, once the call is over


def only_ours(path: str, flags: int) -> int:
    """An `opener` for `open`: a file that is made is readable by its owner alone."""
    return os.open(path, flags, 0o600)


async def wait_until_written(written: Future[None], path: Path) -> None:
    """Let the thread that writes a file finish it; a disk that hangs is not waited for."""
    try:
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(written)), _LAST_WORDS_S)
    except TimeoutError:
        logger.error("{} is not finished: its disk does not answer", path)
