"""Voxtral Realtime served by vLLM: the `/v1/realtime` websocket.

Protocol: vLLM's realtime transcription endpoint (`vllm serve mistralai/Voxtral-Mini-4B-Realtime-2602`).
It has no flush; one is made by sending the silence that pushes the last words through the delay.
The silence is taken off the time line again: the caller's clock never shows it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import parse_qs, urlunsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from asr.interface import SAMPLE_RATE_HZ, AsrInfo
from asr.remote.stream import RemoteAsrStream
from common.address import split_address
from common.errors import EngineFull, RemoteError

_STEP_SAMPLES = SAMPLE_RATE_HZ * 80 // 1000
_TIMEOUT_S = 10.0
_DELAY_MS = 480  # as the published tekken.json says; the protocol cannot ask


class VllmAsrEngine:
    """See `asr.interface.AsrEngine`."""

    refusal = failure = ""  # that is the server's to say

    def __init__(self, url: str):
        """Remember the server.

        Args:
            url: `ws://HOST:8000/v1/realtime`; `http(s)://HOST:8000` is completed to it. A `?model=`
                names the model, otherwise the server's first one is used.

        Raises:
            RemoteError: The address is none.
        """
        parts = split_address(url)
        self._model = parse_qs(parts.query).get("model", [""])[0]
        secure = parts.scheme in ("wss", "https")
        path = parts.path if parts.path not in ("", "/") else "/v1/realtime"
        self._ws_url = urlunsplit(("wss" if secure else "ws", parts.netloc, path, "", ""))
        self._http_url = urlunsplit(("https" if secure else "http", parts.netloc, "", "", ""))

    @classmethod
    async def connect(cls, url: str) -> VllmAsrEngine:
        """Remember a server that answers; one that has no room for a caller just now does.

        Raises:
            RemoteError: It cannot be reached, or is no such server.
        """
        engine = cls(url)
        with suppress(EngineFull):
            stream = await engine.open()
            await stream.close()
        return engine

    @property
    def info(self) -> AsrInfo:
        return AsrInfo(self._model or "Voxtral Realtime", self._ws_url, _DELAY_MS)

    async def open(
        self, *, delay_ms: int | None = None, language: str | None = None
    ) -> RemoteAsrStream:
        """Connect one caller; delay and language are the server's to choose, so both are ignored."""
        return RemoteAsrStream(await self._connect(), self._connect, delay_ms=_DELAY_MS)

    async def close(self) -> None:
        """Nothing is shared between callers."""

    async def _connect(self) -> _VllmWire:
        try:
            self._model = self._model or await self._first_model()
            socket = await connect(self._ws_url, open_timeout=_TIMEOUT_S, max_size=2**20)
            wire = _VllmWire(socket, _DELAY_MS)
            await wire.start(self._model)
        except (InvalidHandshake, ConnectionClosed) as error:
            if "503" in str(error) or "429" in str(error):
                raise EngineFull(f"{self._ws_url} refuses another caller.") from error
            raise RemoteError(
                f"{self._ws_url} refused: {error}.", "Is it a vLLM server?"
            ) from error
        except (OSError, TimeoutError, httpx.HTTPError) as error:
            raise RemoteError(
                f"{self._ws_url} cannot be reached ({error}).", "Start the server or check --asr."
            ) from error
        return wire

    async def _first_model(self) -> str:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
            reply = (await client.get(f"{self._http_url}/v1/models")).raise_for_status()
        try:
            models = [model["id"] for model in reply.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise RemoteError(
                f"{self._http_url} does not list its models ({error!r}).", "Is it a vLLM server?"
            ) from error
        if not models:
            raise RemoteError(f"{self._http_url} serves no model.", "Name one: ?model=NAME.")
        return str(models[0])


class _VllmWire:
    def __init__(self, socket: ClientConnection, delay_ms: int):
        self._socket = socket
        self._flush_samples = (delay_ms // 80 + 1) * _STEP_SAMPLES

    async def start(self, model: str) -> None:
        """Introduce ourselves: the session must know its model before the first commit."""
        await self._send(type="session.update", model=model)
        await self._send(type="input_audio_buffer.commit", final=False)

    async def send(self, pcm16: bytes) -> None:
        audio = base64.b64encode(pcm16).decode("ascii")
        await self._send(type="input_audio_buffer.append", audio=audio)

    async def flush(self) -> None:
        await self.send(bytes(2 * self._flush_samples))

    async def text(self) -> AsyncIterator[str]:
        try:
            async for message in self._socket:
                event = json.loads(message)
                if event.get("type") == "transcription.delta":
                    yield event.get("delta", "")
                elif event.get("type") == "transcription.done":
                    return  # nobody asked for it: the server's context is full, and it hears no more
                elif event.get("type") == "error":
                    raise RemoteError(
                        f"vLLM reported {event.get('code')}: {event.get('error')}.",
                        "See the server's log.",
                    )
        except json.JSONDecodeError as error:
            raise RemoteError("vLLM sent something that is not JSON.", "Is it vLLM?") from error

    async def close(self) -> None:
        await self._socket.close()

    async def _send(self, **event: object) -> None:
        await self._socket.send(json.dumps(event))
