"""Real HTTP servers that speak vLLM-Omni's and Mistral's speech protocols, with a tone for a voice."""

import asyncio
import base64
import json

import numpy as np
from aiohttp import web

SAMPLES_PER_CHARACTER = 1_920
CANCELLED = web.AppKey("cancelled", list)
REQUESTS = web.AppKey("requests", list)


def tone(text):
    n = len(text) * SAMPLES_PER_CHARACTER
    return (0.3 * np.sin(np.arange(n) * 2 * np.pi * 220 / 24_000)).astype(np.float32)


def omni_app(trouble: str = "") -> web.Application:
    """vLLM-Omni: chunked int16 PCM whose portions need not end on a sample."""
    app = web.Application()
    app[CANCELLED] = []

    async def models(_):
        return web.json_response({"data": [{"id": "voxtral-tts"}]})

    async def voices(_):
        return web.json_response({"voices": ["casual_male", "cheerful_female"]})

    async def speech(request):
        body = await request.json()
        assert body["response_format"] == "pcm"
        assert body["stream"]
        if trouble == "full":
            raise web.HTTPServiceUnavailable
        if trouble == "bad":
            return web.json_response({"error": "input too long"}, status=400)
        reply = web.StreamResponse()
        await reply.prepare(request)
        data = (tone(body["input"]) * 32_768).astype("<i2").tobytes()
        try:
            for i, start in enumerate(range(0, len(data), 5_001)):
                if trouble == "dies" and i == 2:
                    request.transport.close()
                    return reply
                await reply.write(data[start : start + 5_001])
                await asyncio.sleep(0.002 if trouble != "slow" else 0.1)
        except (ConnectionResetError, asyncio.CancelledError):
            app[CANCELLED].append(body["input"])
            raise
        return reply

    app.router.add_get("/v1/models", models)
    app.router.add_get("/v1/audio/voices", voices)
    app.router.add_post("/v1/audio/speech", speech)
    return app


def mistral_speech_app() -> web.Application:
    """Mistral's speech API: server-sent events with base64 float32."""
    app = web.Application()
    app[REQUESTS] = []

    async def voices(_):
        voice = {
            "type": "preset",
            "name": "Paul",
            "id": "id-paul",
            "slug": "paul",
            "created_at": "2026-01-01T00:00:00Z",
            "user_id": None,
        }
        return web.json_response({"data": [voice], "next_page_token": None})

    async def speech(request):
        if request.headers["Authorization"] != "Bearer good-key":
            return web.json_response({"message": "no"}, status=401)
        body = await request.json()
        app[REQUESTS].append(body)
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        pcm = tone(body["input"])
        for start in range(0, len(pcm), 4_000):
            audio = base64.b64encode(pcm[start : start + 4_000].tobytes()).decode()
            await _event(reply, "speech.audio.delta", {"audio_data": audio})
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        await _event(reply, "speech.audio.done", {"usage": usage})
        return reply

    app.router.add_get("/v2/audio/voices", voices)
    app.router.add_post("/v1/audio/speech", speech)
    return app


async def _event(reply, kind, data):
    await reply.write(f"event: {kind}\ndata: {json.dumps({'type': kind} | data)}\n\n".encode())
