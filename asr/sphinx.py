"""Ears without a download: pocketsphinx, whose wheel carries an English acoustic model.

The language model and dictionary are ours (`training/ears/language_model.py` made them): the wheel's
own have more words and take several times the work. One process per caller (see `asr.sphinx_worker`),
kept for the next caller when a call ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import numpy as np

from asr.interface import SAMPLE_RATE_HZ, AsrInfo, Hypothesis
from asr.sphinx_worker import HEADER, decode
from common.errors import ConfigError, EngineFull, RemoteError
from common.pcm import to_pcm16

_MAX_LINE_BYTES = 1 << 20
_CALLERS_PER_CORE = 3  # one takes 0.05 to 0.2 of a core, and only while speaking
_MOST_BEHIND_S = 1.0  # no second hearing takes so long where there is room for another caller
_REMEMBERED_S = 10.0  # who falls silent catches up, and is behind again with the next sentence
_CURE = "Run `parley doctor`; if it happens again, please report the log."


class SphinxStream:
    """One caller heard by pocketsphinx. See `asr.interface.AsrStream`."""

    def __init__(self, engine: SphinxEngine, worker: asyncio.subprocess.Process) -> None:
        self._engine = engine
        self._worker = worker
        self._news: asyncio.Queue[Hypothesis | None] = asyncio.Queue()
        self._flushes: dict[int, asyncio.Future[Hypothesis]] = {}
        self._flush_count = 0
        self._fed_samples = 0
        self._committed = 0
        self._closed = False
        self._failed = False
        self._reader = asyncio.create_task(self._read(), name="sphinx-answers")

    def feed(self, pcm: np.ndarray) -> None:
        """Take in audio: float32 mono at 16 kHz in [-1, 1], any length. Enqueues and returns."""
        if len(pcm):
            clean = np.nan_to_num(np.asarray(pcm, np.float32), posinf=1.0, neginf=-1.0)
            audio = to_pcm16(clean)
            self._fed_samples += len(pcm)
            self._send(b"A", len(audio), audio)

    async def events(self) -> AsyncIterator[Hypothesis]:
        """Yield each new hypothesis; ends after `close`.

        Raises:
            RemoteError: The recogniser's process died.
        """
        while (hypothesis := await self._news.get()) is not None:
            yield hypothesis.since(self._committed)
        if self._failed:
            raise RemoteError("The pocketsphinx process ended unexpectedly.", _CURE)

    async def flush(self) -> Hypothesis:
        """Return the final words for all audio fed so far; see `AsrStream.flush`.

        Raises:
            RemoteError: The stream is closed or its process died.
        """
        if self._closed or self._failed:
            raise RemoteError("This pocketsphinx stream has ended.", "Open another.")
        self._flush_count += 1
        answer = asyncio.get_running_loop().create_future()
        self._flushes[self._flush_count] = answer
        self._send(b"F", self._flush_count)
        return (await answer).since(self._committed)

    def commit(self, upto_samples: int) -> None:
        """Forget words that lie before `upto_samples` (by their middle)."""
        self._committed = max(self._committed, upto_samples)
        self._send(b"C", self._committed)

    async def close(self) -> None:
        """Hand the process back for the next caller. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader
        self._end()
        await self._engine._give_back(self, self._worker)

    def _send(self, command: bytes, number: int, payload: bytes = b"") -> None:
        stdin = self._worker.stdin
        if not self._closed and not self._failed and stdin is not None:
            stdin.write(HEADER.pack(command, number) + payload)

    async def _read(self) -> None:
        """Sort the worker's answers: flushes to who waits for them, the rest to `events`."""
        assert self._worker.stdout is not None
        while line := await self._worker.stdout.readline():
            hypothesis, flush_id = decode(line)
            self._engine._note_behind(self._fed_samples - hypothesis.heard_samples)
            if flush_id is None:
                self._news.put_nowait(hypothesis)
            elif not (answer := self._flushes.pop(flush_id)).done():
                answer.set_result(hypothesis)
        self._failed = True
        self._end()

    def _end(self) -> None:
        for answer in self._flushes.values():
            if not answer.done():
                answer.set_exception(RemoteError("The pocketsphinx stream ended.", "Open another."))
        self._flushes.clear()
        self._news.put_nowait(None)


