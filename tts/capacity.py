"""How many speakers this machine can serve, by trying."""

from __future__ import annotations

import time

import torch
from loguru import logger

from tts.schedule import FRAME_S
from tts.speaking import SpeakingBatch, Start

BUSY_SHARE = 0.6
"""Of the 80 ms a frame lasts, how much a step of all speakers may take."""
_STEPS = 4


def capacity(batch: SpeakingBatch, voice: str, ids: tuple[int, ...]) -> int:
    """The most speakers that one step serves in time; at least one.

    Args:
        batch: Nobody speaks in it yet.
        voice: One it knows.
        ids: Some text units.
    """
    # On a CPU count the thread's own time: what else starts up beside us will soon be over.
    clock = time.thread_time if batch.hidden.device.type == "cpu" else time.monotonic
    powers = [1 << n for n in range(batch.rows.bit_length()) if 1 << n < batch.rows]
    found = 1
    for rows in (*powers, batch.rows):
        batch.begin([Start(row, voice, ids) for row in range(rows)])
        took_s = []
        for _ in range(_STEPS):
            begun_s = clock()
            batch.step(list(range(rows)), [torch.Generator()] * rows)
            took_s.append(clock() - begun_s)
        if min(took_s) > BUSY_SHARE * FRAME_S:
            break
        found = rows
    logger.debug("this machine serves {} voices at once", found)
    return found
