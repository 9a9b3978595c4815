"""The espeak-ng engine: real speech, exact words, immediate cancel."""

import ctypes.util
from itertools import pairwise

import numpy as np
import pytest

from common.errors import ParleyError
from tts.espeak import EspeakEngine
from tts.interface import SAMPLE_RATE_HZ

pytestmark = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None, reason="needs espeak-ng (apt install espeak-ng)"
)


@pytest.fixture
async def engine():
    engine = EspeakEngine()
    yield engine
    await engine.close()


async def spoken(engine, *clauses, voice=None):
    stream = await engine.open(voice=voice)
    for clause in clauses:
        stream.write(clause)
    stream.end_text()
    return [frame async for frame in stream.frames()]


async def test_audio_is_continuous_and_audible(engine):
    frames = await spoken(engine, "Hello there, my friend.", "How are you?")
    position = 0
    for frame in frames:
        assert frame.start_samples == position
        position += len(frame.pcm)
    pcm = np.concatenate([frame.pcm for frame in frames])
    assert 1.0 < len(pcm) / SAMPLE_RATE_HZ < 5.0
    assert 0.02 < np.sqrt(np.mean(pcm**2)) < 0.5
    assert np.abs(pcm).max() <= 1.0


async def test_every_word_comes_once_in_order_with_its_place(engine):
    clauses = ("One of the best, said Mr. Smith.", "Right?")
    frames = await spoken(engine, *clauses)
    words = [word for frame in frames for word in frame.words]
    assert [word.text for word in words] == " ".join(clauses).split()
    assert all(a.start_samples <= b.start_samples for a, b in pairwise(words))
    total = sum(len(frame.pcm) for frame in frames)
    assert 0 <= words[0].start_samples < words[-1].end_samples <= total


async def test_cancel_ends_the_frames_at_once(engine):
    stream = await engine.open()
    stream.write("This sentence is much too long to be spoken to its very end by anyone.")
    taken = []
    async for frame in stream.frames():
        taken.append(frame)
        stream.cancel()
    assert len(taken) == 1


async def test_an_unknown_voice_lists_those_there_are(engine):
    with pytest.raises(ParleyError, match="en-gb"):
        await engine.open(voice="nobody")


async def test_silence_says_nothing(engine):
    assert await spoken(engine, "   ") == []


async def test_words_that_espeak_says_in_one_go_share_its_time(engine):
    stream = await engine.open()
    stream.write("At ten o'clock in the morning.")
    stream.end_text()
    words = [word async for frame in stream.frames() for word in frame.words]
    assert [word.text for word in words] == ["At", "ten", "o'clock", "in", "the", "morning."]
    assert all(word.start_samples < word.end_samples for word in words)
