"""The engine as its callers see it: frames at once, many speakers, bad input."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import torch

from backbone.tekken import Tekken
from common.errors import CheckpointError, EngineFull, ParleyError
from tests.tts.checkpoints import BUNDLED_TEKKEN, write_checkpoint
from tts.engine import VoxtralTtsEngine
from tts.interface import SpeechFrame
from tts.speakable import speakable
from tts.speaking import Start
from tts.stream import VoxtralSpeechStream
from tts.text import ClausePlanner

TEXT = "How are you?"


@pytest.fixture
async def engine(checkpoint: Path) -> AsyncIterator[VoxtralTtsEngine]:
    opened = await asyncio.to_thread(
        VoxtralTtsEngine.load, checkpoint, max_streams=4, device="cpu", ahead_s=float("inf")
    )
    yield opened
    await opened.close()


def always_end(engine: VoxtralTtsEngine) -> None:
    """Make END the model's favourite code."""
    set_end(engine, 1e4)


def set_end(engine: VoxtralTtsEngine, logit: float) -> None:
    """Give END this logit whatever the model thinks."""
    head = engine._batch.model.acoustic_transformer
    plain = head.semantic_logits

    def logits(h: torch.Tensor) -> torch.Tensor:
        out = plain(h)
        out[:, 1] = logit
        return out

    head.semantic_logits = logits  # type: ignore[method-assign]


async def collect(stream: VoxtralSpeechStream) -> list[SpeechFrame]:
    return [frame async for frame in stream.frames()]


async def say(engine: VoxtralTtsEngine, *texts: str, **kwargs: object) -> tuple[list, np.ndarray]:
    stream = await engine.open(**kwargs)  # type: ignore[arg-type]
    for text in texts:
        stream.write(text)
    stream.end_text()
    return await collect(stream), stream.codes


async def test_a_frame_reaches_the_caller_before_the_next_is_computed(
    engine: VoxtralTtsEngine,
) -> None:
    may_step, computed = threading.Semaphore(0), []
    step = engine._batch.step

    def gated(*args: object) -> object:
        assert may_step.acquire(timeout=20)
        computed.append(1)
        return step(*args)  # type: ignore[arg-type]

    engine._batch.step = gated  # type: ignore[method-assign, assignment]
    stream = await engine.open(seed=0)
    stream.write(TEXT)
    frames = stream.frames()
    for n in range(1, 6):
        may_step.release()
        frame = await asyncio.wait_for(anext(frames), timeout=20)
        assert len(computed) == n  # the gate lets no further frame be computed
        assert frame.start_samples == (n - 1) * 1920
        assert frame.pcm.shape == (1920,)
        assert frame.pcm.dtype == np.float32
    stream.cancel()
    may_step.release()


async def test_words_come_in_order_and_as_they_stood_in_the_text(engine: VoxtralTtsEngine) -> None:
    frames, _ = await say(engine, TEXT, seed=1)
    words = [word for frame in frames for word in frame.words]
    assert [word.text for word in words] == TEXT.split()
    ends = [word.end_samples for word in words]
    assert ends == sorted(ends)
    assert all(word.start_samples <= word.end_samples for word in words)
    for frame in frames:
        end = frame.start_samples + len(frame.pcm)
        assert all(word.end_samples <= end for word in frame.words)
    assert ends[-1] == frames[-1].start_samples


async def test_same_seed_same_codes_whoever_else_speaks(engine: VoxtralTtsEngine) -> None:
    _, alone = await say(engine, "Again.", seed=5)
    others = [asyncio.create_task(say(engine, TEXT, seed=s, voice="pt_male")) for s in (1, 2)]
    await asyncio.sleep(0.1)
    _, together = await say(engine, "Again.", seed=5)
    _, different = await say(engine, "Again.", seed=6)
    await asyncio.gather(*others)
    np.testing.assert_array_equal(alone, together)
    assert alone.shape[1] == 7
    assert not np.array_equal(alone, different)


