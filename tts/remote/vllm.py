"""Voxtral TTS served by vLLM-Omni: `POST /v1/audio/speech`, streamed 16-bit PCM at 24 kHz."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlunsplit

import httpx
import numpy as np

from common.address import split_address
from common.errors import EngineFull, ParleyError, RemoteError
from common.pcm import to_float
from tts.interface import TtsInfo, VoiceInfo
from tts.remote.stream import RemoteSpeechStream

# Voxtral's published voices; used when the server cannot list its own.
_PUBLISHED_LICENCE = "CC BY-NC 4.0"
_RAW = "application/octet-stream"


class VllmTtsEngine:
    """See `tts.interface.TtsEngine`. Open one with `connect`."""

    refusal = failure = ""  # that is the server's to say

    def __init__(self, client: httpx.AsyncClient, model: str, voices: tuple[VoiceInfo, ...]):
        self._client = client
        self._model = model
        self._voices = voices

    @classmethod
    async def connect(cls, url: str, *, timeout_s: float = 10.0) -> VllmTtsEngine:
        """Ask the server which model and voices it has.

        Args:
            url: `http(s)://HOST:PORT`, with `?model=NAME` when it serves several.
            timeout_s: Limit for connecting and for every silence between two portions of audio.

        Raises:
            RemoteError: It cannot be reached or serves no model or voice.
        """
        parts = split_address(url)
        base = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        client = httpx.AsyncClient(base_url=base, timeout=timeout_s)
        try:
            reply = (await client.get("/v1/models")).raise_for_status().json()
            models = [str(each["id"]) for each in reply["data"]]
            reply = (await client.get("/v1/audio/voices")).raise_for_status().json()
            names = [v if isinstance(v, str) else str(v["name"]) for v in reply["voices"]]
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            await client.aclose()
            raise RemoteError(
                f"{base} does not answer like a speech server ({error!r}).",
                "Start vLLM-Omni with Voxtral TTS there or check --tts.",
            ) from error
        model = parse_qs(parts.query).get("model", [*models, ""])[0]
        if not model or not names:
            await client.aclose()
            raise RemoteError(
                f"{base} serves no model or no voice.", "Name the model: ?model=NAME."
            )
        return cls(client, model, tuple(VoiceInfo(n, licence=_PUBLISHED_LICENCE) for n in names))

    @property
    def info(self) -> TtsInfo:
        return TtsInfo(self._model, str(self._client.base_url))

    def voices(self) -> tuple[VoiceInfo, ...]:
        return self._voices

    async def open(
        self, *, voice: str | None = None, seed: int | None = None
    ) -> RemoteSpeechStream:
        name = voice or self._voices[0].name
        if name not in {v.name for v in self._voices}:
            raise ParleyError(
                f"{self._client.base_url} has no voice {name!r}.",
                "Choose one of: " + ", ".join(v.name for v in self._voices) + ".",
            )
        return RemoteSpeechStream(lambda text: self._synthesise(text, name, seed))

    async def close(self) -> None:
        await self._client.aclose()

    async def _synthesise(
        self, text: str, voice: str, seed: int | None
    ) -> AsyncIterator[np.ndarray]:
        body = {
            "model": self._model,
            "input": text,
            "voice": voice,
            "response_format": "pcm",
            "stream": True,
        }
        if seed is not None:
            body["seed"] = seed
        async with self._client.stream("POST", "/v1/audio/speech", json=body) as reply:
            if reply.status_code in (429, 503):
                raise EngineFull(f"{self._client.base_url} refuses another speaker.")
            if reply.status_code != httpx.codes.OK:
                detail = (await reply.aread()).decode(errors="replace")[:200]
                raise RemoteError(f"vLLM-Omni answered {reply.status_code}: {detail}")
            kind = reply.headers.get("content-type", _RAW)
            if not kind.startswith(("audio/", _RAW)):
                detail = (await reply.aread()).decode(errors="replace")[:200]
                raise RemoteError(
                    f"vLLM-Omni answered with {kind} instead of audio: {detail}",
                    "Is it a speech server?",
                )
            odd = b""  # a portion may end in the middle of a sample
            async for chunk in reply.aiter_raw():
                chunk = odd + chunk
                odd = chunk[len(chunk) & ~1 :]
                yield to_float(chunk[: len(chunk) & ~1])
