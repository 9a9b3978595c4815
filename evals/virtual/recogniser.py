"""A recogniser without a model: words appear some time after they end, sometimes wrong."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.activity import SAMPLES_PER_MS
from agent.evidence import Heard
from asr.interface import Hypothesis, Word
from evals.virtual.speech import Utterance, spoken

if TYPE_CHECKING:
    from evals.virtual.world import Engines

_MISHEARD = ("the", "and", "it", "for", "okay", "that")


class Recogniser:
    """Hears the caller's words, and the agent's where its voice leaks back."""

    def __init__(self, engines: Engines, rng: random.Random):
        self._engines = engines
        self._rng = rng
        self._seen = 0
        self._words: list[tuple[int, Word]] = []  # when it appears, the word
        self._echo: tuple[int, list[Word]] = (0, [])
        self._committed = 0
        self._shown: tuple[Word, ...] = ()

    def tick(self, now: int, said: list[tuple[int, Utterance]]) -> Heard | None:
        """What is newly understood."""
        self._listen(said)
        tries = self._engines.tries_ms * SAMPLES_PER_MS
        words = tuple(
            w if due + tries <= now else replace(w, text=_MISHEARD[len(w.text) % len(_MISHEARD)])
            for due, w in self._words
            if due <= now and w.middle_samples >= self._committed
        )
        if words == self._shown:
            return None
        self._shown = words
        lag = self._engines.lag_ms * SAMPLES_PER_MS
        stable = 0 if tries else len(words)
        return Heard(now, Hypothesis(words, stable, now, lag_samples=lag))

    def flush(self, now: int, said: list[tuple[int, Utterance]]) -> Hypothesis:
        """The final words for all audio before `now`."""
        self._listen(said)
        words = tuple(w for _, w in self._words if self._committed <= w.middle_samples <= now)
        return Hypothesis(words, len(words), now, final=True)

    def commit(self, upto: int) -> None:
        """Forget words before `upto`."""
        self._committed = max(self._committed, upto)
        self._shown = tuple(w for w in self._shown if w.middle_samples >= self._committed)

    def echo(self, text: str, begins: int, played: int) -> None:
        """The agent's voice begins to leak in; `played` of this text were said before."""
        words = spoken(text, "turn", random.Random(7)).words
        late = [_moved(w, begins - played) for w in words if w.start_samples >= played]
        self._echo = (begins, late)
        self._words += [(self._due(w), w) for w in self._echo[1]]

    def echo_ends(self, ends: int) -> None:
        """The agent fell silent: its remaining words are never heard."""
        unheard = {id(w) for w in self._echo[1] if w.end_samples > ends}
        self._words = [entry for entry in self._words if id(entry[1]) not in unheard]

    def _listen(self, said: list[tuple[int, Utterance]]) -> None:
        for began, utterance in said[self._seen :]:
            for word in utterance.words:
                heard = self._as_heard(_moved(word, began))
                if heard is not None:
                    self._words = [
                        entry for entry in self._words if not self._masks(heard, entry[1])
                    ]
                    self._words.append((self._due(heard), heard))
        self._seen = len(said)
        self._words.sort(key=lambda entry: entry[1].start_samples)

    def _masks(self, louder: Word, echo: Word) -> bool:
        """Whether the caller speaks over a word of the echo, so that nobody could make it out."""
        overlap = min(louder.end_samples, echo.end_samples) - max(
            louder.start_samples, echo.start_samples
        )
        return overlap > 0 and echo in self._echo[1]

    def _due(self, word: Word) -> int:
        return word.end_samples + self._rng.randint(*self._engines.word_latency_ms) * SAMPLES_PER_MS

    def _as_heard(self, word: Word) -> Word | None:
        text = word.text if self._engines.punctuation else re.sub(r"[.,?!…]", "", word.text).lower()
        if self._rng.random() >= self._engines.word_error:
            return replace(word, text=text)
        if self._rng.random() < 0.5:
            return None
        return replace(
            word, text=self._rng.choice(_MISHEARD), confidence=self._rng.uniform(0.2, 0.7)
        )


def _moved(word: Word, by: int) -> Word:
    return replace(word, start_samples=word.start_samples + by, end_samples=word.end_samples + by)
