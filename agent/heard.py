"""What the caller has really heard: the only part of a reply that the agent may remember saying.

planned    The ┊ doctor ┊ is ┊ free ┊ on ┊ Tuesday
written    ━━━━━━━━━━━━━━━━━━━━━━━━━━━┥             samples handed to the caller's line
heard      ━━━━━━━━━━━━━━━━━━┥╌╌╌╌╌╌╌╌┘             less what is still on its way downstream
cut        "The doctor is"     "free on Tuesday"
"""

from __future__ import annotations

from dataclasses import dataclass, field

CUT_NOTE = "… [the caller cut in here]"


@dataclass(frozen=True, slots=True)
class Cut:
    """A reply divided where the caller stopped hearing it.

    Attributes:
        heard: The words that reached the caller.
        unheard: The words that did not.
    """

    heard: str
    unheard: str

    @property
    def for_model(self) -> str:
        """What the language model is told it said; empty when nothing of it was heard."""
        if not self.heard or not self.unheard:
            return self.heard
        return self.heard + CUT_NOTE


@dataclass(slots=True)
class HeardLedger:
    """One reply: which of its words were heard.

    All positions are samples of the reply's own audio at one rate, the playout's. A word counts as
    heard when at least half of it was.
    """

    _middles: list[float] = field(default_factory=list)
    _written: int = 0

    def plan(self, start_samples: int, end_samples: int) -> None:
        """The next word lies at this place of the reply's audio."""
        self._middles.append((start_samples + end_samples) / 2)

    def wrote(self, samples: int) -> None:
        """So many more samples of the reply went out; silence put in between does not count."""
        self._written += samples

    def words_heard(self, downstream_samples: int = 0) -> int:
        """How many of the planned words the caller has heard.

        Args:
            downstream_samples: What lies between writing and the caller's ear: queues, network, jitter
                buffer.
        """
        until = max(0, self._written - downstream_samples)
        return sum(middle <= until for middle in self._middles)
