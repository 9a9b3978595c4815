"""When a pause is the end of the turn: how finished it is, and how long silence must last for that."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from agent.completeness import finished

# Weight of each judge's log-odds. Words know grammar, sound knows melody; neither alone is enough.
_WORDS, _SOUND, _RECOGNISER = 1.0, 0.45, 0.2
# Synthesised and telephone voices often sound unfinished to the judge when they are not.
_LEAST_SOUND = 0.2
# Words that leave a sentence open overrule any melody: "my number is" is never an end.
_OPEN_SENTENCE = 0.15
# An end that was guessed says little about the sentence; pauses follow words nobody expected.
_GUESS_CONFIDENCE = 0.5
_AFTER_GUESS = 0.4
_PAUSES_REMEMBERED = 8
_USUAL_PAUSE_MS = 500.0  # a pause in mid-sentence, before this caller has shown theirs


@dataclass(frozen=True, slots=True)
class Judgement:
    """Belief 0..1 that the turn is finished, and why, in words."""

    belief: float
    reason: str


def judge(
    text: str,
    agent_text: str,
    sound: float | None = None,
    recogniser: float | None = None,
    end_confidence: float = 1.0,
) -> Judgement:
    """Fuse what the words say with how the pause sounds.

    Args:
        text: The turn so far.
        agent_text: What the agent said before it.
        sound: Smart-turn's probability for this pause, when it is in.
        recogniser: The recogniser's own belief that the caller has stopped, when it has one. It grows
            with the silence, so a low one says nothing yet.
        end_confidence: The recogniser's belief in the last words.
    """
    words, reason = finished(text, agent_text)
    odds = _WORDS * _log_odds(words)
    if sound is not None:
        odds += _SOUND * _log_odds(max(sound, _LEAST_SOUND))
        reason += f"; sounds {sound:.0%} finished"
    if recogniser is not None:
        odds += _RECOGNISER * max(0.0, _log_odds(recogniser))
    belief = 1 / (1 + math.exp(-odds))
    if words <= _OPEN_SENTENCE:
        belief = min(belief, 2 * words)
    if end_confidence < _GUESS_CONFIDENCE and belief > _AFTER_GUESS:
        return Judgement(_AFTER_GUESS, f"{reason}; its end is a guess")
    return Judgement(belief, reason)


@dataclass(slots=True)
class Patience:
    """How long silence must last, given belief; learns from the caller's own pauses.

    Attributes:
        steps_ms: Silence needed at beliefs 0, 0.25, 0.5, 0.75 and 1; straight lines between.
        pauses_ms: The caller's latest pauses in mid-turn.
    """

    steps_ms: tuple[int, int, int, int, int]
    pauses_ms: list[float] = field(default_factory=list)

    def needed_ms(self, belief: float) -> float:
        """Silence after which a turn finished with this belief is over."""
        place = min(max(belief, 0.0), 1.0) * 4
        below = min(int(place), 3)
        low, high = self.steps_ms[below], self.steps_ms[below + 1]
        needed = low + (high - low) * (place - below)
        # A sure end needs no more time from a slow speaker; a doubtful one does.
        return needed * (1 + (self.slowness - 1) * (1 - belief))

    @property
    def slowness(self) -> float:
        """This caller's pauses against the usual ones: 0.8 for a brisk speaker to 1.5 for a slow one."""
        if len(self.pauses_ms) < 2:
            return 1.0
        longest_typical = sorted(self.pauses_ms)[int(0.75 * (len(self.pauses_ms) - 1) + 0.5)]
        return min(max(longest_typical / _USUAL_PAUSE_MS, 0.8), 1.5)

    def learn(self, pause_ms: float) -> None:
        """The caller went on after a pause of this length."""
        self.pauses_ms = [*self.pauses_ms, pause_ms][-_PAUSES_REMEMBERED:]


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 0.03), 0.97)
    return math.log(bounded / (1 - bounded))
