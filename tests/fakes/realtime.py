"""Real websocket servers that speak vLLM's and Mistral's realtime transcription protocols.

Each says one word per 400 ms of audio received, held back by a delay until more audio or a flush
pushes it out, so event order and timing are those of the real servers; only the ears are missing.
"""

import base64
import json
import math
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
SAMPLES_PER_WORD = 6_400


class WordClock:
    """Says which words are due: one per 400 ms of sound received, silence holds none."""

    def __init__(self, delay_samples: int):
        self.received = 0
        self._sounding = 0
        self._ends: list[int] = []
        self.said = 0
        self._delay = delay_samples

    def hear(self, pcm16: bytes) -> None:
        self.received += len(pcm16) // 2
        if any(pcm16):
            self._sounding += len(pcm16) // 2
        while (len(self._ends) + 1) * SAMPLES_PER_WORD <= self._sounding:
            self._ends.append(self.received)

    def due(self, flushed: bool = False) -> list[str]:
        upto = self.received if flushed else self.received - self._delay
        first = self.said
        self.said = max(first, sum(end <= upto for end in self._ends))
        return list(WORDS[first : self.said])


def vllm_app(trouble: str = "") -> web.Application:
    """vLLM's `/v1/realtime`: deltas per 80 ms step, most of them empty; no flush."""
    drops = {"hiccup": 1, "ends": 1, "dies": math.inf}.get(trouble, 0)

    async def models(_):
        if trouble == "html":
            return web.Response(text="<html>hello</html>", content_type="text/html")
        return web.json_response(
            {"data": [{"id": "voxtral-realtime"}] if trouble != "empty" else []}
        )

    async def realtime(request):
        nonlocal drops
        if trouble == "full":
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if trouble == "slams":
            await socket.close(code=1011)
            return socket
        await socket.send_json({"type": "session.created", "id": "sess-1", "created": 0})
        clock, model, started = WordClock(7_680), None, False
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            event = json.loads(message.data)
            kind = event["type"]
            if kind == "session.update":
                model = event["model"]
            elif kind == "input_audio_buffer.commit":
                if model != "voxtral-realtime":
                    await socket.send_json(
                        {"type": "error", "code": "model_not_found", "error": f"no {model}"}
                    )
                started = True
            elif kind == "input_audio_buffer.append":
                assert started
                pcm16 = base64.b64decode(event["audio"])
                if drops and clock.said:
                    drops -= 1
                    if trouble == "ends":  # its context is used up: it stays, and hears no more
                        await socket.send_json({"type": "transcription.done", "text": ""})
                        async for _ in socket:
                            pass
                    await socket.close()
                    break
                if trouble == "junk" and clock.said:
                    await socket.send_str("{not json")
                for start in range(0, len(pcm16), 2_560):
                    clock.hear(pcm16[start : start + 2_560])
                    words = clock.due()
                    if trouble == "error" and clock.said == 2:
                        await socket.send_json(
                            {"type": "error", "code": "processing_error", "error": "out of memory"}
                        )
                    await socket.send_json(
                        {"type": "transcription.delta", "delta": "".join(f" {w}" for w in words)}
                    )
        return socket

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_get("/v1/realtime", realtime)
    return app


def mistral_app(trouble: str = "") -> web.Application:
    """Mistral's realtime transcription: last words withheld until a flush; unknown events happen."""
    drops = 1 if trouble == "hiccup" else 0

    async def realtime(request):
        nonlocal drops
        if request.headers.get("Authorization") != "Bearer good-key":
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session = {
            "request_id": "req-1",
            "model": request.query["model"],
            "audio_format": {"encoding": "pcm_s16le", "sample_rate": 16_000},
        }
        await socket.send_json({"type": "session.created", "session": session})
        clock = WordClock(7_680)

        async def say(words):
            for word in words:
                await socket.send_json({"type": "transcription.text.delta", "text": f" {word}"})

        async for message in socket:
            event = json.loads(message.data)
            if event["type"] == "session.update":
                session |= {k: v for k, v in event["session"].items() if k != "audio_format"}
                await socket.send_json({"type": "session.updated", "session": session})
            elif event["type"] == "input_audio.append":
                clock.hear(base64.b64decode(event["audio"]))
                await socket.send_json({"type": "something.new", "whatever": 1})
                await say(clock.due())
                if drops and clock.said:
                    drops -= 1
                    await socket.close()
                if trouble == "idle" and clock.said == 1:
                    await socket.send_json(
                        {"type": "error", "error": {"message": "no audio for 30 s", "code": 3804}}
                    )
            elif event["type"] == "input_audio.flush":
                await say(clock.due(flushed=True))
        return socket

    app = web.Application()
    app.router.add_get("/v1/audio/transcriptions/realtime", realtime)
    return app


@asynccontextmanager
async def serving(app: web.Application):
    """Run an app on a free loopback port; yields `127.0.0.1:PORT`."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()
