"""Any `AsrEngine` as a speech-to-text service for pipecat pipelines; Parley's own has no use for it.

Audio is only enqueued here; the engine's own thread does the work. The service finalises when voice
activity stops.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from pipecat.frames.frames import (
    CancelFrame,
    EagerTranscriptionFrame,
    EndFrame,
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import STTService
from pipecat.utils.time import time_now_iso8601

from asr.interface import SAMPLE_RATE_HZ, AsrEngine, AsrStream, Hypothesis
from common.errors import ParleyError
from common.pcm import to_float


@dataclass
class AsrSettings(STTSettings):
    """What may change while a call runs.

    Parameters:
        delay_ms: Delay of the recogniser behind the voice; a new value opens a new stream.
    """

    delay_ms: int | None = None


class AsrService(STTService):
    """Streams a caller's audio into an engine and its words out as transcription frames.

    Interim frames carry the whole hypothesis since the last final. Finals are `finalized` and
    uninterruptible: the interruption that a caller's words cause must not delete those words.
    """

    Settings = AsrSettings
    _settings: AsrSettings

    def __init__(
        self,
        *,
        engine: AsrEngine,
        eager_pause: float = 0.6,
        ttfs_p99_latency: float = 0.15,
        settings: AsrSettings | None = None,
        **kwargs: Any,
    ):
        """Create the service.

        Args:
            engine: The recogniser, shared with other calls.
            eager_pause: Belief in a pause (`Hypothesis.pause`) from which an eager transcript goes out.
            ttfs_p99_latency: 99th percentile, in seconds, from the end of speech to the final;
                turn strategies wait for it. The default leaves room above what a flush takes on one
                core: `benchmarks/asr_step.py` for a model, docs/nano-ears.md for pocketsphinx.
            settings: Initial settings.
            **kwargs: Passed on to pipecat.
        """
        store = AsrSettings(model=engine.info.name, language=None, delay_ms=None)
        if settings is not None:
            store.apply_update(settings)
        super().__init__(
            sample_rate=SAMPLE_RATE_HZ, ttfs_p99_latency=ttfs_p99_latency, settings=store, **kwargs
        )
        self._engine = engine
        self._eager_pause = eager_pause
        self._eager_text = ""
        self._stream: AsrStream | None = None
        self._receiver: Any = None

    def can_generate_metrics(self) -> bool:
        """Time to the final transcript and seconds of audio are reported."""
        return True

    @property
    def stream(self) -> AsrStream:
        """The caller's stream in the engine; open between `setup` and `cleanup`."""
        if self._stream is None:
            raise ParleyError("The recogniser's stream is not open.", "Set the service up first.")
        return self._stream

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        """Open the caller's stream.

        Raises:
            EngineFull: The engine refuses one more caller.
        """
        await super().setup(setup)
        await self._open_stream()

    async def stop(self, frame: EndFrame) -> None:
        """Free the slot when the conversation ends."""
        await super().stop(frame)
        await self._close_stream()

    async def cancel(self, frame: CancelFrame) -> None:
        """Free the slot when the conversation is cut off."""
        await super().cancel(frame)
        await self._close_stream()

    async def cleanup(self) -> None:
        """Free the slot however the conversation ended."""
        await super().cleanup()
        await self._close_stream()

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Enqueue 16-bit mono audio at 16 kHz; results arrive by themselves."""
        if self._stream is not None:
            self._stream.feed(to_float(audio))
        yield None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Finalise when voice activity stops."""
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            self.create_task(self.finalize(), "finalize")

    async def finalize(self) -> Hypothesis:
        """Flush the stream, push the final transcript if there is one, and commit it."""
        self.request_finalize()
        final = await self.stream.flush()
        if final.words:
            self.confirm_finalize()
            await self.emit_stt_usage_metrics()
            frame = TranscriptionFrame(
                final.text, self._user_id, time_now_iso8601(), result=final, finalized=True
            )
            frame.interruptible = False
            self.stream.commit(final.heard_samples)
            self._eager_text = ""
            await self.push_frame(frame)
        return final

    async def _update_settings(  # type: ignore[override]
        self, delta: STTSettings
    ) -> dict[str, Any]:
        changed = await super()._update_settings(delta)
        if {"delay_ms", "language"} & changed.keys() and self._stream is not None:
            await self._close_stream()
            await self._open_stream()
        return changed

    async def _open_stream(self) -> None:
        language = self._settings.language
        self._stream = await self._engine.open(
            delay_ms=self._settings.delay_ms,
            language=language if isinstance(language, str) else None,
        )
        self._receiver = self.create_task(self._receive(self._stream), "hypotheses")

    async def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()
            await self.cancel_task(self._receiver)

    async def _receive(self, stream: AsrStream) -> None:
        try:
            async for hypothesis in stream.events():
                await self._publish(hypothesis)
        except ParleyError as error:
            await self.push_error(str(error), exception=error, force_treat_as_permanent=True)

    async def _publish(self, hypothesis: Hypothesis) -> None:
        if not hypothesis.words:
            return
        text = hypothesis.text
        await self.push_frame(
            InterimTranscriptionFrame(text, self._user_id, time_now_iso8601(), result=hypothesis)
        )
        if (hypothesis.pause or 0.0) >= self._eager_pause and text != self._eager_text:
            self._eager_text = text
            await self.push_frame(
                EagerTranscriptionFrame(text, self._user_id, time_now_iso8601(), result=hypothesis)
            )
