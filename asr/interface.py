"""What every recogniser looks like to the rest of the house.

In process, on a remote server or offline, a recogniser is an `AsrEngine`; one caller is an
`AsrStream`. Time is counted in samples of the caller's audio at 16 kHz from the first sample fed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word.

    Attributes:
        text: The word as written, without surrounding spaces, punctuation kept.
        start_samples: First sample of the word in the caller's audio.
        end_samples: One past its last sample.
        confidence: 0..1.
    """

    text: str
    start_samples: int
    end_samples: int
    confidence: float = 1.0

    @property
    def middle_samples(self) -> int:
        """Where it counts as being."""
        return (self.start_samples + self.end_samples) // 2


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the caller has said since the last `commit`, as understood so far.

    Attributes:
        words: In order of time. Those beyond `stable` may still change.
        stable: How many leading words will not change any more.
        heard_samples: How much of the caller's audio the recogniser had taken in.
        final: True when nothing said before `heard_samples` is still on its way (after a flush).
        pause: The recogniser's own belief, 0..1, that the caller has stopped speaking here;
            None when it has none.
        lag_samples: Words that ended so shortly before `heard_samples` may not be told yet.
    """

    words: tuple[Word, ...] = ()
    stable: int = 0
    heard_samples: int = 0
    final: bool = False
    pause: float | None = None
    lag_samples: int = 0

    @property
    def text(self) -> str:
        """The words, joined by single spaces."""
        return " ".join(word.text for word in self.words)

    def since(self, samples: int) -> Hypothesis:
        """The same without the words whose middle lies before `samples`."""
        words = tuple(word for word in self.words if word.middle_samples >= samples)
        forgotten = len(self.words) - len(words)
        return replace(self, words=words, stable=max(0, self.stable - forgotten))


class AsrStream(Protocol):
    """One caller's audio on its way to words. Created by `AsrEngine.open`, used from one event loop."""

    def feed(self, pcm: np.ndarray) -> None:
        """Take in audio: float32 mono at 16 kHz in [-1, 1], any length. Enqueues and returns at once."""

    def events(self) -> AsyncIterator[Hypothesis]:
        """Yield a hypothesis whenever it changes or a pause is noticed; ends after `close`.

        Raises:
            RemoteError: The remote recogniser failed; what it had heard was yielded before.
        """

    async def flush(self) -> Hypothesis:
        """Return the final words for all audio fed so far, as fast as the machine allows.

        The live stream goes on untouched: nothing fed later is lost or heard twice. Commits nothing.
        """

    def commit(self, upto_samples: int) -> None:
        """Forget words that lie before `upto_samples` (by their middle); later hypotheses start after."""

    async def close(self) -> None:
        """Free the slot. Idempotent."""


@dataclass(frozen=True, slots=True)
class AsrInfo:
    """What a recogniser says of itself on start, in `--json` and on `/metrics`."""

    name: str
    where: str
    delay_ms: int
    limits: str = ""
    extra: dict[str, str] = field(default_factory=dict)


class AsrEngine(Protocol):
    """A recogniser that many callers share."""

    @property
    def info(self) -> AsrInfo:
        """Name, place and limits, for people."""

    @property
    def refusal(self) -> str:
        """Why `open` would refuse one more caller at this moment, as far as is known here; else ""."""

    @property
    def failure(self) -> str:
        """Why it serves nobody any more until Parley is started again; empty while it works."""

    async def open(self, *, delay_ms: int | None = None, language: str | None = None) -> AsrStream:
        """Open a stream for one caller.

        Raises:
            EngineFull: One more caller could not be served in time.
            RemoteError: The remote server cannot be reached or refused.
        """

    async def close(self) -> None:
        """Stop the engine's thread or connections. Idempotent."""
