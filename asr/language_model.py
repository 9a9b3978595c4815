"""What is likely to be said: a trigram that weighs readings while their words grow (shallow fusion).

What counts is how much likelier a word is after the two before it than anywhere: frequent words need
no help, names no pardon, and a reading gains nothing by saying less. A word that is being said stands
for all that begin like it; its end makes up the difference. So a reading is judged with every piece,
and its words weigh the same whichever way they were cut into pieces.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from common.errors import CheckpointError

FILE = "language_model.safetensors"
UTTERANCE_RESTS = 10
"""0.8 s: after so much silence what is said does not go on from what was."""
_UNKNOWN, _UNKNOWN_LETTER = 1e-5, 0.15
"""Probability of a word that is not in the vocabulary, and by how much less for each letter."""
_NOBODY = -1
_NOWHERE = (_NOBODY, _NOBODY)
_LAST_LETTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Context:
    """Where a reading stands.

    Attributes:
        before: Numbers of the two words before, `_NOBODY` where there is none that is known.
        word: The letters of the word being said, or of the last one if none is.
        paid: What the score already has of that word's own.
        rests: How often nothing was said since.
    """

    before: tuple[int, int]
    word: str = ""
    paid: float = 0.0
    rests: int = 0


@dataclass(frozen=True, slots=True)
class _Followers:
    """The words known to follow each history of one length; the rest is left to shorter histories.

    Attributes:
        starts: Where each history's words begin, and where the last one's end.
        words: Their numbers, ascending within a history.
        surplus: Sum, up to each, of P(word | history) - backoff * P(word | shorter history).
        backoff: Of each history.
    """

    starts: memoryview
    words: memoryview
    surplus: memoryview
    backoff: memoryview

    def share(self, history: int, first: int, last: int, shorter: float) -> float:
        """P(word `first` or one before `last` | history), given that of the shorter history."""
        start, stop = self.starts[history], self.starts[history + 1]
        start = bisect_left(self.words, first, start, stop)
        stop = bisect_left(self.words, last, start, stop)
        return self.surplus[stop] - self.surplus[start] + self.backoff[history] * shorter

    def find(self, history: int, word: int) -> int:
        """The number of the history made longer by a word; `_NOBODY` if that is none."""
        stop = self.starts[history + 1]
        at = bisect_left(self.words, word, self.starts[history], stop)
        return at if at < stop and self.words[at] == word else _NOBODY


class LanguageModel:
    """A backoff trigram over whole words.

    Attributes:
        start: Nobody has said anything yet.

    Args:
        tensors: As `training.ears.arpa` writes them: the vocabulary in alphabetical order, words of
            each history likewise, natural logarithms in float16.
        weight: Of its logarithms beside the recogniser's own.

    Raises:
        KeyError: A tensor is missing.
        ValueError: They do not belong together.
    """

    def __init__(self, tensors: dict[str, np.ndarray], weight: float) -> None:
        self._weight = weight
        self._worth = lru_cache(maxsize=65_536)(self._worth_of)  # the same is asked at every step
        self._words = tensors["words"].tobytes().decode().split("\n")
        self._number = {word: number for number, word in enumerate(self._words)}
        one = _probabilities(tensors["one"])
        if len(one) != len(self._words):
            raise ValueError(f"it has {len(self._words)} words and rates {len(one)}")
        starts, words, p, backoff = _level(tensors, "two", len(one) + 1)
        shorter = one[words]
        of_two = shorter * np.repeat(backoff, np.diff(starts))
        self._one = _sums(one)
        self._two = _followers(starts, words, p - of_two, backoff)
        # A bigram's key tells where the trigrams' shorter histories are.
        keys = np.repeat(np.arange(len(backoff)), np.diff(starts)) * len(one) + words
        starts, thirds, p3, backoff3 = _level(tensors, "three", len(words))
        owner = np.repeat(np.arange(len(words)), np.diff(starts))
        wanted = words[owner] * len(one) + thirds
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        by_two = np.where(keys[at] == wanted, p[at], backoff[words[owner]] * one[thirds])
        self._three = _followers(starts, thirds, p3 - backoff3[owner] * by_two, backoff3)
        self.start = Context((_NOBODY, len(one)))

    @classmethod
    def load(cls, folder: str | Path, weight: float) -> Self:
        """Read the one of a checkpoint.

        Raises:
            CheckpointError: There is none, or it is not whole.
        """
        path = Path(folder) / FILE
        try:
            return cls(load_file(path), weight)
        except (OSError, SafetensorError, KeyError, ValueError, IndexError) as error:
            raise CheckpointError(
                f"Cannot use {path}: {error}.",
                "Take language_weight out of params.json to do without it.",
            ) from error

    def say(self, context: Context, piece: str) -> tuple[Context, float]:
        """Go on by a piece of text; one that begins with a space begins a word.

        Returns:
            Where the reading stands then, and what its score gains.
        """
        before, word, gain = context.before, context.word, -context.paid
        if word and piece.startswith(" "):
            gain += self._worth(before, word, True)
            before, word = (before[1], self._number.get(word, _NOBODY)), ""
        word += piece.strip()
        paid = self._worth(before, word, False)
        return Context(before, word, paid), gain + paid

    def rest(self, context: Context) -> tuple[Context, float]:
        """Say nothing: the word is whole, unless more of it comes after all."""
        rests = context.rests + 1
        paid = self._worth(context.before, context.word, True)
        gain = paid - context.paid
        if rests == UTTERANCE_RESTS:
            return self.start, gain
        return Context(context.before, context.word, paid, rests), gain

    def _worth_of(self, before: tuple[int, int], letters: str, whole: bool) -> float:
        """How much likelier than anywhere a word is here, or all words together that begin so."""
        if not letters:
            return 0.0
        first = bisect_left(self._words, letters)
        last = first + (letters in self._number)
        if not whole:
            last = bisect_left(self._words, letters + _LAST_LETTER, first)
        unknown = _UNKNOWN * _UNKNOWN_LETTER ** (len(letters) + whole)
        here, anywhere = self._share(before, first, last), self._share(_NOWHERE, first, last)
        return self._weight * math.log((max(here, 0.0) + unknown) / (anywhere + unknown))

    def _share(self, before: tuple[int, int], first: int, last: int) -> float:
        """P(one of the words from `first` to before `last` | the two words before)."""
        share: float = self._one[last] - self._one[first]
        earlier, latest = before
        if latest == _NOBODY:
            return share
        share = self._two.share(latest, first, last, share)
        both = _NOBODY if earlier == _NOBODY else self._two.find(earlier, latest)
        return share if both == _NOBODY else self._three.share(both, first, last, share)


def _level(
    tensors: dict[str, np.ndarray], name: str, histories: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Starts, words, probabilities and backoffs of the histories of one length.

    Raises:
        ValueError: There are not as many as there should be.
    """
    starts = np.concatenate(([0], np.cumsum(tensors[f"{name}.counts"], dtype=np.int64)))
    words = tensors[f"{name}.words"].astype(np.int64)
    p, backoff = (_probabilities(tensors[f"{name}.{kind}"]) for kind in ("p", "backoff"))
    if len(starts) != histories + 1 or len(backoff) != histories:
        raise ValueError(f"it has {len(backoff)} histories in {name}, not {histories}")
    if not starts[-1] == len(words) == len(p):
        raise ValueError(f"it promises {starts[-1]} words in {name} and has {len(words)}")
    return starts, words, p, backoff


def _probabilities(logarithms: np.ndarray) -> np.ndarray:
    return np.exp(logarithms.astype(np.float64))


def _sums(values: np.ndarray) -> memoryview:
    """Of all values before each, and of all of them."""
    return np.concatenate(([0.0], np.cumsum(values))).data


def _followers(
    starts: np.ndarray, words: np.ndarray, surplus: np.ndarray, backoff: np.ndarray
) -> _Followers:
    return _Followers(starts.data, words.data, _sums(surplus), backoff.data)
