"""One utterance: the caller's side on an event loop, the speaker's side on the engine's thread."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import numpy as np
import torch
from torch import Tensor

from backbone.stepper import deliver
from common.errors import ParleyError
from tts.alignment import Pace, WordClock
from tts.interface import SAMPLE_RATE_HZ, SpeechFrame, SpokenWord
from tts.speakable import Spoken
from tts.speaking import NOTHING_SAID, Said
from tts.text import Clause, ClausePlanner, characters_of, cut

_CLOSING_SAMPLES = SAMPLE_RATE_HZ // 100

Item = tuple[SpeechFrame, np.ndarray | None] | ParleyError | None
"""A frame with its codes, a failure, or the end."""


class Speaker:
    """What the engine's thread knows of one utterance.

    Attributes:
        row: In the batch, or None once the utterance is over.
        voice: Exact name.
        max_text_chars: The longest clause, in characters and in units.
        said: The last clause, which the next may carry on from.
        generator: Of the noise; the utterance's own, so its codes do not depend on its neighbours.
        clause: Being spoken, or about to be.
        begun: Whether the batch has taken the clause in.
        plays_until_s: When the audio delivered so far will have been played, by the monotonic clock.
        wrote_s: When the text being waited for came in; None once its first frame has left.
    """

    def __init__(
        self,
        row: int,
        voice: str,
        seed: int | None,
        planner: ClausePlanner,
        pace: Pace,
        max_text_chars: int,
        send: Callable[[Item], None],
    ):
        self.row: int | None = row
        self.voice = voice
        self.generator = torch.Generator()
        if seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(seed)
        self.clause: Clause | None = None
        self.begun = False
        self.plays_until_s = 0.0
        self.wrote_s: float | None = None
        self._planner, self._send = planner, send
        self.max_text_chars = max_text_chars
        self._texts: deque[str] = deque()
        self._pieces: deque[list[Spoken]] = deque()
        self._text_over = False
        self._made_samples = 0
        self._frames_left = 0
        self._first_unit = 0
        self._pace = pace
        self._clock: WordClock | None = None
        self._late_words: tuple[SpokenWord, ...] = ()
        self._clause_codes: list[Tensor] = []
        self.said = NOTHING_SAID

    def write(self, text: str, now_s: float) -> None:
        """Text came in."""
        if self.clause is None and not self._waiting:
            self.wrote_s = now_s
        self._texts.append(text)

    def end_text(self) -> None:
        """No more text will come."""
        self._text_over = True

    def next_clause(self) -> bool:
        """Make sure there is a clause to speak; False when there is none (now, or ever: `over`)."""
        while self.clause is None and self._waiting:
            if not self._pieces:
                words = self._planner.read(self._texts.popleft())
                self._pieces.extend(cut(words, self.max_text_chars))
                continue
            piece = self._pieces.popleft()
            clause = self._planner.plan(piece)
            characters = characters_of(piece)
            if clause is not None and len(clause.ids) > self.max_text_chars and characters > 1:
                # Some scripts have many units a character.
                self._pieces.extendleft(reversed(list(cut(piece, characters // 2))))
                continue
            self.clause, self.begun = clause, False
        if self.clause is None and self._late_words:
            # The last words are only known to be over now, and their frame has left already.
            self._emit(np.zeros(_CLOSING_SAMPLES, np.float32), (), None)
        return self.clause is not None

    @property
    def over(self) -> bool:
        """All text has come and been spoken."""
        return self._text_over and self.clause is None and not self._waiting

    @property
    def _waiting(self) -> bool:
        """Whether text is left to speak after the clause being spoken."""
        return bool(self._pieces or self._texts)

    def lead_s(self, now_s: float) -> float:
        """How much longer the audio delivered so far will play."""
        return max(0.0, self.plays_until_s - now_s)

    def begin(self, first_unit: int, room_frames: int) -> None:
        """The batch has taken the clause in."""
        assert self.clause is not None
        self.begun, self._first_unit = True, first_unit
        self._frames_left = min(self.clause.max_frames, room_frames)
        self._clock = WordClock(self.clause, self._made_samples, self._pace)
        self._clause_codes = []

    def frame(self, pcm: Tensor, codes: Tensor, scores: Tensor | None) -> None:
        """A frame of the clause was made: pass it on at once."""
        assert self.clause is not None
        assert self._clock is not None
        if scores is not None:
            scores = scores[self._first_unit : self._first_unit + len(self.clause.ids)]
        words = self._clock.frame(self._made_samples, scores)
        self._emit(pcm.numpy(), words, codes.numpy())
        self._clause_codes.append(codes)
        self._frames_left -= 1
        if self._frames_left <= 0:
            self.end_clause()

    def end_clause(self) -> None:
        """The clause has been spoken."""
        assert self.clause is not None
        assert self._clock is not None
        self._late_words += self._clock.finish(self._made_samples)
        if self._clause_codes:
            self.said = Said(self.clause.ids, torch.stack(self._clause_codes))
        self.clause, self._clock = None, None

    def finish(self, failure: ParleyError | None = None) -> None:
        """Tell the caller that nothing more will come."""
        self.row = None
        if failure is not None:
            self._send(failure)
        self._send(None)

    def _emit(
        self, pcm: np.ndarray, words: tuple[SpokenWord, ...], codes: np.ndarray | None
    ) -> None:
        words, self._late_words = self._late_words + words, ()
        self._send((SpeechFrame(np.clip(pcm, -1.0, 1.0), self._made_samples, words), codes))
        self._made_samples += len(pcm)


class VoxtralSpeechStream:
    """See `tts.interface.SpeechStream`; the arguments carry its calls to the engine's thread."""

    def __init__(
        self,
        write: Callable[[str], None],
        end_text: Callable[[], None],
        cancel: Callable[[], None],
    ):
        self._write, self._end_text, self._cancel = write, end_text, cancel
        self._items: asyncio.Queue[Item] = asyncio.Queue()
        self._codes: list[np.ndarray] = []
        self._cancelled = False

    @property
    def codes(self) -> np.ndarray:
        """int16 [frames, codebooks] raw codes of the frames yielded so far."""
        return np.array(self._codes, np.int16)

    def write(self, text: str) -> None:
        if not self._cancelled:
            self._write(text)

    def end_text(self) -> None:
        if not self._cancelled:
            self._end_text()

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._cancel()
            self._items.put_nowait(None)

    async def frames(self) -> AsyncIterator[SpeechFrame]:
        try:
            while (item := await self._items.get()) is not None and not self._cancelled:
                if isinstance(item, ParleyError):
                    raise item
                frame, codes = item
                if codes is not None:
                    self._codes.append(codes)
                yield frame
        finally:
            self.cancel()  # a caller who stops listening keeps no slot

    def sender(self, loop: asyncio.AbstractEventLoop) -> Callable[[Item], None]:
        """How the engine's thread sends items to `frames`."""
        return lambda item: deliver(loop, self._items.put_nowait, item)
