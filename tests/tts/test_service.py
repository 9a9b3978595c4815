"""The pipecat voice service on a real engine."""

import ctypes.util

import pytest
from pipecat.frames.frames import (
    AggregatedTextFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.tests.utils import SleepFrame, run_test

from common.errors import EngineFull
from tts.espeak import EspeakEngine
from tts.service import SpeechAudioFrame, TtsService

pytestmark = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None, reason="needs espeak-ng (apt install espeak-ng)"
)
CLAUSES = ("Good morning to you.", "Shall we begin?")


def reply(*clauses):
    return [
        LLMFullResponseStartFrame(),
        *(AggregatedTextFrame(clause, "sentence") for clause in clauses),
        LLMFullResponseEndFrame(),
    ]


@pytest.fixture
async def engine():
    engine = EspeakEngine()
    yield engine
    await engine.close()


async def test_a_reply_becomes_one_stretch_of_audio_with_all_its_words(engine):
    down, _ = await run_test(
        TtsService(engine=engine), frames_to_send=[*reply(*CLAUSES), SleepFrame(0.5)]
    )
    audio = [frame for frame in down if isinstance(frame, SpeechAudioFrame)]
    position = 0
    for frame in audio:
        assert frame.sample_rate == 24_000
        assert frame.start_samples == position
        position += frame.num_frames
    assert [w.text for frame in audio for w in frame.words] == " ".join(CLAUSES).split()
    assert sum(isinstance(frame, TTSStartedFrame) for frame in down) == 1
    assert sum(isinstance(frame, TTSStoppedFrame) for frame in down) == 1
    spoken = " ".join(frame.text for frame in down if isinstance(frame, TTSTextFrame))
    assert spoken.split() == " ".join(CLAUSES).split()


async def test_an_interruption_frees_the_slot_and_the_next_reply_speaks(engine):
    opened = []
    open_stream = engine.open

    async def recording_open(**kwargs):
        opened.append(await open_stream(**kwargs))
        return opened[-1]

    engine.open = recording_open
    down, _ = await run_test(
        TtsService(engine=engine),
        frames_to_send=[
            *reply(*CLAUSES)[:-1],
            SleepFrame(0.2),
            InterruptionFrame(),
            SleepFrame(0.1),
            *reply("Again."),
            SleepFrame(0.3),
        ],
    )
    assert len(opened) == 2
    assert opened[0]._cancelled
    after = down[max(i for i, f in enumerate(down) if isinstance(f, InterruptionFrame)) :]
    assert [w.text for f in after if isinstance(f, SpeechAudioFrame) for w in f.words] == ["Again."]


async def test_a_full_engine_is_reported_and_the_pipeline_lives(engine):
    async def refuse(**_):
        raise EngineFull("No room for one more voice.")

    engine.open = refuse
    _, up = await run_test(
        TtsService(engine=engine), frames_to_send=[*reply("Hello."), SleepFrame(0.2)]
    )
    assert any("No room for one more voice" in str(getattr(frame, "error", "")) for frame in up)
