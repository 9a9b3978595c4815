"""From one token every 80 ms to words with times.

The model says nothing ([STREAMING_PAD]), that a word has just been completed ([STREAMING_WORD]),
or a piece of text. A boundary is followed by the pieces of its word; when several words end in
quick succession their pieces follow one another without boundaries between them, so pieces are
cut into words at their spaces and boundaries are used for timing (Voxtral Realtime, arXiv
2602.11298). Text is never taken back.
"""

from __future__ import annotations

import math
from collections import deque
from copy import copy
from dataclasses import dataclass

from asr.config import TOKEN_SAMPLES
from asr.interface import Hypothesis, Word
from backbone.tekken import PieceDecoder, Tekken

LETTER_SAMPLES = 960
"""60 ms. The model marks where words end; how far back one began is estimated from its length."""
MAX_WORDS = 4_096
"""Kept without a `commit`; some twenty minutes of talk. Older ones are forgotten."""
PAUSE_TOKENS = 6
"""Half a second: over how many decisions the belief in a pause is averaged."""


@dataclass(frozen=True, slots=True)
class StreamingIds:
    """Ids of the tokens that are not text, read from `tekken.json` by name."""

    start: int
    pad: int
    word: int

    @classmethod
    def of(cls, tekken: Tekken) -> StreamingIds:
        """Look them up.

        Raises:
            CheckpointError: The tokenizer has none.
        """
        names = ("<s>", "[STREAMING_PAD]", "[STREAMING_WORD]")
        return cls(*(tekken.special(name) for name in names))


@dataclass(frozen=True, slots=True)
class Decision:
    """What the model said at one position.

    Attributes:
        token: The chosen token.
        probability: Its probability.
        pad: Probability of saying nothing.
    """

    token: int
    probability: float
    pad: float


@dataclass(slots=True)
class _Draft:
    """A word whose pieces may still be coming."""

    text: str
    end_samples: int
    log_probability: float
    pieces: int = 1


class Transcript:
    """The words of one stream, oldest first."""

    def __init__(self, tekken: Tekken, ids: StreamingIds):
        self._ids = ids
        self._utf8 = PieceDecoder(tekken)
        self._words: deque[Word] = deque(maxlen=MAX_WORDS)
        self._draft: _Draft | None = None
        self._boundary_samples: int | None = None
        self._last_end_samples = 0
        self._pads: deque[float] = deque(maxlen=PAUSE_TOKENS)
        self.blank_run = 0

    def copy(self) -> Transcript:
        """A transcript that goes on from here by itself."""
        twin = copy(self)
        twin._utf8, twin._words = self._utf8.copy(), self._words.copy()
        twin._draft, twin._pads = copy(self._draft), self._pads.copy()
        return twin

    def push(self, decision: Decision, at_samples: int) -> bool:
        """Take in one decision.

        Args:
            decision: What the model said.
            at_samples: The place in the caller's audio that it speaks of, the delay taken off.

        Returns:
            Whether a word changed.
        """
        self._pads.append(decision.pad)
        if decision.token == self._ids.pad:
            self.blank_run += 1
            return self._finish_draft()
        self.blank_run = 0
        if decision.token == self._ids.word:
            self._boundary_samples = at_samples
            return self._finish_draft()
        text = self._utf8.push(decision.token)
        for index, part in enumerate(text.split(" ")):
            self._add(part, decision.probability, at_samples, new_word=index > 0)
        return bool(text.strip())

    def _add(self, text: str, probability: float, at_samples: int, *, new_word: bool) -> None:
        """Append to the word being written, or begin one."""
        # Scripts without spaces have only the boundaries between their words.
        new_word |= self._boundary_samples is not None and text[:1].isalnum()
        if new_word:
            self._finish_draft()
        if not (text := text.strip()):
            return
        draft = self._draft or (None if new_word else self._reopen())
        if draft is not None:
            draft.text += text
            draft.log_probability += math.log(max(probability, 1e-9))
            draft.pieces += 1
            self._draft = draft
            return
        boundary, self._boundary_samples = self._boundary_samples, None
        end_samples = max(at_samples if boundary is None else boundary, self._last_end_samples, 0)
        self._draft = _Draft(text, end_samples, math.log(max(probability, 1e-9)))

    def _reopen(self) -> _Draft | None:
        """The last word again, when more of it comes after a pad: late punctuation, mostly."""
        if not self._words:
            return None
        word = self._words.pop()
        self._last_end_samples = self._words[-1].end_samples if self._words else 0
        return _Draft(word.text, word.end_samples, math.log(max(word.confidence, 1e-9)))

    def _finish_draft(self) -> bool:
        if self._draft is None:
            return False
        word = self._drafted(self._draft)
        self._words.append(word)
        self._last_end_samples = word.end_samples
        self._draft = None
        return True

    def _drafted(self, draft: _Draft) -> Word:
        end = max(draft.end_samples, self._last_end_samples + 1)
        start = max(end - LETTER_SAMPLES * (len(draft.text) + 1), self._last_end_samples)
        return Word(draft.text, start, end, math.exp(draft.log_probability / draft.pieces))

    def forget(self, upto_samples: int) -> None:
        """Drop finished words whose middle lies before `upto_samples`."""
        while self._words and self._words[0].middle_samples < upto_samples:
            self._words.popleft()

    @property
    def finished(self) -> int:
        """How many of its words are complete."""
        return len(self._words)

    @property
    def pause(self) -> float:
        """Belief, 0..1, that the caller has stopped: how surely and for how long nothing was said.

        The mean probability of saying nothing over the last half second, worth half after two
        silent decisions, three quarters after four, and so on.
        """
        if not self._pads:
            return 0.0
        return sum(self._pads) / len(self._pads) * (1 - 0.5 ** (self.blank_run / 2))

    def hypothesis(self, heard_samples: int, *, final: bool = False) -> Hypothesis:
        """All words so far, none ending after what was heard."""
        words = list(self._words)
        if self._draft is not None:
            words.append(self._drafted(self._draft))
        for index in range(len(words) - 1, -1, -1):
            word = words[index]
            if word.end_samples <= heard_samples:
                break
            start = min(word.start_samples, heard_samples)
            words[index] = Word(word.text, start, heard_samples, word.confidence)
        stable = len(words) if final else self.finished
        return Hypothesis(tuple(words), stable, heard_samples, final, round(self.pause, 3))


def aligned_samples(position: int, delay: int, left: int) -> int:
    """Which place in the caller's audio the token chosen at a decoder position speaks of.

    The prompt is one start token and `left + delay` pads; the token chosen at its last position is
    the one about the caller's first 80 ms.
    """
    return (position - left - delay) * TOKEN_SAMPLES
