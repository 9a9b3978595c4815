"""Our own voice as a speaker for the ears: every checkpoint voice, made taller and shorter.

It is slow, a tenth of real time alone, so eight sentences are spoken together and kept until asked
for. Words have times, from the voice's own alignment; phones have none.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.pcm import to_pcm16
from training.speech.espeak import resampled
from training.speech.utterance import Timed, Utterance
from training.text.conversation import spoken
from tts.engine import VoxtralTtsEngine
from tts.interface import SAMPLE_RATE_HZ as VOICE_RATE_HZ
from tts.interface import SpokenWord

_TOGETHER = 8
_NO_WAIT_S = 1e9  # nobody listens: no speaker is ever too far ahead of playback


class Ours:
    """The voice of a checkpoint.

    Args:
        folder: The checkpoint.
        text: Gives the next sentence.
        chance: Draws voices and their height.
    """

    def __init__(self, folder: Path, text: Callable[[], str], chance: random.Random) -> None:
        self._text, self._chance = text, chance
        self._engine = VoxtralTtsEngine.load(
            folder, max_streams=_TOGETHER, ahead_s=_NO_WAIT_S, device="cpu"
        )
        self._names = [info.name for info in self._engine.voices()]
        self._loop = asyncio.new_event_loop()
        self._said: dict[str, deque[Utterance]] = {name: deque() for name in self._names}

    def close(self) -> None:
        """Free the engine and its thread."""
        self._loop.run_until_complete(self._engine.close())
        self._loop.close()

    def someone(self) -> str:
        """Draw a voice."""
        return self._chance.choice(self._names)

    def say(self, voice: str) -> Utterance:
        """The voice's next sentence."""
        said = self._said[voice]
        while not said:
            said.extend(self._loop.run_until_complete(self._together(voice)))
        return said.popleft()

    async def _together(self, voice: str) -> list[Utterance]:
        texts = [self._text() for _ in range(_TOGETHER)]
        made = await asyncio.gather(*(self._one(voice, text) for text in texts))
        return [utterance for utterance in made if utterance is not None]

    async def _one(self, voice: str, text: str) -> Utterance | None:
        stream = await self._engine.open(voice=voice, seed=self._chance.randrange(1 << 30))
        stream.write(text)
        stream.end_text()
        frames = [frame async for frame in stream.frames()]
        if not frames:
            return None
        words = [word for frame in frames for word in frame.words]
        tract = self._chance.uniform(0.88, 1.14)
        timed = [part for word in words for part in _written(word, VOICE_RATE_HZ * tract)]
        if [word.text for word in timed] != spoken(text):
            return None
        pcm = np.concatenate([frame.pcm for frame in frames])
        wave = np.frombuffer(to_pcm16(pcm), np.int16)
        return Utterance(resampled(wave, VOICE_RATE_HZ * tract), tuple(timed), ())


def _written(word: SpokenWord, rate_hz: float) -> list[Timed]:
    """A word of the text as words of a transcript, which share its time by letters."""
    texts = spoken(word.text)
    at, out = word.start_samples / rate_hz, []
    each = (word.end_samples - word.start_samples) / rate_hz / max(1, sum(map(len, texts)))
    for text in texts:
        out.append(Timed(text, at, at + each * len(text)))
        at = out[-1].end_s
    return out