class SphinxEngine:
    """pocketsphinx for several callers. See `asr.interface.AsrEngine`.

    Args:
        max_streams: Callers at once; by default three per CPU core.
    """

    failure = ""  # a process that ends takes one caller with it

    def __init__(self, *, max_streams: int | None = None) -> None:
        self._max_streams = max_streams or _CALLERS_PER_CORE * (os.cpu_count() or 1)
        self._idle: list[asyncio.subprocess.Process] = []
        self._open: set[SphinxStream] = set()
        self._starting = 0
        self._behind_at_s = float("-inf")
        self._closed = False

    @property
    def info(self) -> AsrInfo:
        """Name, place and limits, for people."""
        return AsrInfo(
            name="pocketsphinx (our LM)",
            where="this machine, CPU",
            delay_ms=0,
            limits="English only, a small vocabulary; a clear voice close to the microphone in a quiet room",
            extra={"max_streams": str(self._max_streams)},
        )

    @property
    def refusal(self) -> str:
        """Why `open` would refuse one more caller at this moment; empty when it would not."""
        if len(self._open) + self._starting >= self._max_streams:
            return f"All {self._max_streams} pocketsphinx ears are listening."
        if self._open and time.monotonic() - self._behind_at_s < _REMEMBERED_S:
            return "The machine is too busy for pocketsphinx to keep up with its callers."
        return ""

    async def warm_up(self) -> None:
        """Start one process ahead of the first caller, who would be connected the later for it.

        Raises:
            RemoteError: It did not start.
        """
        if not self._idle and not self._open:
            self._idle.append(await self._start())

    async def open(
        self, *, delay_ms: int | None = None, language: str | None = None
    ) -> SphinxStream:
        """Open a stream for one caller; `delay_ms` has no meaning here and is ignored.

        Raises:
            EngineFull: `max_streams` callers are being heard already, or one of them too late.
            ConfigError: A language other than English was asked for.
            RemoteError: The process did not start.
        """
        if language is not None and not language.lower().startswith("en"):
            raise ConfigError(
                f"pocketsphinx hears English only, not {language!r}.",
                "Use the 4B checkpoint, a remote URL or Mistral's API for other languages.",
            )
        if self._closed:
            raise RemoteError("The pocketsphinx engine is closed.", "Open another.")
        if refusal := self.refusal:
            raise EngineFull(refusal)
        self._starting += 1
        try:
            worker = self._living() or await self._start()
        finally:
            self._starting -= 1
        if self._closed:  # meanwhile
            await _stop(worker)
            raise RemoteError("The pocketsphinx engine is closed.", "Open another.")
        stream = SphinxStream(self, worker)
        self._open.add(stream)
        return stream

    async def close(self) -> None:
        """End every stream and process. Idempotent."""
        self._closed = True
        for stream in list(self._open):
            await stream.close()
        for worker in self._idle:
            await _stop(worker)
        self._idle.clear()

    def _note_behind(self, samples: int) -> None:
        """How much of a caller's audio was not heard yet when an answer came."""
        if samples > _MOST_BEHIND_S * SAMPLE_RATE_HZ:
            self._behind_at_s = time.monotonic()

    def _living(self) -> asyncio.subprocess.Process | None:
        """A process that waits for a caller; one that died while waiting is forgotten."""
        while self._idle:
            if (worker := self._idle.pop()).returncode is None:
                return worker
        return None

    async def _start(self) -> asyncio.subprocess.Process:
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "asr.sphinx_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C is for the server, which lets calls finish
        )
        assert worker.stdout is not None
        try:
            ready = await worker.stdout.readline()
        except asyncio.CancelledError:  # whoever wanted it is gone
            worker.kill()
            raise
        if not ready:
            raise RemoteError("The pocketsphinx process did not start.", _CURE)
        return worker

    async def _give_back(self, stream: SphinxStream, worker: asyncio.subprocess.Process) -> None:
        """Reset a worker for the next caller and wait until it has forgotten the last one."""
        self._open.discard(stream)
        if self._closed or worker.returncode is not None or _is_behind(worker):
            await _stop(worker)
            return
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(HEADER.pack(b"R", 0) + HEADER.pack(b"F", 0))
        while line := await worker.stdout.readline():
            if decode(line)[1] == 0:
                self._idle.append(worker)
                return
        await _stop(worker)


def _is_behind(worker: asyncio.subprocess.Process) -> bool:
    """Whether audio waits that its pipe had no room for: two seconds' worth is in there already."""
    return worker.stdin is not None and worker.stdin.transport.get_write_buffer_size() > 0


async def _stop(worker: asyncio.subprocess.Process) -> None:
    """Close the worker's input, which ends it, and wait; nobody wants the words it is behind with."""
    if worker.returncode is None and _is_behind(worker):
        worker.kill()
    if worker.stdin is not None:
        worker.stdin.close()
    await worker.wait()
