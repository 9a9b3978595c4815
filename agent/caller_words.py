"""The caller's words that no decision has taken yet, with the agent's own words sorted out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.activity import SAMPLES_PER_MS
from agent.completeness import normalise
from asr.interface import Hypothesis, Word

SETTLED_SAMPLES = 100 * SAMPLES_PER_MS
GROWING_SAMPLES = 150 * SAMPLES_PER_MS  # a last word this close to the edge may become longer
CATCH_UP_SAMPLES = 1000 * SAMPLES_PER_MS  # no live recogniser lags its final words by more
ECHO_RUN = 3  # so many of the agent's words in a row are an echo even without acoustic proof
ECHO_TAIL_SAMPLES = 500 * SAMPLES_PER_MS  # the longest way from the agent's mouth to its ear
RESEMBLES = 0.4  # mean belief over a word from which the audio resembled the agent's


@dataclass(slots=True)
class CallerWords:
    """Keeps the best view of the caller's words.

    A flush runs ahead of the live stream: its final words come first, then live hypotheses that do not
    hold them yet. Those are passed over until the live stream has caught up.

    Attributes:
        words: Words not taken yet, in order of time.
        final_samples: Everything said before this sample is in `words`.
        taken_samples: Words before this sample were taken by a decision.
        pause: The recogniser's own latest belief that the caller has stopped.
        pause_samples: How much of the audio that belief is about.
        lag_samples: How far its words may be behind the voice, but for final ones.
    """

    words: tuple[Word, ...] = ()
    final_samples: int = 0
    taken_samples: int = 0
    pause: float | None = None
    pause_samples: int = 0
    lag_samples: int = 0
    _stable_until: int = 0
    _heard: int = 0  # how much of the audio `words` are about
    _views: list[tuple[int, tuple[str, ...]]] = field(
        default_factory=list
    )  # since when, which words
    _echoes: set[Word] = field(default_factory=set)

    @property
    def text(self) -> str:
        """The words, joined by single spaces."""
        return " ".join(word.text for word in self.words)

    def text_before(self, sample: int) -> str:
        """Those of the words that were said before a sample."""
        return " ".join(word.text for word in self.words if _middle(word) < sample)

    @property
    def end_samples(self) -> int:
        """Where the words end."""
        return self.words[-1].end_samples if self.words else self.taken_samples

    @property
    def end_confidence(self) -> float:
        """Belief in the last word, or in the last three together if that is less; 1 without words."""
        last = [word.confidence for word in self.words[-3:]]
        return min(last[-1], sum(last) / len(last)) if last else 1.0

    def settled(self, now: int) -> str:
        """The leading words that can be relied upon while the caller still speaks.

        Some recognisers try out words ("who", "why", "what") while one is being said. A word counts
        when it is declared stable, or has stood for `SETTLED_SAMPLES` and is not the one being said.
        """
        texts = [word.text for word in self.words]
        count = sum(_middle(word) < self._stable_until for word in self.words)
        while len(self._views) > 1 and self._views[1][0] <= now - SETTLED_SAMPLES:
            self._views.pop(0)
        if self._views and self._views[0][0] <= now - SETTLED_SAMPLES:
            stood = min(_common(view, texts) for _, view in self._views)
            if stood == len(texts) and self.end_samples > self._heard - GROWING_SAMPLES:
                stood -= 1
            count = max(count, stood)
        return " ".join(texts[:count])

    def hear(self, hypothesis: Hypothesis, now: int) -> None:
        """Take in the recogniser's view at sample `now`."""
        self.pause, self.pause_samples = hypothesis.pause, hypothesis.heard_samples
        fresh = tuple(word for word in hypothesis.words if _middle(word) >= self.taken_samples)
        if hypothesis.final:
            self.final_samples = max(self.final_samples, hypothesis.heard_samples)
        else:
            self.lag_samples = hypothesis.lag_samples
            told_samples = hypothesis.heard_samples - hypothesis.lag_samples
            known = hypothesis.lag_samples and told_samples < self.final_samples
            if known or self._lags(fresh, hypothesis.heard_samples):
                return
        if hypothesis.stable and not hypothesis.final:  # a flush in the middle of a word is a guess
            self._stable_until = hypothesis.words[hypothesis.stable - 1].end_samples
        self.words = fresh
        self._heard = hypothesis.heard_samples
        # A recogniser that lags has not had the time to change its mind.
        since = now + max(0, now - hypothesis.heard_samples)
        self._views.append((since, tuple(word.text for word in fresh)))

    def take(self, upto_samples: int) -> None:
        """Forget words before `upto_samples`: a decision has dealt with them."""
        self.taken_samples = max(self.taken_samples, upto_samples)
        self.words = tuple(word for word in self.words if _middle(word) >= self.taken_samples)
        self._echoes = {word for word in self._echoes if _middle(word) >= self.taken_samples}

    def drop_echo(
        self, agent_text: str, audible_until: int, own_voice: Callable[[int, int], float]
    ) -> None:
        """Leave out words that are the agent's own, come back through the caller's microphone.

        Args:
            agent_text: What the agent has been saying.
            audible_until: When the caller last heard it.
            own_voice: Mean belief, between two samples, that the audio was the agent's.
        """
        said = normalise(agent_text)
        for run in _runs(self.words, said):
            if run[0].start_samples > audible_until + ECHO_TAIL_SAMPLES:
                continue
            resembles = own_voice(run[0].start_samples, run[-1].end_samples) >= RESEMBLES
            if resembles or len(run) >= ECHO_RUN:
                self._echoes.update(run)
        self.words = tuple(word for word in self.words if word not in self._echoes)

    def _lags(self, fresh: tuple[Word, ...], heard_samples: int) -> bool:
        """Whether a live view does not yet hold final words that are in hand."""
        if not self.words or heard_samples >= self.final_samples + CATCH_UP_SAMPLES:
            return False
        last = self.words[-1]
        if last.start_samples >= self.final_samples:
            return False
        return not fresh or fresh[-1].end_samples <= _middle(last)


def _middle(word: Word) -> int:
    return (word.start_samples + word.end_samples) // 2


def _runs(words: Sequence[Word], said: list[str]) -> list[Sequence[Word]]:
    """The longest stretches of `words` that also stand in `said`, in the same order."""
    tokens = [" ".join(normalise(word.text)) for word in words]
    runs: list[Sequence[Word]] = []
    start = 0
    while start < len(words):
        length = max((_common(tokens[start:], said[at:]) for at in range(len(said))), default=0)
        if length:
            runs.append(words[start : start + length])
        start += max(1, length)
    return runs


def _common(tokens: Sequence[str], said: Sequence[str]) -> int:
    length = 0
    while length < min(len(tokens), len(said)) and tokens[length] == said[length]:
        length += 1
    return length
