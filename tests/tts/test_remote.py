"""Remote voices against servers that speak the real protocols."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise

import httpx
import numpy as np
import pytest
from aiohttp import web

from common.errors import EngineFull, ParleyError, RemoteError
from tests.fakes.realtime import serving
from tests.fakes.speech import (
    CANCELLED,
    REQUESTS,
    SAMPLES_PER_CHARACTER,
    mistral_speech_app,
    omni_app,
    tone,
)
from tts.estimate import EstimatedWords
from tts.interface import FRAME_SAMPLES, VoiceInfo
from tts.remote.mistral import MistralTtsEngine
from tts.remote.stream import RemoteSpeechStream
from tts.remote.vllm import VllmTtsEngine

CLAUSES = ("Good morning to you.", "Shall we begin?")


@pytest.fixture(params=["omni", "mistral"])
async def engine(request):
    app = {"omni": omni_app, "mistral": mistral_speech_app}[request.param]()
    async with serving(app) as address:
        url = f"http://{address}"
        if request.param == "omni":
            engine = await VllmTtsEngine.connect(url)
        else:
            engine = await MistralTtsEngine.connect("good-key", server_url=url)
        yield engine
        await engine.close()


async def speak(engine, *clauses, voice=None):
    stream = await engine.open(voice=voice)
    for clause in clauses:
        stream.write(clause)
    stream.end_text()
    return [frame async for frame in stream.frames()]


async def test_every_sample_arrives_once_in_80_ms_frames(engine):
    frames = await speak(engine, *CLAUSES)
    assert all(a.start_samples + len(a.pcm) == b.start_samples for a, b in pairwise(frames))
    assert all(len(frame.pcm) <= FRAME_SAMPLES for frame in frames)
    pcm = np.concatenate([frame.pcm for frame in frames])
    expected = np.concatenate([tone(clause) for clause in CLAUSES])
    np.testing.assert_allclose(pcm, expected, atol=1e-4)


async def test_all_words_come_in_order_and_end_with_their_clause(engine):
    frames = await speak(engine, *CLAUSES)
    words = [word for frame in frames for word in frame.words]
    assert [word.text for word in words] == " ".join(CLAUSES).split()
    assert all(a.end_samples <= b.end_samples for a, b in pairwise(words))
    first_clause_end = len(CLAUSES[0]) * SAMPLES_PER_CHARACTER
    assert words[3].end_samples <= first_clause_end <= words[4].end_samples


async def test_an_unknown_voice_lists_those_there_are(engine):
    with pytest.raises(ParleyError, match=r"Choose one of: \w+"):
        await engine.open(voice="nobody")


async def test_text_may_come_while_audio_is_going_out(engine):
    stream = await engine.open()
    stream.write(CLAUSES[0])
    frames = []
    async for frame in stream.frames():
        frames.append(frame)
        if len(frames) == 3:
            stream.write(CLAUSES[1])
            stream.end_text()
    total = sum(len(frame.pcm) for frame in frames)
    assert total == sum(len(clause) for clause in CLAUSES) * SAMPLES_PER_CHARACTER


async def test_cancel_hangs_up_at_once():
    app = omni_app("slow")
    async with serving(app) as address:
        engine = await VllmTtsEngine.connect(f"http://{address}")
        stream = await engine.open()
        stream.write("A sentence that would take the slow server very long to say.")
        async for _ in stream.frames():
            stream.cancel()
        await asyncio.sleep(0.3)
        assert len(app[CANCELLED]) == 1
        await engine.close()


@pytest.mark.parametrize(
    ("trouble", "error", "message"),
    [
        ("full", EngineFull, "another speaker"),
        ("bad", RemoteError, "400.*too long"),
        ("dies", RemoteError, "broke off"),
    ],
)
async def test_failures_are_told_apart_after_what_was_spoken(trouble, error, message, monkeypatch):
    monkeypatch.setattr("tts.remote.stream._ASK_AGAIN_FOR_S", 0.1)
    async with serving(omni_app(trouble)) as address:
        engine = await VllmTtsEngine.connect(f"http://{address}")
        stream = await engine.open()
        stream.write(CLAUSES[0])
        heard = []

        async def listen():
            async for frame in stream.frames():
                heard.append(frame)

        with pytest.raises(error, match=message):
            await listen()
        assert bool(heard) == (trouble == "dies")
        await engine.close()


async def test_words_that_a_voice_broke_off_before_were_not_spoken():
    async def synthesise(_):
        yield np.zeros(12_000, np.float32)
        raise RemoteError("it is gone")

    stream = RemoteSpeechStream(synthesise)
    stream.write("I shall say much more than half a second can ever hold of it.")
    frames = []

    async def listen():
        async for frame in stream.frames():
            frames.append(frame)

    with pytest.raises(RemoteError, match="it is gone"):
        await listen()
    assert sum(len(frame.pcm) for frame in frames) == 12_000
    assert [word.text for frame in frames for word in frame.words] == ["I"]


@asynccontextmanager
async def answering(*answers):
    """A voice whose server answers one request after the other with these; None just hangs up."""
    answers = iter(answers)

    async def speech(request):
        reply = next(answers)
        if reply is None:
            request.transport.close()
        return reply or web.Response()

    app = web.Application()
    app.router.add_post("/v1/audio/speech", speech)
    async with serving(app) as address:
        client = httpx.AsyncClient(base_url=f"http://{address}")
        engine = VllmTtsEngine(client, "voxtral-tts", (VoiceInfo("v"),))
        yield engine
        await engine.close()


async def test_a_server_that_is_full_or_away_for_a_moment_costs_nothing():
    said = web.Response(body=bytes(2 * FRAME_SAMPLES), content_type="audio/pcm")
    async with answering(web.Response(status=503), None, web.Response(status=429), said) as engine:
        frames = await speak(engine, "Hello.")
    assert [word.text for frame in frames for word in frame.words] == ["Hello."]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda: web.Response(content_type="audio/pcm"), "no audio"),
        (lambda: web.json_response({"error": "loading"}), "application/json.*loading"),
        (lambda: web.Response(text="<html>", content_type="text/html"), "text/html"),
    ],
)
async def test_what_is_no_audio_is_an_error(reply, message):
    async with answering(reply()) as engine:
        with pytest.raises(RemoteError, match=message):
            await speak(engine, "Hello.")


async def test_a_hosted_voice_that_is_busy_for_a_moment_is_asked_again():
    app, busy = mistral_speech_app(), [429, 503]

    @web.middleware
    async def now_and_then(request, handler):
        if request.method == "POST" and busy:
            return web.json_response({"message": "busy"}, status=busy.pop())
        return await handler(request)

    app.middlewares.append(now_and_then)
    async with serving(app) as address:
        engine = await MistralTtsEngine.connect("good-key", server_url=f"http://{address}")
        assert await speak(engine, "Hello.")
    assert not busy


async def test_a_voice_of_the_account_is_asked_for_by_its_id():
    app = mistral_speech_app()
    async with serving(app) as address:
        engine = await MistralTtsEngine.connect("good-key", server_url=f"http://{address}")
        await speak(engine, "Hello.", voice="paul")
    (request,) = app[REQUESTS]
    assert request["voice_id"] == "id-paul"


def not_speech_app():
    async def models(_):
        return web.json_response(["something", "else"])

    app = web.Application()
    app.router.add_get("/v1/models", models)
    return app


async def test_no_server_and_no_key_are_clear_errors():
    with pytest.raises(RemoteError, match="does not answer"):
        await VllmTtsEngine.connect("http://127.0.0.1:9")
    with pytest.raises(RemoteError, match="Port out of range"):
        await VllmTtsEngine.connect("http://127.0.0.1:99999")
    async with serving(not_speech_app()) as address:
        with pytest.raises(RemoteError, match="does not answer like a speech server"):
            await VllmTtsEngine.connect(f"http://{address}")
    async with serving(mistral_speech_app()) as address:
        engine = await MistralTtsEngine.connect("bad-secret", server_url=f"http://{address}")
        with pytest.raises(RemoteError, match="MISTRAL_API_KEY") as caught:
            await speak(engine, "Hello.")
        assert "bad-secret" not in str(caught.value)


def test_estimated_words_never_overtake_the_audio_and_all_come_out():
    words = EstimatedWords("one two three, four", 48_000)
    early = words.until(60_000)
    late = words.finish(100_000)
    spoken = early + late
    assert [w.text for w in spoken] == ["one", "two", "three,", "four"]
    assert all(w.end_samples <= 60_000 for w in early)
    assert all(a.end_samples == b.start_samples for a, b in pairwise(spoken))
    assert spoken[0].start_samples == 48_000
    assert spoken[-1].end_samples == pytest.approx(100_000, abs=4)
