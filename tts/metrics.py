"""How a voice engine is doing."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

_RECENT = 200
_LATEST_STEPS = 25  # two seconds of speech


@dataclass(frozen=True, slots=True)
class TtsMetrics:
    """How the engine is doing.

    Attributes:
        speakers: Open utterances.
        max_speakers: How many there may be.
        frames: Made since the start.
        underruns: Frames that came after the audio before them had been played.
        first_frame_ms: Of recent clauses that were waited for, from text to first frame.
        step_ms: Of recent steps, prompts taken in included.
        lead_s: Audio ahead of each open utterance.
    """

    speakers: int
    max_speakers: int
    frames: int
    underruns: int
    first_frame_ms: tuple[float, ...]
    step_ms: tuple[float, ...]
    lead_s: tuple[float, ...]


class Meter:
    """Counts on the engine's thread."""

    def __init__(self) -> None:
        self._frames = self._underruns = 0
        self._first_frame_ms: deque[float] = deque(maxlen=_RECENT)
        self._step_ms: deque[float] = deque(maxlen=_RECENT)

    def frame(self, *, now_s: float, plays_until_s: float, wrote_s: float | None) -> None:
        """A frame was made.

        Args:
            now_s: When.
            plays_until_s: When the audio before it has been played.
            wrote_s: When the text came, if this is the first frame since.
        """
        self._frames += 1
        if wrote_s is not None:
            self._first_frame_ms.append((now_s - wrote_s) * 1000)
        elif plays_until_s < now_s:
            self._underruns += 1

    def step(self, seconds: float) -> None:
        """A step was made."""
        self._step_ms.append(seconds * 1000)

    @property
    def step_s(self) -> float:
        """What a step typically takes now, by the clock on the wall; 0 while that is not known yet."""
        latest_ms = list(self._step_ms)[-_LATEST_STEPS:]
        return statistics.median(latest_ms) / 1000 if len(latest_ms) == _LATEST_STEPS else 0.0

    def read(self, max_speakers: int, leads_s: Iterable[float]) -> TtsMetrics:
        """The figures now."""
        leads = tuple(leads_s)
        return TtsMetrics(
            speakers=len(leads),
            max_speakers=max_speakers,
            frames=self._frames,
            underruns=self._underruns,
            first_frame_ms=tuple(self._first_frame_ms),
            step_ms=tuple(self._step_ms),
            lead_s=leads,
        )
