"""A backoff trigram: written as ARPA for pocketsphinx and for nano's ears, sampled for training text."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import numpy as np

_START, _END = "<s>", "</s>"
_NEVER = -99.0  # ARPA's log10 of zero
_REDRAWS = 20  # a shorter history must not repeat what the longer one has already weighed

History = tuple[str, ...]


class BackoffModel:
    """P(word | up to two words before), backing off to shorter histories.

    Args:
        unigrams: P(word), summing to one; includes `</s>`, not `<s>`.
    """

    def __init__(self, unigrams: dict[str, float]) -> None:
        self._grams: dict[History, dict[str, float]] = {(): unigrams}
        self._backoff: dict[History, float] = {}
        self._cumulative: dict[History, tuple[list[str], list[float]]] = {}

    def add(self, history: History, word: str, p: float) -> None:
        """Keep one n-gram; shorter histories first, then `close` each length."""
        self._grams.setdefault(history, {})[word] = p

    def close(self, order: int) -> None:
        """All n-grams of `order` words are known: give what they leave to shorter histories."""
        for history, followers in self._grams.items():
            if len(history) == order - 1:
                total = sum(followers.values())
                if total > 0.999:  # keep a little for what was never seen
                    followers.update({w: 0.999 * p / total for w, p in followers.items()})
                    total = 0.999
                shorter = sum(self.p(history[1:], word) for word in followers)
                self._backoff[history] = (1 - total) / max(1e-6, 1 - shorter)

    def p(self, history: History, word: str) -> float:
        """P(word | history)."""
        followers = self._grams.get(history, {})
        if word in followers:
            return followers[word]
        if not history:
            return 0.0
        return self._backoff.get(history, 1.0) * self.p(history[1:], word)

    def vocabulary(self) -> list[str]:
        """All words."""
        return sorted(word for word in self._grams[()] if word != _END)

    def write(self, path: Path) -> None:
        """Write an ARPA file; it is there when it is whole."""
        part = path.with_suffix(".part")
        orders = {n: {h: f for h, f in self._grams.items() if len(h) == n - 1} for n in (1, 2, 3)}
        with part.open("w") as file:
            file.write("\\data\\\n")
            for n, grams in orders.items():
                count = sum(map(len, grams.values())) + (n == 1)
                file.write(f"ngram {n}={count}\n")
            for n, grams in orders.items():
                file.write(f"\n\\{n}-grams:\n")
                if n == 1:
                    file.write(self._line((_START,), _NEVER, 3))
                for history in sorted(grams):
                    for word, p in sorted(grams[history].items()):
                        file.write(self._line((*history, word), math.log10(max(p, 1e-9)), 3 - n))
            file.write("\n\\end\\\n")
        part.replace(path)

    def _line(self, gram: History, log_p: float, longer: int) -> str:
        backoff = self._backoff.get(gram) if longer else None
        tail = f"\t{math.log10(max(backoff, 1e-9)):.4f}" if backoff is not None else ""
        return f"{log_p:.4f}\t{' '.join(gram)}{tail}\n"

    @classmethod
    def read(cls, path: Path) -> BackoffModel:
        """Read an ARPA file of up to three words."""
        model, order = cls({}), 0
        for line in path.read_text().splitlines():
            if line.startswith("\\") and line.endswith("-grams:"):
                order = int(line[1])
            elif order and line and not line.startswith("\\"):
                log_p, gram, *backoff = line.split("\t")
                *history, word = gram.split(" ")
                if word != _START:
                    model.add(tuple(history), word, 10 ** float(log_p))
                if backoff:
                    model._backoff[(*history, word)] = 10 ** float(backoff[0])
        return model

    def tensors(self) -> dict[str, np.ndarray]:
        """What `asr.language_model.LanguageModel` reads; the ends of sentences are left out."""
        words = self.vocabulary()
        number = {word: index for index, word in enumerate(words)}
        one = [(word,) for word in [*words, _START]]
        two = [(*history, word) for history in one for word in self._known(history)]
        tensors = {
            "words": np.frombuffer("\n".join(words).encode(), np.uint8),
            "one": _logarithms([self._grams[()][word] for word in words]),
        }
        for name, histories in (("two", one), ("three", two)):
            followers = [(h, word) for h in histories for word in self._known(h)]
            counts = [len(self._known(history)) for history in histories]
            tensors[f"{name}.counts"] = np.array(counts, np.uint16)
            tensors[f"{name}.words"] = np.array([number[word] for _, word in followers], np.uint16)
            tensors[f"{name}.p"] = _logarithms([self._grams[h][word] for h, word in followers])
            backoffs = [self._backoff.get(history, 1.0) for history in histories]
            tensors[f"{name}.backoff"] = _logarithms(backoffs)
        return tensors

    def _known(self, history: History) -> list[str]:
        return sorted(word for word in self._grams.get(history, ()) if word != _END)

    def sample(self, chance: random.Random, *, longest: int = 16) -> list[str]:
        """One sentence."""
        words: list[str] = []
        while len(words) < longest:
            history: History = tuple([_START, *words][-2:])
            word = self._draw(history, chance)
            if word == _END:
                break
            words.append(word)
        return words

    def _draw(self, history: History, chance: random.Random) -> str:
        """A word by its probability: among the listed followers, or else from a shorter history."""
        words, cumulative = self._listed(history)
        if not history or (words and chance.random() < cumulative[-1]):
            return chance.choices(words, cum_weights=cumulative)[0]
        listed = self._grams.get(history, {})
        word = self._draw(history[1:], chance)
        for _ in range(_REDRAWS):
            if word not in listed:
                break
            word = self._draw(history[1:], chance)
        return word

    def _listed(self, history: History) -> tuple[list[str], list[float]]:
        if history not in self._cumulative:
            followers = self._grams.get(history, {})
            self._cumulative[history] = (
                list(followers),
                list(itertools.accumulate(followers.values())),
            )
        return self._cumulative[history]


def _logarithms(probabilities: list[float]) -> np.ndarray:
    return np.log(np.maximum(probabilities, 1e-9)).astype(np.float16)
