"""Remote ears against servers that speak the real protocols."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise

import numpy as np
import pytest

from asr.remote.mistral import MistralAsrEngine
from asr.remote.stream import RemoteAsrStream
from asr.remote.vllm import VllmAsrEngine
from asr.remote.words import ArrivingWords
from cli.transcribe import _transcribe
from common.errors import EngineFull, RemoteError
from common.pcm import to_pcm16
from tests.fakes.realtime import SAMPLES_PER_WORD, mistral_app, serving, vllm_app

CHUNK = np.full(1_280, 0.1, np.float32)


async def talk(stream, samples):
    for _ in range(samples // len(CHUNK)):
        stream.feed(CHUNK)
        await asyncio.sleep(0.002)


async def collect(stream, into):
    async for hypothesis in stream.events():
        into.append(hypothesis)


@asynccontextmanager
async def remote(kind, trouble=""):
    app = {"vllm": vllm_app, "mistral": mistral_app}[kind](trouble)
    async with serving(app) as address:
        if kind == "vllm":
            yield await VllmAsrEngine.connect(f"http://{address}")
        else:
            yield MistralAsrEngine("good-key", server_url=f"http://{address}")


@pytest.fixture(params=["vllm", "mistral"])
async def engine(request):
    async with remote(request.param) as opened:
        yield opened


class FakeWire:
    """Says a word a moment after a flush. Sending may take its time, and break after some pieces."""

    def __init__(self, send_s=0.0, breaks_after=10**9):
        self.sent, self._send_s, self._breaks_after = [], send_s, breaks_after
        self._words = asyncio.Queue()

    async def send(self, pcm16):
        await asyncio.sleep(self._send_s)
        if len(self.sent) == self._breaks_after:
            raise ConnectionResetError("it is gone")
        self.sent.append(pcm16)

    async def flush(self):
        asyncio.get_running_loop().call_later(0.1, self._words.put_nowait, " hello")

    async def text(self):
        while word := await self._words.get():
            yield word

    async def close(self):
        self._words.put_nowait("")


async def test_words_arrive_while_the_caller_speaks_and_flush_brings_the_rest(engine):
    stream = await engine.open()
    seen = []
    follower = asyncio.create_task(collect(stream, seen))
    await talk(stream, 3 * SAMPLES_PER_WORD)
    assert seen
    assert seen[-1].text in ("one", "one two")
    final = await stream.flush()
    assert final.text == "one two three"
    assert final.final
    assert final.heard_samples == 3 * SAMPLES_PER_WORD
    await talk(stream, 2 * SAMPLES_PER_WORD)
    assert (await stream.flush()).text == "one two three four five"
    await stream.close()
    await asyncio.wait_for(follower, 1)


async def test_a_commit_forgets_what_was_taken(engine):
    stream = await engine.open()
    await talk(stream, 3 * SAMPLES_PER_WORD)
    first = await stream.flush()
    stream.commit(first.heard_samples)
    await talk(stream, 2 * SAMPLES_PER_WORD)
    assert (await stream.flush()).text == "four five"
    await stream.close()


async def test_word_times_lie_in_the_callers_audio(engine):
    stream = await engine.open()
    await talk(stream, 4 * SAMPLES_PER_WORD)
    words = (await stream.flush()).words
    await stream.close()
    for a, b in pairwise(words):
        assert 0 <= a.start_samples <= a.end_samples <= b.start_samples
    assert words[-1].end_samples <= 4 * SAMPLES_PER_WORD


@pytest.mark.parametrize(("send_s", "text"), [(0.0, "hello"), (0.4, "hello"), (9.0, "")])
async def test_a_flush_waits_for_words_on_a_slow_link_and_not_for_ever(monkeypatch, send_s, text):
    monkeypatch.setattr("asr.remote.stream._FLUSH_LIMIT_S", 1.0)
    stream = RemoteAsrStream(FakeWire(send_s), no_other, delay_ms=480)
    stream.feed(CHUNK)
    assert (await asyncio.wait_for(stream.flush(), 3)).text == text
    await stream.close()


async def no_other():
    raise RemoteError("There is no other server.")


async def test_audio_not_yet_sent_goes_over_the_next_connection_which_must_last():
    first, second = FakeWire(breaks_after=2), FakeWire(breaks_after=4)
    others = iter([second])

    async def reconnect():
        return next(others)

    stream = RemoteAsrStream(first, reconnect, delay_ms=480)
    chunks = [np.full(160, 0.1 * n, np.float32) for n in range(6)]
    for chunk in chunks:
        stream.feed(chunk)
    final = await stream.flush()
    assert [*first.sent, *second.sent] == [to_pcm16(chunk) for chunk in chunks]
    assert (final.text, final.heard_samples) == ("hello", 6 * 160)
    stream.feed(CHUNK)
    with pytest.raises(RemoteError, match="it is gone"):
        await asyncio.wait_for(collect(stream, []), 2)
    await stream.close()


async def test_a_server_that_ends_every_long_session_is_called_again_each_time(monkeypatch):
    monkeypatch.setattr("asr.remote.stream._HEALTHY_AFTER_S", 0.05)
    wires = []

    async def reconnect():
        wires.append(FakeWire())
        return wires[-1]

    stream = RemoteAsrStream(await reconnect(), reconnect, delay_ms=480)
    for n in range(1, 4):
        stream.feed(CHUNK)
        assert (await stream.flush()).text == " ".join(["hello"] * n)
        await wires[-1].close()  # cleanly
        await asyncio.sleep(0.1)
    assert len(wires) == 4
    await stream.close()


@pytest.mark.parametrize(
    ("kind", "trouble"), [("vllm", "hiccup"), ("vllm", "ends"), ("mistral", "hiccup")]
)
async def test_a_server_that_hangs_up_once_is_called_again(kind, trouble):
    async with remote(kind, trouble) as engine:
        stream = await engine.open()
        for _ in range(2):
            await talk(stream, 3 * SAMPLES_PER_WORD)
            final = await stream.flush()
        assert final.text.startswith("one")
        assert final.text.count("one") == 2  # the second server counts from the start
        assert final.heard_samples == 6 * SAMPLES_PER_WORD
        await stream.close()


@pytest.mark.parametrize(
    ("trouble", "message"),
    [("error", "out of memory"), ("dies", "hung up"), ("junk", "not JSON")],
)
async def test_a_failing_server_keeps_what_it_heard_and_says_why(trouble, message):
    async with serving(vllm_app(trouble)) as address:
        stream = await VllmAsrEngine(f"ws://{address}/v1/realtime?model=voxtral-realtime").open()
        seen = []
        follower = asyncio.create_task(collect(stream, seen))
        await talk(stream, 8 * SAMPLES_PER_WORD)
        with pytest.raises(RemoteError, match=message):
            await asyncio.wait_for(follower, 2)
        assert seen
        assert seen[0].text.startswith("one")
        assert (await asyncio.wait_for(stream.flush(), 1)).text.startswith("one")
        await stream.close()


async def test_mistral_idle_hang_up_is_explained():
    async with serving(mistral_app("idle")) as address:
        stream = await MistralAsrEngine("good-key", server_url=f"http://{address}").open()
        follower = asyncio.create_task(collect(stream, []))
        await talk(stream, 4 * SAMPLES_PER_WORD)
        with pytest.raises(RemoteError, match=r"3804.*30 s"):
            await asyncio.wait_for(follower, 2)
        await stream.close()


async def test_a_recording_reaches_remote_ears_as_it_was_spoken(engine):
    """All at once, its words would all seem to be said at its end."""
    pcm = np.full(5 * SAMPLES_PER_WORD, 0.1, np.float32)
    shown = []
    said = (await _transcribe(engine, pcm, None, False, False, shown.append)).final
    assert said.words[0].end_samples < len(pcm) / 2
    assert shown


async def test_refusals_are_told_apart():
    async with serving(vllm_app("full")) as address:
        engine = await VllmAsrEngine.connect(f"http://{address}?model=x")  # it will have room again
        with pytest.raises(EngineFull):
            await engine.open()
    async with serving(vllm_app("empty")) as address:
        with pytest.raises(RemoteError, match="serves no model"):
            await VllmAsrEngine(f"http://{address}").open()
    async with serving(vllm_app("html")) as address:
        with pytest.raises(RemoteError, match="does not list its models"):
            await VllmAsrEngine(f"http://{address}").open()
    async with serving(vllm_app("slams")) as address:
        with pytest.raises(RemoteError, match="1011"):
            await collect(await VllmAsrEngine(f"http://{address}").open(), [])
    with pytest.raises(RemoteError, match="cannot be reached"):
        await VllmAsrEngine.connect("http://127.0.0.1:9")
    for nowhere in ("ws://127.0.0.1:99999", "ws://127.0.0.1:9x", "ws://", "ws://[::1"):
        with pytest.raises(RemoteError, match="is no address"):
            await VllmAsrEngine.connect(nowhere)


async def test_a_wrong_key_never_shows_in_the_error():
    async with serving(mistral_app()) as address:
        with pytest.raises(RemoteError, match="MISTRAL_API_KEY") as caught:
            await MistralAsrEngine("secret-key", server_url=f"http://{address}").open()
        assert "secret-key" not in str(caught.value)


def test_words_grow_across_pieces_and_spaces_close_them():
    words = ArrivingWords(delay_samples=1_600)
    words.add(" hel", 16_000)
    assert words.hypothesis(16_000).text == "hel"
    assert words.hypothesis(16_000).stable == 0
    words.add("lo wor", 17_280)
    assert [w.text for w in words.hypothesis(17_280).words] == ["hello", "wor"]
    assert words.hypothesis(17_280).stable == 1
    final = words.hypothesis(17_280, final=True)
    assert final.stable == 2
    assert final.words[0].end_samples == 17_280 - 1_600
    assert (words.hypothesis(17_280).lag_samples, final.lag_samples) == (1_600, 0)
    assert not words.add("", 20_000)
