"""A recording calls the agent: the same conversation, in real time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from asr.interface import SAMPLE_RATE_HZ as HEARD_HZ
from pipelines.conversation import Conversation
from tts.interface import SAMPLE_RATE_HZ as SAID_HZ

_TICK_S = 0.020
_HEARD_SAMPLES, _SAID_SAMPLES = HEARD_HZ // 50, SAID_HZ // 50


@dataclass(frozen=True)
class FileCallOptions:
    """How the recording behaves as a caller.

    Attributes:
        greeting: The agent speaks first, and the recording waits until it has finished.
        quiet_s: The call is over when, after the recording, both were silent for so long.
        longest_wait_s: … or so long after the recording whatever happens.
    """

    greeting: bool = True
    quiet_s: float = 1.5
    longest_wait_s: float = 30.0


async def call_with_recording(
    conversation: Conversation, recording: np.ndarray, options: FileCallOptions | None = None
) -> None:
    """Hold the call.

    Args:
        conversation: Not started yet; it is started here, and left for the caller to close.
        recording: The caller: float32 mono at 16 kHz.
        options: How the recording behaves.

    Raises:
        EngineFull: The models are busy with other calls.
    """
    options = options or FileCallOptions()
    await conversation.start()
    if options.greeting:
        conversation.greet()
    await _Call(conversation, recording, options).run()


class _Call:
    def __init__(self, conversation: Conversation, recording: np.ndarray, options: FileCallOptions):
        self._conversation = conversation
        self._recording = recording
        self._options = options
        self._position = 0
        self._quiet_s = 0.0

    async def run(self) -> None:
        """Every 20 ms on an absolute schedule: one frame each way."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        over_s = 0.0
        while not self._conversation.ended.is_set() and over_s < self._options.longest_wait_s:
            self._tick()
            if self._position >= len(self._recording):
                over_s += _TICK_S
                self._quiet_s = self._quiet_s + _TICK_S if self._conversation.at_rest else 0.0
                if self._quiet_s >= self._options.quiet_s:
                    break
            due_s += _TICK_S
            await asyncio.sleep(max(0.0, due_s - loop.time()))

    def _tick(self) -> None:
        frame = np.zeros(_HEARD_SAMPLES, np.float32)
        greeted = not self._options.greeting or self._conversation.greeted
        if greeted and self._position < len(self._recording):
            piece = self._recording[self._position : self._position + _HEARD_SAMPLES]
            frame[: len(piece)] = piece
            self._position += _HEARD_SAMPLES
        self._conversation.hear(frame)
        self._conversation.pull(_SAID_SAMPLES)
