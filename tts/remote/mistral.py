"""Mistral's hosted Voxtral TTS, through the `mistralai` SDK: streamed float32 PCM at 24 kHz."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping

import numpy as np
from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from mistralai.client.models import SpeechStreamAudioDelta

from common.errors import EngineFull, ParleyError, RemoteError
from tts.interface import TtsInfo, VoiceInfo
from tts.remote.stream import RemoteSpeechStream

DEFAULT_MODEL = "voxtral-mini-tts-2603"
_PAGE = 100
_TIMEOUT_MS = 15_000


class MistralTtsEngine:
    """See `tts.interface.TtsEngine`. What the agent says leaves this machine as text."""

    refusal = failure = ""  # that is the server's to say

    def __init__(
        self,
        client: Mistral,
        model: str,
        voices: Mapping[str, str],
        server_url: str | None,
    ):
        self._client = client
        self._model = model
        self._voice_ids = dict(voices)
        self._server_url = server_url

    @classmethod
    async def connect(
        cls,
        api_key: str,
        *,
        model: str = DEFAULT_MODEL,
        server_url: str | None = None,
    ) -> MistralTtsEngine:
        """Ask the account for its voices.

        Args:
            api_key: Never logged.
            model: Hosted model.
            server_url: Another server that speaks the same protocol.

        Raises:
            RemoteError: The key is refused or the server cannot be reached.
        """
        client = Mistral(api_key=api_key)
        try:
            voices: dict[str, str] = {}
            page = await client.audio.voices.search_async(
                page_size=_PAGE, server_url=server_url, timeout_ms=_TIMEOUT_MS
            )
            while page is not None:
                voices |= {voice.slug or voice.name: voice.id for voice in page.result.data}
                page = await page.next()  # type: ignore[misc]
        except Exception as error:
            raise RemoteError(
                f"Mistral's voices cannot be listed ({error}).",
                "Check MISTRAL_API_KEY and the network, or use a local voice (--tts nano).",
            ) from error
        return cls(client, model, voices, server_url)

    @property
    def info(self) -> TtsInfo:
        where = self._server_url or "Mistral's API (the agent's words leave this machine)"
        return TtsInfo(self._model, where)

    def voices(self) -> tuple[VoiceInfo, ...]:
        return tuple(VoiceInfo(name, licence="Mistral's terms") for name in self._voice_ids)

    async def open(
        self, *, voice: str | None = None, seed: int | None = None
    ) -> RemoteSpeechStream:
        """Open an utterance; the hosted model takes no seed, so `seed` changes nothing."""
        names = [v.name for v in self.voices()]
        name = voice or next(iter(names), "")
        if name not in names:
            raise ParleyError(
                f"The account has no voice {name!r}.", "Choose one of: " + ", ".join(names) + "."
            )
        return RemoteSpeechStream(lambda text: self._synthesise(text, self._voice_ids[name]))

    async def close(self) -> None:
        """The SDK's connections close with the process."""

    async def _synthesise(self, text: str, voice_id: str) -> AsyncIterator[np.ndarray]:
        try:
            events = await self._client.audio.speech.complete_async(
                input=text,
                model=self._model,
                voice_id=voice_id,
                response_format="pcm",
                stream=True,
                server_url=self._server_url,
                timeout_ms=_TIMEOUT_MS,
            )
            async for event in events:
                if isinstance(event.data, SpeechStreamAudioDelta):
                    yield np.frombuffer(base64.b64decode(event.data.audio_data), "<f4")
        except Exception as error:
            if isinstance(error, SDKError) and error.status_code in (429, 503):
                raise EngineFull("Mistral refuses another speaker.") from error
            raise RemoteError(
                f"Mistral's speech failed ({error}).", "Check MISTRAL_API_KEY and the network."
            ) from error
