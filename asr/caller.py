"""One caller's stream, as the event loop sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import numpy as np

from asr.batch import ListeningBatch, Seat
from asr.interface import Hypothesis
from asr.stream import Listener
from backbone.stepper import Stepper, deliver
from common.errors import ParleyError


class VoxtralRealtimeStream:
    """See `asr.interface.AsrStream`. Opened by `VoxtralRealtimeEngine.open`."""

    def __init__(self, batch: ListeningBatch, stepper: Stepper, listener: Listener):
        self._batch, self._stepper, self._listener = batch, stepper, listener
        self._loop = asyncio.get_running_loop()
        self._seat: Seat | None = None
        self._latest: Hypothesis | None = None
        self._tokens: list[int] = []
        self._upto_samples = 0
        self._news = asyncio.Event()
        self._flushes: set[asyncio.Future[Hypothesis]] = set()
        self._closed = False
        self._error: ParleyError | None = None

    @property
    def closed(self) -> bool:
        """Whether its slot is free again."""
        return self._closed

    async def join(self) -> None:
        """Take a row of the batch; one who is cancelled meanwhile keeps none."""
        await self._stepper.call(self._sit_down, undo=self._batch.leave)

    def feed(self, pcm: np.ndarray) -> None:
        """Take in audio: float32 mono at 16 kHz, any length. NaN and overshoot are mended.

        Raises:
            AudioError: Another dtype or more than one channel.
        """
        if not self._closed:
            self._listener.feed(pcm)
            self._stepper.wake()

    async def events(self) -> AsyncIterator[Hypothesis]:
        """Yield the latest hypothesis whenever it changes; a slow reader skips older ones.

        Raises:
            ParleyError: The engine failed.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            latest, self._latest = self._latest, None
            if latest is not None:
                yield latest.since(self._upto_samples)
            if self._error is not None:
                raise self._error
            if self._closed:
                return

    async def flush(self) -> Hypothesis:
        """Return the final words for all audio fed so far, by running a fork of the stream.

        Raises:
            ParleyError: The stream is closed or the engine failed.
        """
        if self._closed:
            raise self._error or ParleyError("The stream is closed.", "Open a new one.")
        answer: asyncio.Future[Hypothesis] = self._loop.create_future()
        self._flushes.add(answer)
        answer.add_done_callback(self._flushes.discard)

        def final(hypothesis: Hypothesis, tokens: list[int]) -> None:
            deliver(self._loop, self._answer, answer, hypothesis, tokens)

        self._stepper.post(lambda: self._batch.flush(self._seated(), final))
        return (await answer).since(self._upto_samples)

    def commit(self, upto_samples: int) -> None:
        """Forget words whose middle lies before `upto_samples`."""
        self._upto_samples = max(self._upto_samples, upto_samples)
        self._post(lambda: self._listener.forget(upto_samples))

    def token_ids(self) -> list[int]:
        """Raw tokens up to the last `flush`, one per 80 ms, the prompt excluded."""
        return self._tokens

    async def close(self) -> None:
        """Free the slot. Idempotent."""
        if self._closed:
            return
        self._post(lambda: self._batch.leave(self._seated()))
        self.end(None)

    def end(self, error: ParleyError | None) -> None:
        """No more events; whoever waits for a flush is told. From the event loop."""
        self._closed, self._error = True, error
        self._news.set()
        for answer in list(self._flushes):
            if not answer.done():
                answer.set_exception(error or ParleyError("The stream was closed meanwhile."))

    def fail(self, error: ParleyError) -> None:
        """As `end`, from the engine's thread."""
        deliver(self._loop, self.end, error)

    def _sit_down(self) -> Seat:
        # On the engine's thread, so that whatever is posted later finds the seat.
        self._seat = self._batch.join(self._listener, self._tell)
        return self._seat

    def _seated(self) -> Seat:
        assert self._seat is not None, "join first"
        return self._seat

    def _post(self, function: Callable[[], None]) -> None:
        if not self._closed:
            with suppress(ParleyError):  # an engine that has stopped keeps nothing of this stream
                self._stepper.post(function)

    def _tell(self, hypothesis: Hypothesis) -> None:
        deliver(self._loop, self._hear, hypothesis)

    def _hear(self, hypothesis: Hypothesis) -> None:
        self._latest = hypothesis
        self._news.set()

    def _answer(
        self, answer: asyncio.Future[Hypothesis], hypothesis: Hypothesis, tokens: list[int]
    ) -> None:
        self._tokens = tokens
        if not answer.done():
            answer.set_result(hypothesis)
