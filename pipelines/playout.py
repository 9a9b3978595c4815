"""What the agent says, sample by sample, on its way to the caller.

Pull-based: whoever owns the clock (a WebRTC track, a phone line, a file) pulls the next samples, so
nothing is ever ahead of what the caller can hear. It can be ducked within one pull, goes on later at
the very sample where it was, and counts what has been written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from tts.interface import SAMPLE_RATE_HZ

_FADE_SAMPLES = round(
    0.008 * SAMPLE_RATE_HZ
)  # short enough to be at once, long enough not to click
# Voices begin with tens of milliseconds of nothing; the caller need not wait for them.
_SILENCE = 10 ** (-60 / 20)
_BEFORE_SOUND_SAMPLES = round(0.010 * SAMPLE_RATE_HZ)
_SOFT = 10 ** (-9 / 20)


class Utterance:
    """One reply: audio goes in at one end while it is played from the other.

    Attributes:
        held: Prepared but not to be played yet (the caller's turn may go on).
        interruptible: False for a passage that must be heard out.
        written_samples: Samples of it that were handed to the clock's owner.
        starved_samples: Samples of silence inside it because its audio came too late.
    """

    def __init__(self, *, held: bool = False, interruptible: bool = True):
        self.held = held
        self.interruptible = interruptible
        self.written_samples = 0
        self.starved_samples = 0
        self._pieces: deque[np.ndarray] = deque()
        self._begun = self._ended = False

    def push(self, pcm: np.ndarray) -> None:
        """Add audio: float32 [samples] at 24 kHz. Silence before the first sound is passed over."""
        if not self._begun:
            loud = np.flatnonzero(np.abs(pcm) > _SILENCE)
            self._begun = len(loud) > 0
            silence = max(0, loud[0] - _BEFORE_SOUND_SAMPLES) if self._begun else len(pcm)
            self.on_gone(int(silence))
            pcm = pcm[silence:]
        if len(pcm):
            self._pieces.append(pcm)

    def on_gone(self, n_samples: int) -> None:
        """So many more of its samples were written or passed over."""

    def end(self) -> None:
        """No more audio will come."""
        self._ended = True

    @property
    def done(self) -> bool:
        """All of it has been written."""
        return self._ended and not self._pieces

    def peek(self, n_samples: int) -> np.ndarray:
        """The next samples, at most `n_samples`, left where they are."""
        taken: list[np.ndarray] = []
        missing = n_samples
        for piece in self._pieces:
            if missing <= 0:
                break
            taken.append(piece[:missing])
            missing -= len(taken[-1])
        return np.concatenate(taken) if taken else np.zeros(0, np.float32)

    def take(self, n_samples: int) -> np.ndarray:
        """The next samples, at most `n_samples`; they count as written."""
        pcm = self.peek(n_samples)
        missing = len(pcm)
        while missing:
            if len(self._pieces[0]) <= missing:
                missing -= len(self._pieces.popleft())
            else:
                self._pieces[0] = self._pieces[0][missing:]
                missing = 0
        self.written_samples += len(pcm)
        self.on_gone(len(pcm))
        return pcm


class Playout:
    """Plays utterances one after the other.

    Attributes:
        ducked: Paused where it is, or kept from beginning.
        audible: The agent has begun and not finished; starved or ducked it still has the floor.
    """

    def __init__(
        self,
        on_audible: Callable[[bool], None] = lambda audible: None,
        on_done: Callable[[Utterance], None] = lambda utterance: None,
    ):
        """Create it.

        Args:
            on_audible: Called when the agent begins to be heard, and when it has finished or was flushed.
            on_done: Called when all of an utterance has been written.
        """
        self.ducked = False
        self.audible = False
        self._on_audible = on_audible
        self._on_done = on_done
        self._queue: deque[Utterance] = deque()
        self._fade_out = np.zeros(0, np.float32)
        self._gain = self._gain_wanted = 1.0

    @property
    def current(self) -> Utterance | None:
        """The utterance being played, or the next to be."""
        return self._queue[0] if self._queue else None

    def add(self, utterance: Utterance) -> None:
        """Play it after those already there."""
        self._queue.append(utterance)

    def remove(self, utterance: Utterance) -> None:
        """Take back an utterance that has not begun; nothing of it will be heard."""
        if utterance in self._queue:
            self._queue.remove(utterance)

    def duck(self) -> None:
        """Fade out and stay where it is."""
        if not self.ducked:
            self.ducked = True
            self._begin_fade_out()

    def resume(self, *, softly: bool = False) -> None:
        """Go on from the very sample where `duck` came, fading in; `softly` until `speak_up`."""
        self._gain_wanted = _SOFT if softly else 1.0
        if self.ducked:
            self.ducked = False
            if not len(self._fade_out):  # else the duck was taken back before anyone heard it
                self._gain = 0.0
            self._fade_out = self._fade_out[:0]

    def speak_up(self) -> None:
        """Go on as loudly as ever."""
        self._gain_wanted = 1.0

    def flush(self) -> list[Utterance]:
        """Fade out and drop all that is queued but what must be heard out; return it, in order."""
        dropped = [utterance for utterance in self._queue if utterance.interruptible]
        goes_silent = self.current is None or self.current.interruptible
        if goes_silent and not self.ducked:
            self._begin_fade_out()
        self._queue = deque(u for u in self._queue if not u.interruptible)
        if goes_silent:
            self.ducked = False
            self._gain = self._gain_wanted = 1.0
            if self.audible:
                self._set_audible(False)
        return dropped

    def pull(self, n_samples: int) -> np.ndarray | None:
        """The next `n_samples` for the caller: float32 at 24 kHz; None when all of it is silence."""
        if len(self._fade_out):
            out = np.zeros(n_samples, np.float32)
            tail, self._fade_out = self._fade_out[:n_samples], self._fade_out[n_samples:]
            out[: len(tail)] = tail
            return out
        utterance = self.current
        if utterance is None or utterance.held or self.ducked:
            return None
        pcm = utterance.take(n_samples)
        if len(pcm) and not self.audible:
            self._set_audible(True)
        if self.current is not utterance:  # its first sound was its last: it is decided at once
            return None
        if utterance.done:
            self._finish(utterance)
        elif self.audible:
            utterance.starved_samples += n_samples - len(pcm)
        if not len(pcm):
            return None
        return np.pad(self._at_gain(pcm), (0, n_samples - len(pcm)))

    def _at_gain(self, pcm: np.ndarray) -> np.ndarray:
        begin, end = self._gain, self._gain_wanted
        if begin == end == 1.0:
            return pcm
        self._gain = end
        faded = np.minimum(1.0, np.arange(len(pcm), dtype=np.float32) / _FADE_SAMPLES)
        return pcm * (begin + (end - begin) * faded)

    def _begin_fade_out(self) -> None:
        if self.audible and self.current is not None:
            tail = self.current.peek(_FADE_SAMPLES)
            self._fade_out = tail * np.linspace(self._gain, 0.0, len(tail), dtype=np.float32)

    def _finish(self, utterance: Utterance) -> None:
        self._queue.popleft()
        self.speak_up()
        self._on_done(utterance)
        follower = self.current
        if self.audible and (follower is None or follower.held):
            self._set_audible(False)

    def _set_audible(self, audible: bool) -> None:
        self.audible = audible
        self._on_audible(audible)
