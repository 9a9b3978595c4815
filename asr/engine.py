"""Voxtral Realtime for many callers: one thread, one model, all of them one batch.

A decision is made for everyone who has 80 ms of audio ready; streams join and leave between two
steps, and what one says never depends on its neighbours. A caller who could not be served in time
is refused at the door.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from loguru import logger

from asr.batch import ListeningBatch
from asr.caller import VoxtralRealtimeStream
from asr.checkpoint import load_model
from asr.config import TOKEN_MS, TOKEN_SAMPLES, delay_tokens
from asr.graphs import GraphedSteps
from asr.interface import AsrInfo
from asr.model import VoxtralRealtime
from asr.state import StreamState
from asr.steps import CONTEXT_SAMPLES, Steps
from asr.stream import Listener
from asr.words import StreamingIds
from backbone.cuda import memory_for, rows_that_fit
from backbone.stepper import Stepper, on_one_core
from backbone.tekken import Tekken
from common.errors import EngineFull, ParleyError

BUSY_SHARE = 0.6
"""Of the 80 ms between decisions, how much a step of all callers may take."""
MAX_STREAMS = {"cpu": 32, "cuda": 128}
FORK_ROWS = {"cpu": 4, "cuda": 2}
_PROBE_ROWS, _PROBE_STEPS = 4, 5
_ENOUGH_STEPS = 32


@dataclass(frozen=True, slots=True)
class AsrMetrics:
    """How the engine is doing.

    Attributes:
        streams: Open streams.
        max_streams: How many there may be.
        step_ms: Durations of recent steps.
        batch_sizes: Streams and forks served by each of them.
        lag_ms: At each of them, how far the furthest-behind stream was behind its audio.
    """

    streams: int
    max_streams: int
    step_ms: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    lag_ms: tuple[int, ...]


class VoxtralRealtimeEngine:
    """See `asr.interface.AsrEngine`. Open one with `load`."""

    def __init__(
        self,
        model: VoxtralRealtime,
        tekken: Tekken,
        *,
        name: str,
        delay_ms: int | None = None,
        max_streams: int | None = None,
    ):
        """Take over a model.

        Args:
            model: On its device.
            tekken: Its tokenizer; states the default delay and the left padding.
            name: For people.
            delay_ms: Default delay of a stream; None for the checkpoint's.
            max_streams: Callers at once; None for as many as this machine serves in time, measured.

        Raises:
            CheckpointError: The tokenizer is not that of a streaming model.
            ParleyError: The GPU's memory has no room for the streams.
            ValueError: `delay_ms` is not a multiple of 80 from 80 to 2,400.
        """
        self._tekken, self._name = tekken, name
        self._delay_ms = delay_ms or int(tekken.audio.get("transcription_delay_ms", 480))
        delay = delay_tokens(self._delay_ms)
        tekken.must_fit(model.config.decoder.vocab_size)
        self._steps = _make_steps(model, tekken, max_streams)
        kind = self._steps.device.type
        self._batch = ListeningBatch(self._steps, FORK_ROWS[kind])
        self._max_streams = max_streams or MAX_STREAMS[kind]
        self._streams: set[VoxtralRealtimeStream] = set()
        measured = _probe(self._steps, FORK_ROWS[kind], delay)
        if max_streams is None:
            self._max_streams = min(measured, self._steps.rows - FORK_ROWS[kind])
            logger.info("{} serves up to {} callers here", name, self._max_streams)
        self._stepper = Stepper(name, self._batch.step, failed=self._failed)

    @classmethod
    @on_one_core
    @memory_for("the ears")
    def load(
        cls,
        folder: str | Path,
        *,
        delay_ms: int | None = None,
        max_streams: int | None = None,
        device: str | None = None,
    ) -> Self:
        """Open a checkpoint folder; takes seconds, so not on an event loop.

        Args:
            folder: Holds `params.json`, the weights and `tekken.json`.
            delay_ms: Default delay of a stream; None for the checkpoint's.
            max_streams: Callers at once; None measures.
            device: `cpu` or `cuda`; None takes the GPU when there is one. A GPU runs bfloat16, a
                CPU float32, which is faster there for models that a CPU can run at all.

        Raises:
            CheckpointError: The folder does not hold what its parameters promise.
            ParleyError: The GPU's memory has no room for the model or the streams.
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        tekken = Tekken.load(Path(folder) / "tekken.json")
        model = load_model(folder, device=device, dtype=dtype)
        name = f"Voxtral Realtime ({Path(folder).name})"
        return cls(model, tekken, name=name, delay_ms=delay_ms, max_streams=max_streams)

    @property
    def info(self) -> AsrInfo:
        """Name, place and limits, for people."""
        return AsrInfo(
            name=self._name,
            where=f"this machine ({self._steps.device.type})",
            delay_ms=self._delay_ms,
            limits=f"up to {self._max_streams} callers at once",
            extra={"max_streams": str(self._max_streams)},
        )

    @property
    def refusal(self) -> str:
        """Why `open` would refuse one more caller at this moment; empty when it would not."""
        return self._stepper.why_stopped or self._why_full()

    @property
    def failure(self) -> str:
        """Why it serves nobody any more until Parley is started again; empty while it works."""
        return self._stepper.why_stopped

    async def open(
        self, *, delay_ms: int | None = None, language: str | None = None
    ) -> VoxtralRealtimeStream:
        """Open a stream for one caller. The language is the model's to find out.

        Raises:
            EngineFull: One more caller could not be served in time.
            ValueError: `delay_ms` is not a multiple of 80 from 80 to 2,400.
        """
        delay = delay_tokens(delay_ms or self._delay_ms)
        if why := self._why_full():
            raise EngineFull(why)
        listener = Listener.on(self._steps, self._tekken, delay)
        stream = VoxtralRealtimeStream(self._batch, self._stepper, listener)
        self._streams.add(stream)
        try:
            await stream.join()
        except BaseException:
            self._streams.discard(stream)
            raise
        return stream

    def metrics(self) -> AsrMetrics:
        """A snapshot."""
        batch = self._batch
        return AsrMetrics(
            streams=len(batch.seats),
            max_streams=self._max_streams,
            step_ms=tuple(batch.step_ms.copy()),
            batch_sizes=tuple(batch.sizes.copy()),
            lag_ms=tuple(tokens * TOKEN_MS for tokens in batch.lag_tokens.copy()),
        )

    async def close(self) -> None:
        """Stop the engine's thread; open streams end. Idempotent."""
        for stream in self._streams:
            await stream.close()
        await self._stepper.close()

    def _why_full(self) -> str:
        """Why one more caller could not be served in time; empty when one could."""
        self._streams = {stream for stream in self._streams if not stream.closed}
        if len(self._streams) >= self._max_streams:
            return f"{self._name} already serves {len(self._streams)} callers."
        recent_ms = list(self._batch.step_ms)[-_ENOUGH_STEPS:]
        typical_ms = statistics.median(recent_ms) if self._streams and recent_ms else 0.0
        if typical_ms > TOKEN_MS:
            return f"{self._name} needs {typical_ms:.0f} ms for each 80 ms of audio."
        return ""

    def _failed(self, error: Exception) -> None:
        failure = ParleyError(f"{self._name} failed: {error!r}.", "Restart it.")
        for stream in list(self._streams):
            stream.fail(failure)


