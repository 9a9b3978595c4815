from __future__ import annotations

import asyncio
import gc
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import asr.batch
from asr.batch import ListeningBatch
from asr.config import TOKEN_MS, TOKEN_SAMPLES
from asr.engine import VoxtralRealtimeEngine
from asr.interface import AsrEngine, Hypothesis
from asr.offline import transcribe
from asr.steps import Steps
from asr.stream import Listener
from asr.words import StreamingIds
from backbone.tekken import Tekken
from common.errors import AudioError, CheckpointError, EngineFull, ParleyError
from tests.asr.tiny import checkpoint, params, random_model, speechlike, tekken

TEKKEN = Tekken(tekken())
IDS = StreamingIds.of(TEKKEN)
PARAMS = params(layers=2, encoder_layers=2, window=26, encoder_window=25, mels=80)


def make_engine(max_streams: int = 4) -> VoxtralRealtimeEngine:
    return VoxtralRealtimeEngine(
        random_model(PARAMS), TEKKEN, name="tiny", delay_ms=160, max_streams=max_streams
    )


@pytest.fixture
async def engine():
    engine = make_engine()
    yield engine
    await engine.close()


def alone(clip: torch.Tensor, delay: int = 2) -> list[int]:
    """All tokens of a clip and the silence after it."""
    steps = Steps(random_model(PARAMS), IDS, 1)
    return transcribe(steps, TEKKEN, [clip.numpy()], delay)[0][1]


async def test_it_is_the_interface(tmp_path):
    engine: AsrEngine = VoxtralRealtimeEngine.load(checkpoint(tmp_path, PARAMS), max_streams=2)
    assert engine.info.delay_ms == 480
    assert "2 callers" in engine.info.limits
    await engine.close()


