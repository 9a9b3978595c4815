"""What both sides of a call heard of each other, in one stereo file: the caller left, the agent right.

Both sides lie on the conversation's clock, samples received from the caller: an event at `at` in the
event log stands at `at / 16,000` seconds of the recording. Written by a thread of its own, twice a
second, so the event loop never waits for the disk and a crash loses less than a second.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from loguru import logger

from asr.interface import SAMPLE_RATE_HZ as HEARD_HZ
from common.pcm import to_pcm16
from common.privatefile import only_ours, wait_until_written
from common.resample import Resampler
from tts.interface import SAMPLE_RATE_HZ as SAID_HZ

_EVERY_S = 0.5
# The caller's sound may come so late and then all at once: that is no gap in what the agent says.
_LATEST_SAMPLES = SAID_HZ // 4
_MOST_WAITING = 6_000  # a minute of both sides
_CALLER, _AGENT = 0, 1


class Recorder:
    """Takes both sides of one call from the event loop.

    Attributes:
        samples: Written so far, at 24 kHz.
        failure: Why no more of the call is written; empty while all is well.
    """

    def __init__(self, path: Path | None = None):
        """Begin a recording.

        Args:
            path: FLAC if it ends so, else wav; None records nothing.
        """
        self.samples = 0
        self.failure = ""
        self._path = path
        self._taken: deque[tuple[int, np.ndarray | None]] = deque()
        self._over = threading.Event()
        self._written: Future[None] = Future()
        if path is not None:
            threading.Thread(target=self._write, args=(path,), name="recorder", daemon=True).start()

    def heard(self, pcm: np.ndarray) -> None:
        """The caller's next samples: float32 at 16 kHz. They are the recording's clock."""
        self._take(_CALLER, pcm)

    def said(self, pcm: np.ndarray | None) -> None:
        """What goes out to the caller now: float32 at 24 kHz; None is silence."""
        self._take(_AGENT, pcm)

    async def close(self) -> None:
        """Write what is left. Idempotent; a disk that hangs is not waited for."""
        self._over.set()
        if self._path is not None:
            await wait_until_written(self._written, self._path)

    def _take(self, side: int, pcm: np.ndarray | None) -> None:
        if self._path is None or self.failure:
            return
        self._taken.append((side, pcm))
        if len(self._taken) > _MOST_WAITING:  # or they would fill the memory
            self._give_up("its disk does not answer")

    def _give_up(self, why: str) -> None:
        logger.error("{} holds no more of this call: {}", self._path, why)
        self.failure = why
        self._taken.clear()

    def _write(self, path: Path) -> None:
        try:
            while not self._over.wait(_EVERY_S) and not self._taken:
                pass
            if self._taken:  # else the call never began
                with open(path, "wb", buffering=0, opener=only_ours) as file:
                    self._write_sides(file, path.suffix)
        except OSError as error:  # av's errors are such
            self._give_up(str(error))
        finally:
            self._written.set_result(None)

    def _write_sides(self, file: Any, suffix: str) -> None:
        kind, codec = ("flac", "flac") if suffix == ".flac" else ("wav", "pcm_s16le")
        sides = _Sides()
        with av.open(file, "w", format=kind, options={"flush_packets": "1"}) as container:
            made = container.add_stream(codec, rate=SAID_HZ, layout="stereo", format="s16")
            stream = cast(av.AudioStream, made)
            over = False
            while not over:
                over = self._over.wait(_EVERY_S)
                while self._taken:
                    sides.take(*self._taken.popleft())
                both = sides.rest() if over else sides.settled()
                if len(both):
                    container.mux(stream.encode(_frame(both)))
                self.samples += len(both)
            container.mux(stream.encode(None))


def _frame(both: np.ndarray) -> av.AudioFrame:
    pcm16 = np.frombuffer(to_pcm16(both.reshape(-1)), np.int16)
    frame = av.AudioFrame.from_ndarray(pcm16[None], format="s16", layout="stereo")
    frame.sample_rate = SAID_HZ
    return frame


class _Sides:
    """Lays both sides on one clock."""

    def __init__(self) -> None:
        self._now = 0  # samples at 24 kHz by the caller's clock
        self._ends = [0, 0]
        self._speaking = False
        self._begin = 0  # where `_both` begins
        self._both = np.zeros((0, 2), np.float32)
        self._up = Resampler(HEARD_HZ, SAID_HZ)

    def take(self, side: int, pcm: np.ndarray | None) -> None:
        """The next samples of a side."""
        if side == _CALLER and pcm is not None:
            self._now += len(pcm) * SAID_HZ // HEARD_HZ
            self._lay(_CALLER, self._up.feed(pcm))
            return
        went_on = self._speaking and self._now - self._ends[_AGENT] <= _LATEST_SAMPLES
        self._speaking = pcm is not None
        if pcm is not None:
            if not went_on:
                self._ends[_AGENT] = max(self._ends[_AGENT], self._now)
            self._lay(_AGENT, pcm)

    def settled(self) -> np.ndarray:
        """What nothing can be laid over any more: float32 [samples, 2]."""
        return self._cut(self._now - _LATEST_SAMPLES)

    def rest(self) -> np.ndarray:
        """All that is left, the call being over."""
        self._lay(_CALLER, self._up.drain())
        return self._cut(max(self._ends))

    def _lay(self, side: int, pcm: np.ndarray) -> None:
        begin = self._ends[side] - self._begin
        self._ends[side] += len(pcm)
        missing = begin + len(pcm) - len(self._both)
        if missing > 0:
            self._both = np.pad(self._both, ((0, missing + SAID_HZ), (0, 0)))
        self._both[begin : begin + len(pcm), side] = pcm

    def _cut(self, until: int) -> np.ndarray:
        n_samples = max(0, until - self._begin)
        both, self._both = self._both[:n_samples], self._both[n_samples:]
        self._begin += len(both)
        return both
