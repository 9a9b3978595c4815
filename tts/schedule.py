"""Who gets the next step: whoever would fall silent first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from tts.interface import FRAME_SAMPLES, SAMPLE_RATE_HZ

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
HURRY_S = 3 * FRAME_S
"""Someone with less audio ahead than this is close to silence."""
COMFORT_S = 6 * FRAME_S
"""While someone is, those with more than this wait."""


class Waiting(Protocol):
    """A speaker with a clause to speak."""

    @property
    def begun(self) -> bool:
        """Whether its clause has been taken in."""

    def lead_s(self, now_s: float) -> float:
        """How long the audio it has delivered will still play."""


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Turn(Generic[W]):
    """What to do now.

    Attributes:
        begin: Take these in first.
        speak: Then make a frame for each of these.
        wait_s: With nobody to serve: look again after this long; None when something must come in.
    """

    begin: Sequence[W] = ()
    speak: Sequence[W] = ()
    wait_s: float | None = None


def next_turn(speakers: Sequence[W], now_s: float, ahead_s: float) -> Turn[W]:
    """Choose who is served.

    Args:
        speakers: All that have something to speak.
        now_s: By the clock of their leads.
        ahead_s: Audio ahead with which a speaker sits out.
    """
    if not speakers:
        return Turn()
    in_need = sorted(speakers, key=lambda speaker: speaker.lead_s(now_s))
    least_s = in_need[0].lead_s(now_s)
    if least_s >= ahead_s:
        return Turn(wait_s=least_s - ahead_s + FRAME_S / 2)
    limit_s = min(COMFORT_S, ahead_s) if least_s < HURRY_S else ahead_s
    due = [speaker for speaker in in_need if speaker.lead_s(now_s) < limit_s]
    begin = [speaker for speaker in due if not speaker.begun]
    if any(speaker.begun and speaker.lead_s(now_s) < HURRY_S for speaker in due):
        # Taking in a prompt takes longer than a frame: with someone close to silence, one at a time.
        begin = begin[:1]
    return Turn(begin, [speaker for speaker in due if speaker.begun or speaker in begin])
