"""Whole calls in virtual time: the real conversation between a caller and engines that do anything.

Everything that takes time takes seeded, virtual time, so a call of a minute takes a second and its seed
repeats it. Only what computes on threads of its own (Silero, smart-turn) is replaced by what it might say.

The voice writes into each word's samples which word it is, in a way that no fade changes. So what the
caller heard is known from the samples alone, whatever the agent believes.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np

from agent.llm import LlmError, Message, Piece, TextDelta, ToolCall, ToolSchema, Usage
from agent.tools import tool
from asr.interface import AsrInfo, Hypothesis
from common.errors import EngineFull, RemoteError
from evals.virtual.recogniser import Recogniser
from evals.virtual.speech import Microphone, Utterance, noise, spoken
from evals.virtual.world import DELAYED, FAST, HARSH
from tts.interface import FRAME_SAMPLES, SpeechFrame, SpokenWord, TtsInfo, VoiceInfo

_CODES = 1024
_LOUD = 0.5
_STUCK_S = 5.0


class Chaos(Exception):
    """What an engine raises that it never said it would."""


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop that never waits: when there is nothing to do, its clock jumps to what comes next."""

    def __init__(self) -> None:
        super().__init__(_Jumping(self))
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:  # only a thread can wake it
            ready = super().select(_STUCK_S)
            assert ready, "everybody waits for ever"
            return ready
        self._loop.now_s += max(0.0, timeout)
        return super().select(0)


# ---- the voice ------------------------------------------------------------------------------------


class Voice:
    """A synthesiser that refuses, dawdles, breaks in the middle or never makes a sound.

    Attributes:
        fates: What may happen to an utterance, and how often.
        words: Every word that it began to say, with its length in samples.
        told: Numbers of those that it told the place of.
        streams: Utterances that are open.
    """

    info = TtsInfo("any voice", "in the test")
    refusal = ""

    def __init__(self, rng: random.Random):
        self._rng = rng
        self.fates = {
            "well": 70,
            "full": 8,
            "refuses": 3,
            "dies": 8,
            "breaks": 3,
            "mute": 4,
            "dawdles": 6,
        }
        self.words: list[tuple[str, int]] = []
        self.told: set[int] = set()
        self.streams: set[Speech] = set()

    def voices(self) -> tuple[VoiceInfo, ...]:
        return (VoiceInfo("any"),)

    async def open(self, *, voice: str | None = None, seed: int | None = None) -> Speech:
        await asyncio.sleep(self._rng.choice([0.0, 0.0, 0.02, 0.3]))
        (fate,) = self._rng.choices(list(self.fates), self.fates.values())
        if fate == "full":
            raise EngineFull("All voices are speaking.")
        if fate == "refuses":
            raise RemoteError("The voice refuses.")
        return Speech(self, fate, self._rng)

    async def close(self) -> None:
        pass


