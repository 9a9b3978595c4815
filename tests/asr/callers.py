"""Several callers of one engine, talking at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import torch

from asr.engine import VoxtralRealtimeEngine


async def overheard(
    engine: VoxtralRealtimeEngine, clips: Sequence[torch.Tensor]
) -> list[list[int]]:
    """The tokens of callers who begin one after the other and ask for final words all along."""

    async def call(clip: torch.Tensor, wait_s: float) -> list[int]:
        await asyncio.sleep(wait_s)
        stream, flushes = await engine.open(), []
        for start in range(0, len(clip), 1000):
            stream.feed(clip[start : start + 1000].numpy())
            await asyncio.sleep(0.002)
            if start % 5000 == 0:
                flushes.append(asyncio.create_task(stream.flush()))
        await asyncio.gather(*flushes)
        await stream.flush()
        await stream.close()
        return stream.token_ids()

    return await asyncio.gather(*(call(clip, 0.01 * i) for i, clip in enumerate(clips)))
