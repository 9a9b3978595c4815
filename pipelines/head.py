"""The head of a call's pipeline: frames leave from here in the order in which things were decided."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    LLMMessagesTransformFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
    SystemFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipelines.memory import Messages, sure


class Head(FrameProcessor):
    """Stands where a transport would. Audio never enters the pipeline; only what it means does."""

    def __init__(self, to_client: Callable[[Any], None]):
        """Create it.

        Args:
            to_client: Sends a message (RTVI) to the caller's screen.
        """
        super().__init__()
        self._to_client = to_client
        self._outbox: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def put(self, *frames: Frame) -> None:
        """Send frames downstream, in this order; returns at once."""
        for frame in frames:
            self._outbox.put_nowait(frame)

    def interrupt(self) -> None:
        """Cancel the running reply; what was put before is on its way already."""
        self._outbox.put_nowait(None)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass frames on; messages for the client leave here."""
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputTransportMessageFrame | OutputTransportMessageUrgentFrame):
            self._to_client(frame.message)
            return
        if isinstance(frame, EndFrame | CancelFrame):
            await self._stop()
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self._task = self.create_task(self._send(), "head")

    async def cleanup(self) -> None:
        """Stop sending."""
        await self._stop()
        await super().cleanup()

    async def _send(self) -> None:
        while True:
            frame = await self._outbox.get()
            if frame is None or isinstance(frame, SystemFrame):
                await self._arrival()
            if frame is None:
                await self.broadcast_interruption()
            else:
                await self.push_frame(frame)

    async def _arrival(self) -> None:
        """Wait until the user aggregator has dealt with what was put before: a system frame overtakes."""
        arrived = asyncio.Event()

        def note(messages: Messages) -> Messages:
            arrived.set()
            return messages

        await self.push_frame(sure(LLMMessagesTransformFrame(note)))
        await arrived.wait()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await self.cancel_task(task)
