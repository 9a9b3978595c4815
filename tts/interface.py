"""What every voice looks like to the rest of the house.

In process, on a remote server or offline, a synthesiser is a `TtsEngine`; one utterance is a
`SpeechStream`: text goes in by clauses while 80 ms frames come out. Time is counted in samples at
24 kHz from the first sample of the utterance.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 1_920


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of the text and where it lies in the audio.

    Attributes:
        text: As it stood in the text handed to `write` (not as normalised for speaking).
        start_samples: First sample, counted from the start of the utterance.
        end_samples: One past the last.
    """

    text: str
    start_samples: int
    end_samples: int


@dataclass(frozen=True, slots=True)
class SpeechFrame:
    """One piece of speech, usually 80 ms.

    Attributes:
        pcm: float32 mono at 24 kHz in [-1, 1], shape [samples].
        start_samples: Position of `pcm[0]` in the utterance.
        words: Words whose end falls in this frame, in order.
    """

    pcm: np.ndarray
    start_samples: int
    words: tuple[SpokenWord, ...] = ()


class SpeechStream(Protocol):
    """One utterance. Created by `TtsEngine.open`, used from one event loop."""

    def write(self, text: str) -> None:
        """Add a clause or more of text; may be called while audio is already going out."""

    def end_text(self) -> None:
        """No more text will come; the frames end when all of it is spoken."""

    def frames(self) -> AsyncIterator[SpeechFrame]:
        """Yield each frame the moment it exists; ends after the last one or a `cancel`.

        Raises:
            RemoteError: The remote synthesiser failed; frames already made were yielded before.
        """

    def cancel(self) -> None:
        """Stop at once and free the slot. Idempotent."""


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A voice a caller may choose.

    Attributes:
        name: How it is asked for.
        language: BCP 47 tag.
        description: A few words a person can choose by.
        licence: Licence of the voice itself.
        cloned: True when it was made from a recording; its folder then holds the consent record.
    """

    name: str
    language: str = "en"
    description: str = ""
    licence: str = ""
    cloned: bool = False


@dataclass(frozen=True, slots=True)
class TtsInfo:
    """What a synthesiser says of itself on start, in `--json` and on `/metrics`."""

    name: str
    where: str
    can_clone: bool = False
    limits: str = ""
    extra: dict[str, str] = field(default_factory=dict)


class TtsEngine(Protocol):
    """A synthesiser that many conversations share."""

    @property
    def info(self) -> TtsInfo:
        """Name, place and limits, for people."""

    @property
    def refusal(self) -> str:
        """Why no further caller should be taken in at this moment, as far as is known here; else ""."""

    @property
    def failure(self) -> str:
        """Why it serves nobody any more until Parley is started again; empty while it works."""

    def voices(self) -> tuple[VoiceInfo, ...]:
        """The voices that `open` accepts; the first is the default."""

    async def open(self, *, voice: str | None = None, seed: int | None = None) -> SpeechStream:
        """Open an utterance.

        Raises:
            EngineFull: One more speaker would make the others stutter.
            ParleyError: No such voice; the message lists those there are.
            RemoteError: The remote server cannot be reached or refused.
        """

    async def close(self) -> None:
        """Stop the engine's thread or connections. Idempotent."""
