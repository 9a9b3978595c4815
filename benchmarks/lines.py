"""The lines that `benchmarks.transport` measures: ours, and pipecat's transport on stock aiortc."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.workers.runner import WorkerRunner

from agent.llm_choice import choose_llm
from agent.persona import load_persona
from asr.interface import AsrInfo, Hypothesis
from common.pcm import to_float, to_pcm16
from evals.caller import Offer
from pipelines.browser import BrowserCalls
from pipelines.engines import Engines
from pipelines.peer import Peer
from pipelines.playout import Playout, Utterance
from tts.espeak import EspeakEngine

LOUD = 0.05
_BEEP = (0.5 * np.sin(2 * np.pi * 800 * np.arange(1_440) / 24_000)).astype(np.float32)


class _BurstEar:
    """Says when a burst begins: loud after at least 100 ms of quiet."""

    def __init__(self) -> None:
        self.frames = 0
        self._quiet_frames = 0

    def begins(self, pcm: np.ndarray) -> bool:
        self.frames += 1
        loud = bool(np.abs(pcm).max(initial=0.0) > LOUD)
        begins = loud and self._quiet_frames >= 5
        self._quiet_frames = 0 if loud else self._quiet_frames + 1
        return begins


class _Beeper:
    """Our end of our line: a beep into the playout for every burst."""

    def __init__(self) -> None:
        self._ear = _BurstEar()
        self._playout = Playout()

    def hear(self, pcm: np.ndarray) -> None:
        if self._ear.begins(pcm):
            beep = Utterance()
            beep.push(_BEEP)
            beep.end()
            self._playout.add(beep)

    def pull(self, n_samples: int) -> np.ndarray | None:
        return self._playout.pull(n_samples)

    def on_connected(self) -> None: ...

    def on_message(self, message: dict[str, Any]) -> None: ...

    def on_lost(self, reason: str) -> None: ...


class OurLine:
    """`Peer` with a beeper on our end."""

    def __init__(self) -> None:
        self._peers: list[Peer] = []

    async def answer(self, sdp: str, kind: str) -> dict[str, str]:
        """Answer one caller."""
        self._peers.append(Peer(_Beeper()))
        return await self._peers[-1].answer(sdp, kind)

    async def close(self) -> None:
        """Hang up on everybody."""
        for peer in self._peers:
            await peer.close()


class _BeepProcessor(FrameProcessor):
    def __init__(self) -> None:
        super().__init__()
        self.ear = _BurstEar()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            if self.ear.begins(to_float(frame.audio)):
                await self.push_frame(OutputAudioRawFrame(to_pcm16(_BEEP), 24_000, 1))
        else:
            await self.push_frame(frame, direction)


class StockLine:
    """pipecat's SmallWebRTC transport, as it comes, with a beeper in the pipeline."""

    def __init__(self) -> None:
        self._runs: list[tuple[PipelineWorker, asyncio.Task[None]]] = []
        self._beepers: list[_BeepProcessor] = []

    def frames(self) -> int:
        """Frames of 20 ms heard so far."""
        return sum(beeper.ear.frames for beeper in self._beepers)

    async def answer(self, sdp: str, kind: str) -> dict[str, str]:
        """Answer one caller."""
        connection = SmallWebRTCConnection()
        await connection.initialize(sdp, kind)
        transport = SmallWebRTCTransport(
            webrtc_connection=connection,
            params=TransportParams(audio_in_enabled=True, audio_out_enabled=True),
        )
        self._beepers.append(_BeepProcessor())
        worker = PipelineWorker(
            Pipeline([transport.input(), self._beepers[-1], transport.output()]),
            params=PipelineParams(audio_in_sample_rate=16_000, audio_out_sample_rate=24_000),
            idle_timeout_secs=None,
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        self._runs.append((worker, asyncio.create_task(runner.run())))
        answer = connection.get_answer()
        assert answer is not None
        return answer

    async def close(self) -> None:
        """Hang up on everybody."""
        for worker, run in self._runs:
            await worker.cancel()
            await run


class _DeafStream:
    """Takes audio in and understands nothing: what a call costs without a recogniser's model."""

    def __init__(self) -> None:
        self._closed = asyncio.Event()

    def feed(self, pcm: np.ndarray) -> None: ...

    async def events(self) -> AsyncIterator[Hypothesis]:
        await self._closed.wait()
        if not self._closed.is_set():
            yield Hypothesis()

    async def flush(self) -> Hypothesis:
        return Hypothesis(final=True)

    def commit(self, upto_samples: int) -> None: ...

    async def close(self) -> None:
        self._closed.set()


class _DeafEngine:
    info = AsrInfo("deaf", "benchmark", 0)
    refusal = failure = ""

    async def open(self, *, delay_ms: int | None = None, language: str | None = None) -> Any:
        return _DeafStream()

    async def close(self) -> None: ...


@asynccontextmanager
async def idle_calls() -> AsyncIterator[tuple[Offer, Callable[[], int]]]:
    """Whole conversations, with everything but a recogniser's model."""
    engines = Engines(_DeafEngine(), EspeakEngine())
    persona = load_persona("parley").model_copy(update={"greeting": ["Hi."], "idle_after_s": 0.0})
    calls = BrowserCalls(engines, await choose_llm("script"), most_lag_ms=1e9)

    async def answer(sdp: str, kind: str) -> dict[str, str]:
        return await calls.offer(sdp, kind, persona=persona)

    def frames() -> int:
        return sum(call.conversation._listener.at // 320 for call in calls._calls.values())

    yield answer, frames
    await calls.close()
    await engines.close()
