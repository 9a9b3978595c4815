"""What the caller heard, and when: frames laid on one clock as a phone would play them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

SAMPLE_RATE_HZ = 48_000
_WINDOW_S = 2.5


@dataclass(frozen=True, slots=True)
class Arrival:
    """One decoded frame.

    Attributes:
        at_s: When it was in the caller's hands, on the caller's clock.
        pts_s: Its media time.
        pcm: float32 mono at 48 kHz.
    """

    at_s: float
    pts_s: float
    pcm: np.ndarray


@dataclass
class HeardTimeline:
    """Places frames at `base + pts`, base being the smallest recent delay.

    A queue that plays each frame when it arrives would keep the delay of one stall for ever; a real
    playout recovers, and so does this: the base follows the minimum of arrival − pts over ±2.5 s.
    """

    arrivals: list[Arrival] = field(default_factory=list)

    def add(self, arrival: Arrival) -> None:
        """Take in a frame, in order of arrival."""
        self.arrivals.append(arrival)

    def lateness_s(self) -> np.ndarray:
        """How much later than the best recent frame each one came; shape [frames]."""
        return np.array([a.at_s - a.pts_s for a in self.arrivals]) - self._bases()

    def render(self, duration_s: float) -> np.ndarray:
        """The caller's ear from 0 to `duration_s`: float32 at 48 kHz, silence where nothing came."""
        ear = np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)
        for arrival, base in zip(self.arrivals, self._bases(), strict=True):
            start = round((base + arrival.pts_s) * SAMPLE_RATE_HZ)
            stop = min(len(ear), start + len(arrival.pcm))
            if stop > max(0, start):
                ear[max(0, start) : stop] = arrival.pcm[max(0, -start) : stop - start]
        return ear

    def _bases(self) -> np.ndarray:
        delays = np.array([a.at_s - a.pts_s for a in self.arrivals])
        times = np.array([a.at_s for a in self.arrivals])
        bases = np.empty(len(delays))
        window: deque[int] = deque()  # indices of increasing delay inside the window
        ahead = 0
        for i, now in enumerate(times):
            while ahead < len(times) and times[ahead] <= now + _WINDOW_S:
                while window and delays[window[-1]] >= delays[ahead]:
                    window.pop()
                window.append(ahead)
                ahead += 1
            while times[window[0]] < now - _WINDOW_S:
                window.popleft()
            bases[i] = delays[window[0]]
        return bases
