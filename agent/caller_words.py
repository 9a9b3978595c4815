"""The caller's words that no decision has taken yet, with the agent's own words sorted out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.activity import SAMPLES_PER_MS
from agent.completeness import normalise
from asr.interface import Hypothesis, Word

CATCH_UP_SAMPLES = 1000 * SAMPLES_PER_MS  # no live recogniser lags its final words by more
ECHO_RUN = 3  # so many of the agent's words in a row are an echo even without acoustic proof
ECHO_RUN_SUSPECTED = 1  # with acoustic suspicion one word is enough


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
    """

    words: tuple[Word, ...] = ()
    final_samples: int = 0
    taken_samples: int = 0
    heard_samples: int = 0
    pause: float | None = None

    def hear(self, hypothesis: Hypothesis) -> None:
        """Take in the recogniser's present view."""
        self.pause = hypothesis.pause
        self.heard_samples = max(self.heard_samples, hypothesis.heard_samples)
        fresh = tuple(word for word in hypothesis.words if _middle(word) >= self.taken_samples)
        if hypothesis.final:
            self.final_samples = max(self.final_samples, hypothesis.heard_samples)
        elif self.words and self._lags(fresh, hypothesis.heard_samples):
            return
        self.words = fresh

    def take(self, upto_samples: int) -> None:
        """Forget words before `upto_samples`: a decision has dealt with them."""
        self.taken_samples = max(self.taken_samples, upto_samples)
        self.words = tuple(word for word in self.words if _middle(word) >= self.taken_samples)

    def text(self, since_samples: int = 0) -> str:
        """The words that lie after `since_samples`."""
        return " ".join(word.text for word in self.words if _middle(word) >= since_samples)

    def drop_echo(self, agent_text: str, suspected: bool) -> None:
        """Leave out words that are the agent's own, come back through the caller's microphone.

        Args:
            agent_text: What the agent has been saying.
            suspected: Whether the audio resembled the agent's voice while they were said.
        """
        run = ECHO_RUN_SUSPECTED if suspected else ECHO_RUN
        echoed = _runs_in(self.words, normalise(agent_text), run)
        self.words = tuple(word for i, word in enumerate(self.words) if i not in echoed)

    def _lags(self, fresh: tuple[Word, ...], heard_samples: int) -> bool:
        if heard_samples >= self.final_samples + CATCH_UP_SAMPLES or not self.final_samples:
            return False
        last = self.words[-1]
        if last.start_samples >= self.final_samples:
            return False
        return not fresh or fresh[-1].end_samples <= _middle(last)


def _middle(word: Word) -> int:
    return (word.start_samples + word.end_samples) // 2


def _runs_in(words: Iterable[Word], said: list[str], shortest: int) -> set[int]:
    """Indices of words that form runs of at least `shortest` also found in `said`."""
    tokens = [(i, token) for i, word in enumerate(words) for token in normalise(word.text)]
    found: set[int] = set()
    start = 0
    while start < len(tokens):
        length = max(
            (_common(tokens[start:], said[at:]) for at in range(len(said))),
            default=0,
        )
        if length >= shortest:
            found.update(i for i, _ in tokens[start : start + length])
        start += max(1, length)
    return found


def _common(tokens: list[tuple[int, str]], said: list[str]) -> int:
    length = 0
    for (_, token), word in zip(tokens, said, strict=False):
        if token != word:
            break
        length += 1
    return length
