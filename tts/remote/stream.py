"""One utterance spoken by a remote synthesiser, clause by clause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import numpy as np

from common.errors import EngineFull, ParleyError, RemoteError
from tts.estimate import EstimatedWords
from tts.interface import FRAME_SAMPLES, SpeechFrame

# Clause text → float32 audio at 24 kHz in portions of any size.
Synthesise = Callable[[str], AsyncIterator[np.ndarray]]
# Asking for the next clause while one is still arriving hides the server's first-byte time.
_REQUESTS_AHEAD = 2
# A server that is full or restarts for a moment must not cost the caller the rest of a reply.
_ASK_AGAIN_FOR_S, _ASK_AGAIN_AFTER_S = 2.0, 0.2


class RemoteSpeechStream:
    """See `tts.interface.SpeechStream`. Word times are estimated: the servers send none."""

    def __init__(self, synthesise: Synthesise):
        self._synthesise = synthesise
        self._clauses: asyncio.Queue[_Clause | None] = asyncio.Queue()
        self._gate = asyncio.Semaphore(_REQUESTS_AHEAD)
        self._requests: set[asyncio.Task[None]] = set()
        self._cancelled = False

    def write(self, text: str) -> None:
        if text.strip() and not self._cancelled:
            clause = _Clause(text)
            task = asyncio.create_task(self._request(clause))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
            self._clauses.put_nowait(clause)

    def end_text(self) -> None:
        self._clauses.put_nowait(None)

    def cancel(self) -> None:
        self._cancelled = True
        for task in self._requests:
            task.cancel()
        self._clauses.put_nowait(None)

    async def frames(self) -> AsyncIterator[SpeechFrame]:
        start = 0
        while (clause := await self._clauses.get()) is not None and not self._cancelled:
            words = EstimatedWords(clause.text, start)
            async for pcm, last in clause.frames():
                if self._cancelled:
                    return
                end = start + len(pcm)
                yield SpeechFrame(pcm, start, words.finish(end) if last else words.until(end))
                start = end

    async def _request(self, clause: _Clause) -> None:
        try:
            async with self._gate:
                await self._fetch(clause)
            clause.portions.put_nowait(None)
        except asyncio.CancelledError:
            clause.portions.put_nowait(None)
            raise
        except ParleyError as error:
            clause.portions.put_nowait(error)
        except Exception as error:
            clause.portions.put_nowait(
                RemoteError(f"The synthesiser's answer broke off ({error}).", "Is it still up?")
            )

    async def _fetch(self, clause: _Clause) -> None:
        """Take in a clause's audio; until some of it is there, the server is asked again for a while."""
        loop = asyncio.get_running_loop()
        patient_until_s = loop.time() + _ASK_AGAIN_FOR_S
        n_samples = 0
        while not n_samples:
            try:
                async for pcm in self._synthesise(clause.text):
                    clause.portions.put_nowait(pcm)
                    n_samples += len(pcm)
            except (EngineFull, httpx.TransportError):
                if n_samples or loop.time() >= patient_until_s:
                    raise
                await asyncio.sleep(_ASK_AGAIN_AFTER_S)
            else:
                if not n_samples:
                    raise RemoteError("The synthesiser sent no audio.", "See the server's log.")


class _Clause:
    """The audio of one clause on its way."""

    def __init__(self, text: str):
        self.text = text
        self.portions: asyncio.Queue[np.ndarray | ParleyError | None] = asyncio.Queue()

    async def frames(self) -> AsyncIterator[tuple[np.ndarray, bool]]:
        """Yield (at most 80 ms of audio, whether it is the clause's last); whole frames leave at once."""
        held = np.zeros(0, np.float32)
        while (portion := await self.portions.get()) is not None:
            if isinstance(portion, ParleyError):
                if len(held):
                    yield held, False  # it broke off: the words still to come were never spoken
                raise portion
            held = np.concatenate([held, portion])
            # One frame stays behind until more audio shows that it is not the last.
            while len(held) > FRAME_SAMPLES:
                yield held[:FRAME_SAMPLES], False
                held = held[FRAME_SAMPLES:]
        if len(held):
            yield held, True
