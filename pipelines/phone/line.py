"""A telephone line at 8 kHz on one side, a conversation on the other."""

from __future__ import annotations

import asyncio

import numpy as np

from asr.interface import SAMPLE_RATE_HZ as HEARD_HZ
from common.resample import Resampler
from pipelines.conversation import Conversation
from tts.interface import SAMPLE_RATE_HZ as SAID_HZ

LINE_HZ = 8_000
PACKET_SAMPLES = LINE_HZ // 50
_HEARD_SAMPLES, _SAID_SAMPLES = HEARD_HZ // 50, SAID_HZ // 50
_BETWEEN_KEYS_S = 1.5


class PhoneLine:
    """Resamples both ways, cuts the caller's audio into 20 ms frames, and types the caller's keys.

    Attributes:
        still: Nobody is heard on either side, and the conversation's time stands still.
    """

    def __init__(self, conversation: Conversation):
        self.still = False
        self._conversation = conversation
        self._up = Resampler(LINE_HZ, HEARD_HZ)
        self._down = Resampler(SAID_HZ, LINE_HZ)
        self._heard = np.zeros(0, np.float32)
        self._said = np.zeros(0, np.float32)
        self._keys = ""
        self._pause: asyncio.TimerHandle | None = None

    def hear(self, pcm: np.ndarray) -> None:
        """Audio from the line: float32 at 8 kHz, any length."""
        if self.still:
            return
        self._heard = np.concatenate([self._heard, self._up.feed(pcm)])
        while len(self._heard) >= _HEARD_SAMPLES:
            self._conversation.hear(self._heard[:_HEARD_SAMPLES])
            self._heard = self._heard[_HEARD_SAMPLES:]

    def pull(self) -> np.ndarray:
        """The next 20 ms for the line: float32 [160] at 8 kHz."""
        pcm = None if self.still else self._conversation.pull(_SAID_SAMPLES)
        if pcm is None:
            pcm = np.zeros(_SAID_SAMPLES, np.float32)
        self._said = np.concatenate([self._said, self._down.feed(pcm)])
        out, self._said = self._said[:PACKET_SAMPLES], self._said[PACKET_SAMPLES:]
        # The filter's 2 ms of delay are missing once, from the very first packet.
        return np.pad(out, (PACKET_SAMPLES - len(out), 0))

    def key(self, key: str) -> None:
        """A key of the telephone; those pressed one after the other are one message."""
        self._keys += key
        if self._pause is not None:
            self._pause.cancel()
        loop = asyncio.get_running_loop()
        self._pause = loop.call_later(_BETWEEN_KEYS_S, self._type)

    def _type(self) -> None:
        keys, self._keys = self._keys, ""
        if not self._conversation.ended.is_set():
            self._conversation.typed(keys)