async def test_text_may_come_while_audio_goes_out(engine: VoxtralTtsEngine) -> None:
    always_end(engine)  # one frame a clause
    stream = await engine.open(seed=0)
    frames = stream.frames()
    stream.write("One.")
    first = await anext(frames)
    closing = await anext(frames)
    assert [word.text for word in (*first.words, *closing.words)] == ["One."]
    assert len(closing.pcm) == 240
    stream.write("Two.")
    second = await anext(frames)
    assert second.start_samples == 1920 + 240
    stream.end_text()
    rest = [frame async for frame in frames]
    assert [word.text for frame in rest for word in frame.words] == ["Two."]


async def test_end_is_not_believed_before_the_first_frame(engine: VoxtralTtsEngine) -> None:
    always_end(engine)
    frames, codes = await say(engine, "Hello.", seed=0)
    assert len(codes) == 1
    assert [len(frame.pcm) for frame in frames] == [1920, 240]


async def test_a_clause_that_never_ends_is_cut_off(engine: VoxtralTtsEngine) -> None:
    set_end(engine, -torch.inf)
    clause = ClausePlanner(engine._units).plan(speakable("Hi."))
    assert clause is not None
    _, codes = await say(engine, "Hi.", seed=0)
    assert len(codes) == clause.max_frames


async def test_cancel_frees_the_slot_at_once_and_full_engines_refuse(checkpoint: Path) -> None:
    engine = await asyncio.to_thread(VoxtralTtsEngine.load, checkpoint, max_streams=1, device="cpu")
    stream = await engine.open()
    stream.write(TEXT)
    frames = stream.frames()
    await anext(frames)
    assert engine.refusal
    with pytest.raises(EngineFull):
        await engine.open()
    stream.cancel()
    stream.cancel()
    assert [frame async for frame in frames] == []
    stream.write("not heard any more")
    again = await engine.open()
    again.end_text()
    assert await collect(again) == []
    await engine.close()
    await engine.close()


