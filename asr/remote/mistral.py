"""Mistral's hosted realtime transcription, through the `mistralai` SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from mistralai.client import Mistral
from mistralai.client.models import (
    AudioFormat,
    RealtimeTranscriptionError,
    TranscriptionStreamTextDelta,
)

from asr.interface import SAMPLE_RATE_HZ, AsrInfo
from asr.remote.stream import RemoteAsrStream
from common.errors import RemoteError

_MODEL = "voxtral-mini-transcribe-realtime-2602"
_DEFAULT_DELAY_MS = 480
_TIMEOUT_MS = 10_000
# The server hangs up with this code when it hears nothing for 30 s; a call always sends audio.
_IDLE_CODE = 3804


class MistralAsrEngine:
    """See `asr.interface.AsrEngine`. The caller's audio leaves this machine."""

    refusal = failure = ""  # that is the server's to say

    def __init__(
        self,
        api_key: str,
        *,
        delay_ms: int | None = None,
        server_url: str | None = None,
    ):
        """Remember the account; nothing is sent before a caller arrives.

        Args:
            api_key: Never logged.
            delay_ms: 80 to 2400 in steps of 80; None is 480.
            server_url: Another server that speaks the same protocol.
        """
        self._client = Mistral(api_key=api_key)
        self._delay_ms = delay_ms or _DEFAULT_DELAY_MS
        self._server_url = server_url

    @property
    def info(self) -> AsrInfo:
        where = self._server_url or "Mistral's API (audio leaves this machine)"
        return AsrInfo(_MODEL, where, self._delay_ms)

    async def open(
        self, *, delay_ms: int | None = None, language: str | None = None
    ) -> RemoteAsrStream:
        delay_ms = delay_ms or self._delay_ms
        connect = partial(self._connect, delay_ms, language)
        return RemoteAsrStream(await connect(), connect, delay_ms=delay_ms)

    async def close(self) -> None:
        """Nothing is shared between callers."""

    async def _connect(self, delay_ms: int, language: str | None) -> _MistralWire:
        try:
            connection = await self._client.audio.realtime.connect(
                model=_MODEL,
                audio_format=AudioFormat(encoding="pcm_s16le", sample_rate=SAMPLE_RATE_HZ),
                target_streaming_delay_ms=delay_ms,
                server_url=self._server_url,
                timeout_ms=_TIMEOUT_MS,
                language=language,
            )
        except Exception as error:
            raise RemoteError(
                f"Mistral's realtime transcription cannot be opened ({error}).",
                "Check MISTRAL_API_KEY and the network, or use local ears (--asr sphinx).",
            ) from error
        return _MistralWire(connection)


class _MistralWire:
    def __init__(self, connection: Any):
        self._connection = connection

    async def send(self, pcm16: bytes) -> None:
        await self._connection.send_audio(pcm16)

    async def flush(self) -> None:
        await self._connection.flush_audio()

    async def text(self) -> AsyncIterator[str]:
        async for event in self._connection.events():
            if isinstance(event, TranscriptionStreamTextDelta):
                yield event.text
            elif isinstance(event, RealtimeTranscriptionError):
                code = event.error.code
                raise RemoteError(
                    f"Mistral reported {code}: {event.error.message}.",
                    "It hangs up after 30 s without audio." if code == _IDLE_CODE else "",
                )

    async def close(self) -> None:
        await self._connection.close()