@pytest.mark.parametrize("chunk", [160, 1280, 7000])
async def test_a_flush_says_what_the_whole_clip_says(engine, chunk):
    clip = speechlike(2.3, seed=5)
    stream = await engine.open()
    for start in range(0, len(clip), chunk):
        stream.feed(clip[start : start + chunk].numpy())
    final = await stream.flush()
    assert final.final
    assert final.stable == len(final.words)
    assert final.heard_samples == len(clip)
    whole, tokens = alone(clip), stream.token_ids()
    at_least = -(-len(clip) // TOKEN_SAMPLES) + 1
    assert at_least <= len(tokens) <= len(whole)
    assert tokens == whole[: len(tokens)]
    assert tokens[-1] == IDS.pad or len(tokens) == len(whole)


async def test_flushing_any_number_of_times_leaves_the_live_stream_as_it_was(engine):
    clip = speechlike(2.0, seed=1)
    stream = await engine.open()
    flushes: list[asyncio.Task[Hypothesis]] = []
    for start in range(0, len(clip), 800):
        stream.feed(clip[start : start + 800].numpy())
        if start % 4000 == 0:
            flushes.append(asyncio.create_task(stream.flush()))
        await asyncio.sleep(0)
    finals = await asyncio.gather(*flushes)
    assert [final.heard_samples for final in finals] == sorted(f.heard_samples for f in finals)
    await stream.flush()
    assert stream.token_ids() == alone(clip)[: len(stream.token_ids())]


async def test_callers_do_not_hear_each_other(engine):
    clips = [speechlike(1.5 + 0.3 * seed, seed) for seed in range(4)]

    async def call(clip: torch.Tensor, wait_s: float) -> list[int]:
        await asyncio.sleep(wait_s)
        stream = await engine.open()
        for start in range(0, len(clip), 1000):
            stream.feed(clip[start : start + 1000].numpy())
            await asyncio.sleep(0.002)
        await stream.flush()
        await stream.close()
        return stream.token_ids()

    heard = await asyncio.gather(*(call(clip, 0.01 * i) for i, clip in enumerate(clips)))
    for clip, tokens in zip(clips, heard, strict=True):
        assert tokens == alone(clip)[: len(tokens)]
    assert max(engine.metrics().batch_sizes) > 1


@torch.inference_mode()
def test_a_flush_does_not_wait_for_streams_that_wait_for_one_another(monkeypatch):
    monkeypatch.setattr(asr.batch, "MAX_HOLD_S", 60.0)
    batch = ListeningBatch(Steps(random_model(PARAMS), IDS, 4), fork_rows=1)
    seats = [batch.join(Listener(TEKKEN, IDS, 2), lambda _: None) for _ in range(3)]
    heard: list[Hypothesis] = []
    batch._live_step_s = 60.0
    for seat in seats[:2]:
        seat.listener.feed(speechlike(0.05).numpy())
    position = seats[0].listener.position
    assert batch.step() == pytest.approx(60, abs=1)
    batch.flush(seats[2], lambda hypothesis, _: heard.append(hypothesis))
    while not heard:
        assert batch.step() == 0
    assert set(batch.sizes) == {1}
    assert seats[0].listener.position == position
    seats[2].listener.feed(speechlike(0.05).numpy())
    assert batch.step() == 0
    assert batch.sizes[-1] == 3
    assert seats[0].listener.position == position + 1


async def test_one_delay_for_each_caller(engine):
    clip = speechlike(1.2, seed=3)
    for delay in (1, 6):
        stream = await engine.open(delay_ms=delay * TOKEN_MS)
        stream.feed(clip.numpy())
        await stream.flush()
        assert stream.token_ids() == alone(clip, delay)[: len(stream.token_ids())]
        await stream.close()
    with pytest.raises(ValueError, match="multiple of 80"):
        await engine.open(delay_ms=100)


async def test_the_first_caller_finds_the_beginning_ready(monkeypatch):
    engine = make_engine()
    begun = []
    monkeypatch.setattr(engine._steps, "_begin", begun.append)
    await engine.open()
    assert begun == []
    await engine.close()


async def test_events_are_current_and_end_with_the_stream(engine):
    stream = await engine.open()
    seen: list[Hypothesis] = []

    async def follow():
        async for hypothesis in stream.events():
            seen.append(hypothesis)

    follower = asyncio.create_task(follow())
    stream.feed(speechlike(3.0).numpy())
    final = await stream.flush()
    await stream.close()
    await stream.close()
    await asyncio.wait_for(follower, 5)
    assert seen
    heard = [hypothesis.heard_samples for hypothesis in seen]
    assert heard == sorted(heard)
    assert final.text.startswith(" ".join(w.text for w in seen[-1].words[: seen[-1].stable]))


async def test_committed_words_do_not_come_back(engine):
    stream = await engine.open()
    stream.feed(speechlike(2.0).numpy())
    first = await stream.flush()
    assert first.words
    stream.commit(first.heard_samples)
    assert (await stream.flush()).words == ()
    stream.feed(speechlike(2.0, seed=2).numpy())
    later = await stream.flush()
    assert later.words
    assert all(word.end_samples > first.heard_samples for word in later.words)


async def test_one_caller_too_many_is_refused_until_a_slot_is_free():
    engine = make_engine(max_streams=2)
    first, _ = await engine.open(), await engine.open()
    assert "already serves 2 callers" in engine.refusal
    with pytest.raises(EngineFull, match="already serves 2 callers"):
        await engine.open()
    await first.close()
    assert not engine.refusal
    await engine.open()
    await engine.close()


async def test_who_hangs_up_while_joining_keeps_no_slot():
    engine = make_engine(max_streams=1)
    joining = asyncio.create_task(engine.open())
    await asyncio.sleep(0)
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    await (await engine.open()).close()
    joining = asyncio.create_task(engine.open())
    await asyncio.sleep(0)
    await asyncio.wait_for(engine.close(), 5)
    assert engine.metrics().streams == 0
    await joining


async def test_a_failing_model_ends_every_stream_with_the_cause():
    engine = make_engine()
    stream = await engine.open()

    def broken(*args, **kwargs):
        raise RuntimeError("out of memory")

    engine._steps.decode = broken
    stream.feed(np.zeros(16000, np.float32))
    with pytest.raises(ParleyError, match="out of memory"):
        async for _ in stream.events():
            pass
    with pytest.raises(ParleyError, match="out of memory"):
        await stream.flush()
    with pytest.raises(ParleyError, match="has stopped"):
        await engine.open()
    await engine.close()


async def test_a_stream_of_an_engine_that_has_just_failed_closes_quietly():
    engine = make_engine()
    stream = await engine.open()
    engine._steps.decode = lambda *args, **kwargs: 1 / 0
    stream.feed(np.zeros(16000, np.float32))
    engine._stepper._thread.join(5)  # before the loop has heard of it
    assert "ZeroDivisionError" in engine.refusal
    assert engine.failure == engine.refusal
    stream.commit(0)
    await stream.close()
    await engine.close()


async def test_closing_answers_whoever_waits(engine):
    stream = await engine.open()
    stream.feed(np.zeros(160_000, np.float32))
    waiting = asyncio.create_task(stream.flush())
    await asyncio.sleep(0)
    await stream.close()
    with pytest.raises(ParleyError, match="closed"):
        await waiting
    with pytest.raises(ParleyError, match="closed"):
        await stream.flush()
    stream.feed(np.zeros(160, np.float32))  # audio still on its way is dropped


async def test_wrong_audio_is_refused_and_harms_nobody(engine):
    stream = await engine.open()
    with pytest.raises(AudioError):
        stream.feed(np.zeros(160, np.int16))
    stream.feed(np.zeros(0, np.float32))
    assert (await stream.flush()).heard_samples == 0


async def test_the_event_loop_stays_free_while_the_model_works(engine):
    stream = await engine.open()
    stream.feed(speechlike(20.0).numpy())
    loop_s, process_s = time.thread_time(), time.process_time()
    await stream.flush()
    loop_s, process_s = time.thread_time() - loop_s, time.process_time() - process_s
    assert loop_s < 0.1 * process_s


def test_a_tokenizer_of_another_model_is_refused():
    content = tekken()
    content["config"]["default_vocab_size"] -= 5
    with pytest.raises(CheckpointError, match="belong together"):
        VoxtralRealtimeEngine(random_model(PARAMS), Tekken(content), name="tiny", max_streams=1)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "minutes", [1, pytest.param(180, marks=(pytest.mark.slow, pytest.mark.timeout(3_600)))]
)
async def test_long_calls_take_no_more_memory_than_short_ones(minutes):
    engine = make_engine(max_streams=1)
    stream = await engine.open()
    piece = speechlike(4.0).numpy()
    resident = []
    for passed in range(15 * minutes):
        stream.feed(piece)
        final = await stream.flush()
        stream.commit(final.heard_samples)
        assert final.heard_samples == (passed + 1) * len(piece)
        if passed % 5 == 4:
            gc.collect()
            resident.append(resident_bytes())
    assert resident[-1] - resident[minutes] < 20_000_000
    await engine.close()