async def test_no_caller_is_taken_in_while_the_voice_is_slower_than_speech(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await asyncio.to_thread(VoxtralTtsEngine.load, checkpoint, max_streams=2, device="cpu")
    step = engine._batch.step
    monkeypatch.setattr(engine._batch, "step", lambda *args: (time.sleep(0.1), step(*args))[1])
    stream = await engine.open()
    assert not engine.refusal
    stream.write(20 * TEXT)
    stream.end_text()
    async for _ in stream.frames():
        if engine.refusal:
            break
    assert "for every 80 ms" in engine.refusal
    (await engine.open()).cancel()  # somebody who is there gets an answer
    stream.cancel()
    await engine.metrics()  # the slot is free when this has been answered
    assert not engine.refusal
    await engine.close()


async def test_speakers_with_enough_audio_ahead_step_aside(checkpoint: Path) -> None:
    engine = await asyncio.to_thread(
        VoxtralTtsEngine.load, checkpoint, max_streams=2, device="cpu", ahead_s=0.4
    )
    stream = await engine.open(seed=0)
    stream.write(TEXT)
    got, began = 0, time.monotonic()
    async for _ in stream.frames():
        got += 1
        if got == 10:
            break
    # Ten frames are 0.8 s: they cannot all be there before 0.4 s have been played.
    assert time.monotonic() - began > 0.25
    metrics = await engine.metrics()
    assert metrics.frames >= 10
    assert len(metrics.first_frame_ms) == 1
    assert max(metrics.lead_s) < 0.6
    stream.cancel()
    await engine.close()


@pytest.mark.parametrize("text", ["", "   \n\t ", "😀 🎉", "\x00\x07\x1b", "...", "—"])
async def test_nothing_to_say_is_silence_not_failure(engine: VoxtralTtsEngine, text: str) -> None:
    frames, codes = await say(engine, text)
    assert frames == []
    assert len(codes) == 0
    always_end(engine)
    frames, _ = await say(engine, "Still there.")
    assert frames


async def test_twenty_thousand_characters(engine: VoxtralTtsEngine) -> None:
    always_end(engine)
    text = ("This goes on and on, and it is not over yet. " * 450)[:20_000]
    frames, codes = await say(engine, text)
    assert [word.text for frame in frames for word in frame.words] == text.split()
    assert len(codes) >= 20_000 / 500
    _, codes = await say(engine, "x" * 2_000)  # no word, no sentence, nowhere to breathe
    assert len(codes) >= 2_000 / 500


async def test_an_unknown_voice_is_refused_with_the_list(engine: VoxtralTtsEngine) -> None:
    with pytest.raises(ParleyError, match="casual_female, casual_male, pt_male"):
        await engine.open(voice="nobody")
    frames, _ = await say(engine, "Hi.", voice="Casual_Male")
    assert frames


async def test_a_caller_who_walks_away_keeps_no_slot(checkpoint: Path) -> None:
    engine = await asyncio.to_thread(VoxtralTtsEngine.load, checkpoint, max_streams=1, device="cpu")
    stream = await engine.open()
    stream.write(TEXT)  # and the text never ends
    frames = stream.frames()
    await anext(frames)
    await frames.aclose()  # type: ignore[attr-defined]
    again = await engine.open()
    again.cancel()
    await engine.close()
    again.cancel()


async def test_who_hangs_up_while_a_voice_opens_keeps_no_slot(checkpoint: Path) -> None:
    engine = await asyncio.to_thread(VoxtralTtsEngine.load, checkpoint, max_streams=1, device="cpu")
    opening = asyncio.create_task(engine.open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await engine.open()
    await engine.close()


@pytest.mark.parametrize("texts", [["Something strange."], ["Hello there.", "Something strange."]])
async def test_one_strange_text_does_not_silence_the_others(
    engine: VoxtralTtsEngine, monkeypatch: pytest.MonkeyPatch, texts: list[str]
) -> None:
    read = ClausePlanner.read

    def fragile(self: ClausePlanner, text: str) -> object:
        if "strange" in text:
            raise ZeroDivisionError("no such thing")
        return read(self, text)

    monkeypatch.setattr(ClausePlanner, "read", fragile)
    other = asyncio.create_task(say(engine, "Quite normal."))
    with pytest.raises(ParleyError, match="no such thing"):
        await say(engine, *texts)
    frames, _ = await other
    assert frames
    assert (await engine.metrics()).speakers == 0


async def test_a_failing_model_tells_its_callers(engine: VoxtralTtsEngine) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    engine._batch.step = broken  # type: ignore[method-assign, assignment]
    stream = await engine.open()
    stream.write("Hello.")
    with pytest.raises(ParleyError, match="out of memory"):
        await collect(stream)
    assert "out of memory" in engine.refusal
    assert engine.failure == engine.refusal
    assert (await engine.metrics()).speakers == 0  # monitoring goes on
    with pytest.raises(ParleyError):
        await engine.open()


async def test_what_is_said_in_one_breath_is_one_text(
    engine: VoxtralTtsEngine, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always_end(engine)  # each clause after its first frame
    starts: list[Start] = []
    begin = engine._batch.begin
    monkeypatch.setattr(engine._batch, "begin", lambda new: starts.extend(new) or begin(new))
    await say(engine, "Hello there.", "How are you?")
    first, second = starts
    tekken = Tekken.load(checkpoint / "tekken.json")
    assert tekken.decode(first.ids) == "Hello there."
    # " How" is other pieces than " " and "How", which no text ever holds.
    assert [*second.said.ids, *second.ids] == tekken.encode("Hello there. How are you?")


def test_a_voice_that_cannot_be_prepared_leaves_no_thread(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "toy")
    shutil.rmtree(folder / "voice_embedding")
    before = threading.enumerate()
    with pytest.raises(CheckpointError, match="has no voices"):
        VoxtralTtsEngine.load(folder, voices_dir=tmp_path / "none", device="cpu")
    assert threading.enumerate() == before


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "toy")
    (folder / "tekken.json").write_bytes(BUNDLED_TEKKEN.read_bytes())
    with pytest.raises(CheckpointError, match=r"131072 tokens, the model 3000"):
        VoxtralTtsEngine.load(folder, device="cpu")