def _make_steps(model: VoxtralRealtime, tekken: Tekken, max_streams: int | None) -> Steps:
    """Room for as many rows as asked for, or as memory allows."""
    ids = StreamingIds.of(tekken)
    left = int(tekken.audio.get("streaming_n_left_pad_tokens", 32))
    device = model.tok_embeddings.weight.device
    forks = FORK_ROWS[device.type]
    most = (max_streams or MAX_STREAMS[device.type]) + forks
    if device.type != "cuda":
        return Steps(model, ids, most, left)
    width = model.config.beam_width
    row_bytes = StreamState.allocate(model, 1, width=width, device="meta").row_bytes
    rows = rows_that_fit(device, row_bytes, least=(max_streams or 1) + forks, most=most)
    steps = GraphedSteps(model, ids, rows, left)
    steps.warm_up()
    return steps


@torch.inference_mode()
def _probe(steps: Steps, first_row: int, delay: int) -> int:
    """Warm up, and measure how many streams could share a step without being late.

    With the usual delay, so that its beginning is ready before the first caller is there.
    """
    took_ms = {}
    most = min(_PROBE_ROWS, steps.rows - first_row)
    for count in (1, most):
        for row in range(first_row, first_row + count):
            steps.seat(row, delay)
        times = []
        for index in range(_PROBE_STEPS):
            began_s = time.perf_counter()
            pcm = torch.from_numpy(np.zeros((count, TOKEN_SAMPLES + CONTEXT_SAMPLES), np.float32))
            stop = first_row + count
            audio = steps.encode(first_row, stop, pcm.to(steps.device))
            tokens = torch.full((count, steps.width), steps.ids.pad, device=steps.device)
            steps.decode(first_row, stop, audio, tokens, steps.left + index).cpu()
            times.append((time.perf_counter() - began_s) * 1000)
        took_ms[count] = min(times)
    if most == 1:
        return 1
    each_ms = max((took_ms[most] - took_ms[1]) / (most - 1), 0.01)
    return max(int((BUSY_SHARE * TOKEN_MS - took_ms[1]) / each_ms) + 1, 1)
