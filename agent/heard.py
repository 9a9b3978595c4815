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


@dataclass(frozen=True, slots=True)
class _Planned:
    text: str
    start_samples: int
    end_samples: int


@dataclass(slots=True)
class HeardLedger:
    """One reply: which of its words were heard.

    All positions are samples of the reply's own audio at one rate, the playout's. A word counts as
    heard when at least half of it was. Where the line confirms playback by marks (telephone
    carriers), the latest confirmed mark counts instead of what was written.
    """

    _words: list[_Planned] = field(default_factory=list)
    _written: int = 0
    _marks: dict[str, int] = field(default_factory=dict)
    _confirmed: int | None = None

    def plan(self, text: str, start_samples: int, end_samples: int) -> None:
        """A word lies at this place of the reply's audio."""
        self._words.append(_Planned(text, start_samples, end_samples))

    def wrote(self, samples: int) -> None:
        """So many more samples of the reply went out; silence put in between does not count."""
        self._written += samples

    def mark(self, name: str) -> None:
        """A mark was sent behind all audio written so far."""
        self._marks[name] = self._written
        self._confirmed = self._confirmed or 0

    def reached(self, name: str) -> None:
        """The line reports that the caller's side has played up to a mark; unknown names do not count."""
        position = self._marks.pop(name, None)
        if position is not None:
            self._confirmed = max(self._confirmed or 0, position)

    def heard_samples(self, downstream_samples: int = 0) -> int:
        """How much of the reply the caller has heard.

        Args:
            downstream_samples: What lies between writing and the caller's ear: queues, network, jitter
                buffer. Not used where marks are.
        """
        if self._confirmed is not None:
            return self._confirmed
        return max(0, self._written - downstream_samples)

    def words_heard(self, downstream_samples: int = 0) -> int:
        """How many of the planned words the caller has heard."""
        until = self.heard_samples(downstream_samples)
        return sum((word.start_samples + word.end_samples) / 2 <= until for word in self._words)

    def heard(self, downstream_samples: int = 0) -> str:
        """The words the caller has heard."""
        return self.cut(downstream_samples).heard

    def cut(self, downstream_samples: int = 0) -> Cut:
        """Divide the reply at what the caller has heard.

        A line that is cleared reports all its marks at once, so ask before clearing it.
        """
        count = self.words_heard(downstream_samples)
        texts = [word.text for word in self._words]
        return Cut(" ".join(texts[:count]), " ".join(texts[count:]))
