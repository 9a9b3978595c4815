"""The pipecat recogniser service on real ears."""

import shutil
import subprocess

import numpy as np
import pytest
from pipecat.frames.frames import (
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.tests.utils import SleepFrame, run_test

from asr.interface import SAMPLE_RATE_HZ
from asr.service import AsrService
from asr.sphinx import SphinxEngine
from common.audiofile import read_audio
from common.pcm import to_pcm16

pytestmark = pytest.mark.skipif(
    shutil.which("flite") is None, reason="needs flite (apt install flite)"
)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    path = tmp_path_factory.mktemp("speech") / "a.wav"
    subprocess.run(["flite", "-voice", "rms", "-t", "what time is it", "-o", str(path)], check=True)
    pcm = read_audio(path, SAMPLE_RATE_HZ)
    return np.concatenate([np.zeros(4_800, np.float32), pcm, np.zeros(9_600, np.float32)])


def as_frames(pcm):
    return [
        InputAudioRawFrame(to_pcm16(pcm[i : i + 320]), SAMPLE_RATE_HZ, 1)
        for i in range(0, len(pcm), 320)
    ]


async def test_interims_then_one_finalized_uninterruptible_transcript(speech):
    engine = SphinxEngine()
    try:
        down, _ = await run_test(
            AsrService(engine=engine),
            start_timeout=20.0,
            frames_to_send=[
                *as_frames(speech),
                SleepFrame(1.0),
                VADUserStoppedSpeakingFrame(),
                SleepFrame(1.0),
            ],
        )
    finally:
        await engine.close()
    (final,) = [frame for frame in down if isinstance(frame, TranscriptionFrame)]
    assert final.text.lower() == "what time is it"
    assert final.finalized
    assert final.interruptible is False
    assert any(isinstance(frame, InterimTranscriptionFrame) for frame in down)


async def test_silence_gives_no_transcript():
    engine = SphinxEngine()
    try:
        down, _ = await run_test(
            AsrService(engine=engine),
            start_timeout=20.0,
            frames_to_send=[
                *as_frames(np.zeros(SAMPLE_RATE_HZ, np.float32)),
                VADUserStoppedSpeakingFrame(),
                SleepFrame(0.5),
            ],
        )
    finally:
        await engine.close()
    assert not [frame for frame in down if isinstance(frame, TranscriptionFrame)]
