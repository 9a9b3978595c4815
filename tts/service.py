"""Any `TtsEngine` as a pipecat text-to-speech service.

Clauses go into one engine stream per reply while its frames come out, so the first 80 ms are on
their way to the caller before the last clause is written. Every audio frame carries the words that
end in it, with their samples: what was heard can be told exactly, wherever the audio stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService

from common.errors import ParleyError
from common.pcm import to_pcm16
from tts.interface import SAMPLE_RATE_HZ, SpeechStream, SpokenWord, TtsEngine


@dataclass
class SpeechAudioFrame(TTSAudioRawFrame):
    """Speech on its way to the caller.

    Parameters:
        start_samples: Position of the first sample in the reply, at 24 kHz.
        words: Words whose end falls in this frame.
    """

    start_samples: int = 0
    words: tuple[SpokenWord, ...] = ()


class TtsService(TTSService):
    """Speaks clauses from an LLM through an engine stream, one stream per reply.

    Put a clause aggregator in front (`LLMTextProcessor`): it sends `AggregatedTextFrame`s, each
    spoken as it comes. Stock pipelines also get pipecat's word timestamps.
    """

    Settings = TTSSettings

    def __init__(
        self,
        *,
        engine: TtsEngine,
        voice: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        """Create the service.

        Args:
            engine: The synthesiser, shared with other calls.
            voice: One of the engine's voices; None is its default.
            seed: Makes an utterance repeatable; None draws anew each time.
            **kwargs: Passed on to pipecat.
        """
        super().__init__(
            sample_rate=SAMPLE_RATE_HZ,
            push_start_frame=True,
            push_text_frames=False,
            settings=TTSSettings(model=engine.info.name, voice=voice, language=None),
            **kwargs,
        )
        self._engine = engine
        self._seed = seed
        self._speaking: dict[str, tuple[SpeechStream, asyncio.Task[None]]] = {}

    def can_generate_metrics(self) -> bool:
        """Time to first audio and characters are reported."""
        return True

    @property
    def supports_processing_metrics(self) -> bool:
        """Handing text to the engine takes no time worth reporting."""
        return False

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Hand a clause to the reply's stream, opening it on the first; audio follows by itself."""
        if context_id not in self._speaking:
            voice = self._settings.voice
            try:
                stream = await self._engine.open(
                    voice=voice if isinstance(voice, str) else None, seed=self._seed
                )
            except ParleyError as error:
                yield ErrorFrame(str(error), exception=error)
                return
            task = self.create_task(self._forward(stream, context_id), f"speech {context_id}")
            self._speaking[context_id] = (stream, task)
        await self.start_tts_usage_metrics(text)
        self._speaking[context_id][0].write(text)
        yield None

    async def flush_audio(self, context_id: str | None = None) -> None:
        """The reply's text is complete."""
        if context_id in self._speaking:
            self._speaking[context_id][0].end_text()

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Free the reply's slot in the engine at once."""
        await self._drop(context_id)

    async def stop(self, frame: EndFrame) -> None:
        """Free all slots when the conversation ends."""
        await super().stop(frame)
        await self._drop_all()

    async def cancel(self, frame: CancelFrame) -> None:
        """Free all slots when the conversation is cut off."""
        await super().cancel(frame)
        await self._drop_all()

    async def cleanup(self) -> None:
        """Free all slots however the conversation ended."""
        await super().cleanup()
        await self._drop_all()

    async def _drop_all(self) -> None:
        for context_id in list(self._speaking):
            await self._drop(context_id)

    async def _drop(self, context_id: str) -> None:
        speaking = self._speaking.pop(context_id, None)
        if speaking is not None:
            stream, task = speaking
            stream.cancel()
            await self.cancel_task(task)

    async def _forward(self, stream: SpeechStream, context_id: str) -> None:
        """Move one reply's frames from the engine into pipecat's audio context."""
        try:
            async for frame in stream.frames():
                if frame.words:
                    await self.add_word_timestamps(
                        [(w.text, w.start_samples / SAMPLE_RATE_HZ) for w in frame.words],
                        context_id,
                    )
                await self.append_to_audio_context(
                    context_id,
                    SpeechAudioFrame(
                        to_pcm16(frame.pcm),
                        SAMPLE_RATE_HZ,
                        1,
                        context_id=context_id,
                        start_samples=frame.start_samples,
                        words=frame.words,
                    ),
                )
        except ParleyError as error:
            await self.append_to_audio_context(context_id, ErrorFrame(str(error), exception=error))
        await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
        await self.remove_audio_context(context_id)
        self._speaking.pop(context_id, None)
