"""Which words have been said: from heads that follow the text, or else from the time that passed.

A checkpoint may name attention heads that look at the text unit being spoken (ours are trained to).
Their strongest key, never allowed to move back, is the position in the text. Without such heads the
position is the time passed over the time expected, at a pace learnt from the clauses before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from backbone.cache import KvCache
from backbone.decoder import Decoder
from tts.interface import FRAME_SAMPLES, SpokenWord
from tts.text import Clause

REACH_UNITS = 12
"""How far the position may advance in one frame; beyond lies another occurrence, not the next."""


class AlignmentProbe:
    """Watches the decoder's alignment heads.

    Args:
        decoder: Its forward passes are watched from now on.
        heads: (layer, head) pairs.
    """

    def __init__(self, decoder: Decoder, heads: Sequence[tuple[int, int]]):
        self._decoder, self._heads = decoder, heads
        self._group = decoder.config.n_heads // decoder.config.n_kv_heads
        decoder.watched.update({layer: torch.empty(0) for layer, _ in heads})

    def scores(self, cache: KvCache, extent: int, last: Tensor | None = None) -> Tensor:
        """How strongly a token of the forward just made looks at those before it.

        Args:
            cache: What it was made with.
            extent: How many tokens to look at.
            last: int64 [B] which of the forward's tokens; None is the last.

        Returns:
            Attention logits, summed over heads, fp32 [B, extent].
        """
        total = torch.zeros((), device=cache.lengths.device)
        for layer, head in self._heads:
            queries = self._decoder.watched[layer][:, :, head]
            row = torch.arange(len(queries), device=queries.device)
            query = queries[:, -1] if last is None else queries[row, last]
            keys = cache.keys[layer][:, :extent, head // self._group]
            logits = (keys @ query[:, :, None])[..., 0].float()
            total = total + logits * self._decoder.config.head_dim**-0.5
        return total


class Pace:
    """How fast a voice speaks, learnt from what it has said, in characters a frame.

    It begins at one: Voxtral TTS speaks 12 to 13.5 characters a second (arXiv 2603.25551, table 8).
    """

    def __init__(self) -> None:
        self._characters = self._frames = 10.0

    def learn(self, characters: int, frames: int) -> None:
        """A clause of so many characters took so many frames."""
        self._characters, self._frames = self._characters + characters, self._frames + frames

    @property
    def characters_per_frame(self) -> float:
        """The pace so far."""
        return self._characters / self._frames


class WordClock:
    """Releases the words of one clause as its frames appear.

    Args:
        clause: What is being spoken.
        start_samples: Where its audio starts in the utterance.
        pace: Of the voice; used without alignment, and learns either way.
    """

    def __init__(self, clause: Clause, start_samples: int, pace: Pace):
        self._clause, self._pace = clause, pace
        self._word_start = start_samples
        self._next = 0
        self._unit = 0
        self._frames = 0
        self._said: Tensor | None = None

    def frame(self, start_samples: int, scores: Tensor | None) -> tuple[SpokenWord, ...]:
        """Words that ended by the time of this frame.

        Args:
            start_samples: Of the frame, in the utterance.
            scores: [units] from `AlignmentProbe` over the clause's units, if the model has it.
        """
        words, self._frames = self._clause.words, self._frames + 1
        upto = self._next
        if scores is None:
            share = self._frames * self._pace.characters_per_frame / self._clause.characters
            while upto < len(words) - 1 and words[upto].end_share <= share:
                upto += 1
            return self._release(upto, start_samples + FRAME_SAMPLES)
        near = scores[self._unit : self._unit + REACH_UNITS]
        self._unit += int(near.argmax()) if len(near) else 0
        # How much of this frame and of the one before has gone by at the end of each unit: a word
        # mostly ends inside one of the two.
        said = scores.softmax(0).cumsum(0)
        before = torch.ones_like(said) if self._said is None else self._said
        self._said = said
        out: tuple[SpokenWord, ...] = ()
        while upto < len(words) - 1 and words[upto].end_unit <= self._unit:
            unit = max(words[upto].end_unit - 1, 0)
            end = start_samples + int(FRAME_SAMPLES * float(said[unit] + before[unit] - 1))
            upto += 1
            out += self._release(upto, max(end, self._word_start))
        return out

    def finish(self, end_samples: int) -> tuple[SpokenWord, ...]:
        """All words left: the clause's audio is over."""
        self._pace.learn(self._clause.characters, self._frames)
        return self._release(len(self._clause.words), end_samples)

    def _release(self, upto: int, end_samples: int) -> tuple[SpokenWord, ...]:
        """Give words up to `upto`, sharing the time since the last by their lengths."""
        words = self._clause.words[self._next : upto]
        total = sum(len(word.text) + 1 for word in words)
        out, start, span = [], self._word_start, end_samples - self._word_start
        passed = 0
        for word in words:
            passed += len(word.text) + 1
            end = self._word_start + span * passed // total
            out.append(SpokenWord(word.text, start, end))
            start = end
        if out:
            self._next, self._word_start = upto, end_samples
        return tuple(out)
