"""One caller's stream to a remote recogniser, whatever the wire looks like."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

import numpy as np
from loguru import logger

from asr.interface import SAMPLE_RATE_HZ, Hypothesis
from asr.remote.words import ArrivingWords
from common.errors import RemoteError
from common.pcm import to_pcm16

# After a flush the last words arrive in a burst: this long without any means that was all.
_SETTLED_S = 0.25
_FLUSH_LIMIT_S = 2.0
# Audio that waits because the network is slower than speech; beyond this the link is dead.
_BACKLOG_LIMIT_SAMPLES = 30 * SAMPLE_RATE_HZ
# Proxies and servers end long sessions; a connection that breaks sooner than this was never healthy.
_HEALTHY_AFTER_S = 30.0


class Wire(Protocol):
    """A connection to a recogniser: audio out, text back."""

    async def send(self, pcm16: bytes) -> None:
        """Send 16-bit mono PCM at 16 kHz."""

    async def flush(self) -> None:
        """Ask for the words still held back."""

    def text(self) -> AsyncIterator[str]:
        """Yield each piece of text, possibly empty.

        Raises:
            RemoteError: The server reported an error.
        """

    async def close(self) -> None:
        """Hang up. Idempotent."""


class RemoteAsrStream:
    """See `asr.interface.AsrStream`. A connection that breaks is replaced.

    Args:
        wire: The connection.
        reconnect: Makes another one.
        delay_ms: How far the server's words lag behind the voice.
    """

    def __init__(self, wire: Wire, reconnect: Callable[[], Awaitable[Wire]], *, delay_ms: int):
        self._wire, self._reconnect = wire, reconnect
        self._replacing, self._replaced_s = asyncio.Lock(), -math.inf
        self._words = ArrivingWords(delay_ms * SAMPLE_RATE_HZ // 1000)
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._events: asyncio.Queue[Hypothesis | RemoteError | None] = asyncio.Queue()
        self._fed_samples = 0
        self._sent_samples = 0
        self._last_text_s = 0.0
        self._failure: RemoteError | None = None
        self._closed = False
        self._tasks = [
            asyncio.create_task(self._until_it_fails(direction))
            for direction in (self._send, partial(self._on_wire, self._receive))
        ]

    def feed(self, pcm: np.ndarray) -> None:
        self._fed_samples += len(pcm)
        if self._fed_samples - self._sent_samples > _BACKLOG_LIMIT_SAMPLES:
            self._fail(RemoteError("The recogniser's connection is too slow.", "Use local ears."))
        if self._failure is None and len(pcm):
            self._outgoing.put_nowait(to_pcm16(pcm))

    async def events(self) -> AsyncIterator[Hypothesis]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, RemoteError):
                raise event
            yield event

    async def flush(self) -> Hypothesis:
        if self._failure is None:
            self._outgoing.put_nowait(None)
            with suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_LIMIT_S):
                    await self._outgoing.join()
                    await self._settle()
        return self._words.hypothesis(self._sent_samples, final=True)

    def commit(self, upto_samples: int) -> None:
        self._words.commit(upto_samples)

    async def close(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(Exception):
            await self._wire.close()
        self._events.put_nowait(None)

    async def _settle(self) -> None:
        """Wait until no more words come."""
        self._last_text_s = now_s = time.monotonic()
        while self._failure is None and now_s < self._last_text_s + _SETTLED_S:
            await asyncio.sleep(self._last_text_s + _SETTLED_S - now_s)
            now_s = time.monotonic()

    async def _send(self) -> None:
        while True:
            pcm16 = await self._outgoing.get()
            try:
                await self._on_wire(partial(self._put, pcm16))
            finally:
                self._outgoing.task_done()

    async def _put(self, pcm16: bytes | None, wire: Wire) -> None:
        if pcm16 is None:
            await wire.flush()
        else:
            await wire.send(pcm16)
            self._sent_samples += len(pcm16) // 2

    async def _receive(self, wire: Wire) -> None:
        async for text in wire.text():
            if self._words.add(text, self._sent_samples):
                self._last_text_s = time.monotonic()
                self._events.put_nowait(self._words.hypothesis(self._sent_samples))
        raise ConnectionResetError("the server hung up")

    async def _on_wire(self, work: Callable[[Wire], Awaitable[None]]) -> None:
        """Do what needs the connection; when it breaks, again on the next."""
        while True:
            wire = self._wire
            try:
                return await work(wire)
            except RemoteError:
                raise  # the server said why: asking another time changes nothing
            except Exception as error:
                await self._replace(wire, error)

    async def _replace(self, broken: Wire, why: Exception) -> None:
        async with self._replacing:
            if self._wire is not broken:
                return  # the other direction has noticed first
            now_s = time.monotonic()
            if now_s < self._replaced_s + _HEALTHY_AFTER_S or self._closed:
                raise why
            self._replaced_s = now_s
            logger.warning("the recogniser's connection broke ({}), connecting anew", why)
            with suppress(Exception):
                await broken.close()
            self._wire = await self._reconnect()
            self._words.add(" ", self._sent_samples)  # it knows nothing of a word half said

    async def _until_it_fails(self, direction: Callable[[], Awaitable[None]]) -> None:
        try:
            await direction()
        except Exception as error:
            self._fail(_as_remote(error))

    def _fail(self, error: RemoteError) -> None:
        """Report a failure once; audio that can no longer be sent must not block a flush."""
        if self._failure is None and not self._closed:
            self._failure = error
            self._events.put_nowait(error)
        while not self._outgoing.empty():
            self._outgoing.get_nowait()
            self._outgoing.task_done()


def _as_remote(error: Exception) -> RemoteError:
    if isinstance(error, RemoteError):
        return error
    return RemoteError(f"The recogniser's connection broke ({error}).", "Is the server still up?")
