"""The pipeline of docs/pipecat.md, as it stands there, hears a question and says what it heard."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.tests.utils import SleepFrame, run_test

from asr.interface import SAMPLE_RATE_HZ
from common.audiofile import read_audio
from common.pcm import to_pcm16
from tts.service import SpeechAudioFrame

PAGE = Path(__file__).parents[1] / "docs" / "pipecat.md"


class Parrot(FrameProcessor):
    """A language model that repeats what it is told."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            for piece in (
                LLMFullResponseStartFrame(),
                LLMTextFrame(f"{frame.text}."),
                LLMFullResponseEndFrame(),
            ):
                await self.push_frame(piece)
        else:
            await self.push_frame(frame, direction)


@pytest.fixture
def question(tmp_path: Path) -> np.ndarray:
    """float32 at 16 kHz, silence around it."""
    spoken = tmp_path / "question.wav"
    subprocess.run(
        ["flite", "-voice", "rms", "-t", "what time is it", "-o", str(spoken)], check=True
    )
    quiet = np.zeros(SAMPLE_RATE_HZ // 2, np.float32)
    return np.concatenate([quiet, read_audio(spoken, SAMPLE_RATE_HZ), quiet])


@pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite (apt install flite)")
async def test_the_pipeline_of_the_page_hears_and_speaks(question: np.ndarray) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    names: dict[str, Any] = {
        "transport": SimpleNamespace(input=IdentityFilter, output=IdentityFilter),
        "context_aggregator": SimpleNamespace(user=IdentityFilter, assistant=IdentityFilter),
        "llm": Parrot(),
    }
    exec(program, names)
    heard = [
        InputAudioRawFrame(to_pcm16(question[i : i + 320]), SAMPLE_RATE_HZ, 1)
        for i in range(0, len(question), 320)
    ]
    try:
        down, _ = await run_test(
            names["pipeline"],
            start_timeout=20.0,
            frames_to_send=[
                *heard,
                SleepFrame(1.0),
                VADUserStoppedSpeakingFrame(),
                SleepFrame(4.0),
            ],
        )
    finally:
        await names["ears"].close()
        await names["voice"].close()
    speech = [frame for frame in down if isinstance(frame, SpeechAudioFrame)]
    assert " ".join(word.text for frame in speech for word in frame.words) == "what time is it."
    assert max(np.abs(np.frombuffer(frame.audio, np.int16)).max() for frame in speech) > 3_000