class Speech:
    """One utterance; see `tts.interface.SpeechStream`."""

    def __init__(self, voice: Voice, fate: str, rng: random.Random):
        self._voice = voice
        self._fate = fate
        self._rng = rng
        self._text: asyncio.Queue[str | None] = asyncio.Queue()
        self._frames_left = rng.randint(0, 20) if fate in ("dies", "breaks") else 10**9
        self._cancelled = False
        voice.streams.add(self)

    def write(self, text: str) -> None:
        self._text.put_nowait(text)

    def end_text(self) -> None:
        self._text.put_nowait(None)

    def cancel(self) -> None:
        self._cancelled = True
        self._voice.streams.discard(self)
        self._text.put_nowait(None)

    async def frames(self) -> AsyncIterator[SpeechFrame]:
        silence = self._rng.choice([0, 0, 700, 3000])
        waiting, at = np.zeros(silence, np.float32), 0
        words: list[tuple[int, SpokenWord]] = []
        while (text := await self._text.get()) is not None and not self._cancelled:
            if self._fate == "mute":
                continue
            for word in text.split():
                number, pcm = self._say(word)
                start = at + len(waiting)
                words.append((number, SpokenWord(word, start, start + len(pcm))))
                waiting = np.concatenate([waiting, pcm])
            while len(waiting) and not self._cancelled:
                await self._make_one()
                if self._cancelled:
                    return
                pcm, waiting = waiting[:FRAME_SAMPLES], waiting[FRAME_SAMPLES:]
                at += len(pcm)
                done = [(number, word) for number, word in words if word.end_samples <= at]
                words = words[len(done) :]
                self._voice.told.update(number for number, _ in done)
                yield SpeechFrame(pcm, at - len(pcm), tuple(word for _, word in done))

    async def _make_one(self) -> None:
        await asyncio.sleep(0.1 if self._fate == "dawdles" else 0.01)
        self._frames_left -= 1
        if self._frames_left < 0:
            self._voice.streams.discard(self)
            raise Chaos if self._fate == "breaks" else RemoteError("The voice died.")

    def _say(self, word: str) -> tuple[int, np.ndarray]:
        """Neighbouring samples stand in the ratio of the word's number: a gain leaves that alone."""
        length = 24 * (90 + 45 * len(word)) // 2 * 2
        number = len(self._voice.words)
        assert number < _CODES - 1
        self._voice.words.append((word, length))
        pair = np.array([_LOUD, _LOUD * (number + 1) / _CODES], np.float32)
        return number, np.tile(pair, length // 2)


def words_in(pcm: np.ndarray) -> np.ndarray:
    """How many samples of each word these are; shape [1024], int."""
    pairs = np.abs(pcm[: len(pcm) // 2 * 2]).reshape(-1, 2)
    pairs = pairs[pairs.max(axis=1) > 1e-3]
    codes = _CODES * pairs.min(axis=1) / pairs.max(axis=1) - 1
    whole = np.abs(codes - np.round(codes)) < 0.02  # within a fade they are not
    return 2 * np.bincount(np.round(codes[whole]).astype(int).clip(0), minlength=_CODES)


# ---- the ears -------------------------------------------------------------------------------------


class Ears:
    """A recogniser for one caller that is late, wrong, or dies."""

    info = AsrInfo("any ears", "in the test", 200)
    refusal = ""

    def __init__(self, rng: random.Random, said: list[tuple[int, Utterance]]):
        self._rng = rng
        self._engines = rng.choice([FAST, DELAYED, HARSH])
        self._recogniser = Recogniser(self._engines, rng)
        self._said = said
        self._now = 0
        self._news: asyncio.Queue[Hypothesis | None] = asyncio.Queue()
        self._dies_at = rng.choice([10**9] * 6 + [rng.randint(0, 20 * 16_000)])
        self.open_streams = 0

    async def open(self, *, delay_ms: int | None = None, language: str | None = None) -> Ears:
        self.open_streams += 1
        return self

    def feed(self, pcm: np.ndarray) -> None:
        self._now += len(pcm)
        if self._now >= self._dies_at:
            self._news.put_nowait(None)
        elif heard := self._recogniser.tick(self._now, self._said):
            self._news.put_nowait(heard.hypothesis)

    async def events(self) -> AsyncIterator[Hypothesis]:
        while (hypothesis := await self._news.get()) is not None:
            yield hypothesis
        if self.open_streams:
            raise RemoteError("The ears died.")

    async def flush(self) -> Hypothesis:
        final = self._recogniser.flush(self._now, self._said)
        late_ms = self._rng.choice([0, 0, 0, 0, 0, 700, 4000])
        await asyncio.sleep((self._engines.flush_ms + late_ms) / 1000)
        if self._now >= self._dies_at:
            raise RemoteError("The ears died.")
        return final

    def commit(self, upto_samples: int) -> None:
        self._recogniser.commit(upto_samples)

    async def close(self) -> None:
        self.open_streams = 0
        self._news.put_nowait(None)


class Judges:
    """What the gate, Silero and smart-turn say, as the caller's script has it."""

    def __init__(self, rng: random.Random):
        self._rng = rng
        self.voiced = False
        self.confidence = 0.0

    def hear(self, pcm: np.ndarray) -> bool:
        return self.voiced

    def turn_began(self, at_samples: int) -> None:
        pass

    async def finished(self) -> float:
        await asyncio.sleep(self._rng.choice([0.1, 0.18, 0.8]))
        return self._rng.random()


# ---- the brain ------------------------------------------------------------------------------------

_WORDS = ["river", "stone", "cloud", "garden", "yellow", "seven", "under", "morning", "cat", "a"]
_SILENT = ["\n\n", " 🎉", " …", "  "]


class Brain:
    """A language model that is slow or stuck, dies, is silent, goes on and on, or wants tools.

    Attributes:
        running: Replies that are being written.
    """

    name, where = "any brain", "in the test"

    def __init__(self, rng: random.Random):
        self._rng = rng
        self.running = 0

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> AsyncIterator[Piece]:
        self.running += 1
        try:
            async for piece in self._reply(tools):
                yield piece
        finally:
            self.running -= 1

    async def _reply(self, tools: Sequence[ToolSchema]) -> AsyncIterator[Piece]:
        rng = self._rng
        fates = {
            "well": 60,
            "dead": 5,
            "dies": 7,
            "breaks": 4,
            "silent": 3,
            "tool": 15,
            "tools": 4,
            "notes": 5,
            "ends": 2,
        }
        (fate,) = rng.choices(list(fates), fates.values())
        await asyncio.sleep(
            rng.choice([0.0, 0.0, 0.1, 0.1, 0.3, 0.3, 1.2, 1.5, 1.5, 5.0, 5.0, 45.0])
        )
        if fate == "dead":
            raise LlmError("The model is dead.")
        said = fate not in ("silent", "tool", "tools", "notes") or rng.random() < 0.4
        pace_s = rng.choice([0.0, 0.02, 0.02, 0.3])
        for n in range(rng.choice([1, 4, 4, 9, 9, 25, 60]) if said else 0):
            if rng.random() < 0.05:
                yield TextDelta(rng.choice(_SILENT))
            end = rng.choice(["", "", "", ",", ".", "?"])
            yield TextDelta(f"{' ' if n else ''}{rng.choice(_WORDS)}{end}")
            await asyncio.sleep(pace_s)
        if fate == "dies":
            raise LlmError("The model died.")
        if fate == "breaks":
            raise Chaos
        wanted = {"tool": ["look_up"], "tools": ["look_up", "look_up"], "notes": ["note_down"]}
        for name in wanted.get(fate, ()) if tools else ():
            given = {"seconds": rng.choice([0.0, 0.4, 2.0, 20.0]), "fails": rng.random() < 0.3}
            yield ToolCall(f"call-{rng.random()}", name, given)
        if tools and fate == "ends":
            yield ToolCall(f"call-{rng.random()}", "end_call", {})
        yield Usage(7, 7)

    async def close(self) -> None:
        pass


@tool(time_limit_s=4.0, filler="moment please")
async def look_up(seconds: float, fails: bool) -> str:
    """Look something up."""
    await asyncio.sleep(seconds)
    if fails:
        raise Chaos
    return "It was found."


@tool(time_limit_s=4.0, answer_follows=False)
async def note_down(seconds: float, fails: bool) -> str:
    """Note something down."""
    return await look_up(seconds, fails)


@tool(answer_follows=False)
async def end_call() -> str:
    """Hang up."""
    return "The call ends."


# ---- the caller -----------------------------------------------------------------------------------

_SAYS = [
    "what about lakes?",
    "mm-hm",
    "yeah",
    "wait",
    "stop it please",
    "my number is [0.6] five five five",
    "goodbye then",
    "I",
    "um",
    "tell me [0.4] something about the old river",
    "no",
    "okay thank you",
    "and then [0.9] we went",
]


class Caller:
    """Speaks, coughs, mumbles and falls silent at any moment.

    Attributes:
        said: Every utterance with the sample it began at.
        hurry: Something just happened in the call: the caller may react.
    """

    def __init__(self, rng: random.Random, judges: Judges):
        self._rng = rng
        self._judges = judges
        self._noise = np.random.default_rng(rng.randrange(1 << 30))
        self._microphone = Microphone(rng)
        self._nervous = rng.choice([0.15, 0.15, 0.6])
        self._next = rng.randint(0, 4 * 16_000)
        self._until = 0
        self.said: list[tuple[int, Utterance]] = []

    def react(self, at: int) -> None:
        """Say something very soon, perhaps."""
        if self._rng.random() < self._nervous:
            self._next = min(self._next, max(self._until, at + self._rng.randint(0, 6_000)))

    def speak(self, at: int, *, silent: bool) -> np.ndarray:
        """The 20 ms that end at `at`: float32 [320] at 16 kHz; the judges know what they are."""
        if at >= self._next and not silent:
            self._begin(at)
        began, utterance = self.said[-1] if self.said else (0, None)
        index = (at - began) // 320 - 1
        voiced = (
            utterance is not None and 0 <= index < len(utterance.voiced) and utterance.voiced[index]
        )
        sound = self._microphone.frame(at, utterance, voiced)
        self._judges.voiced, self._judges.confidence = sound.voiced, sound.confidence
        loudness = 10 ** (sound.level_dbfs / 20)
        return (loudness * self._noise.standard_normal(320)).astype(np.float32)

    def _begin(self, at: int) -> None:
        rng = self._rng
        if rng.random() < 0.25:
            kind = rng.choice(["keyboard", "click", "hum", "cough", "laughter"])
            utterance = noise(kind, rng.choice([0.04, 0.3, 1.0]), rng)
        else:
            utterance = spoken(rng.choice(_SAYS), rng.choice(["turn", "turn", "side_talk"]), rng)
        self.said.append((at - 320, utterance))
        self._until = at + 320 * len(utterance.voiced)
        self._next = self._until + rng.choice([2_000, 10_000, 30_000, 100_000])
