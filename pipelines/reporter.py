"""What people are told of a call while it goes on: the events of the page protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from agent.heard import Cut
from asr.interface import Hypothesis
from common.errors import ParleyError
from pipelines.mouth import Reply
from pipelines.waterfall import Step, Waterfall
from tts.interface import SAMPLE_RATE_HZ as SAID_HZ

Tell = Callable[..., None]


@dataclass(slots=True)
class _Text:
    """What the page shows of a turn as one text.

    Attributes:
        told: How many words it has.
        spoken: How many of them were told to have been heard.
        said: Those that were heard of its earlier replies.
    """

    told: int = 0
    spoken: int = 0
    said: list[str] = field(default_factory=list)


class Reporter:
    """Turns what happens into events, each told once and only when something changed.

    Attributes:
        line_ms: What the way to the caller and back adds to every answer.
    """

    def __init__(self, tell: Tell, now_s: Callable[[], float]):
        """Create it.

        Args:
            tell: Sends an event, by name and fields, to the page and the log.
            now_s: The clock of latencies.
        """
        self.line_ms = 0.0
        self._tell = tell
        self._now_s = now_s
        self._state = ""
        self._caller_text = ""
        self._taken_samples = 0
        self._texts: defaultdict[int, _Text] = defaultdict(_Text)  # by turn
        self._waterfall = Waterfall()

    def state(self, state: str, reason: str = "") -> None:
        """What the agent does now: listening, thinking, speaking or ducked."""
        if state != self._state:
            self._state = state
            if state == "listening":  # what was heard to its end is over: more is another text
                for turn in [n for n, text in self._texts.items() if text.spoken >= text.told]:
                    del self._texts[turn]
            self._tell("state", state=state, reason=reason)

    def finished_speaking(self) -> None:
        """The agent fell silent; unless it thinks already, it listens."""
        if self._state != "thinking":
            self.state("listening")

    # ---- the caller's words -----------------------------------------------------------------------

    def caller_says(self, turn: int, hypothesis: Hypothesis) -> str:
        """Tell of words not dealt with yet; returns them when they are new."""
        words = hypothesis.words
        fresh = [w for w in words if w.start_samples + w.end_samples >= 2 * self._taken_samples]
        text = " ".join(word.text for word in fresh)
        if not text or text == self._caller_text:
            return ""
        self._caller_text = text
        self._tell("caller_words", turn=turn, text=text, final=False)
        return text

    def caller_said(self, turn: int, text: str, upto_samples: int) -> None:
        """The words before `upto_samples` were this turn; no text: they were nobody's turn."""
        self._taken_samples = max(self._taken_samples, upto_samples)
        if text or self._caller_text:
            self._caller_text = ""
            self._tell("caller_words", turn=turn, text=text, final=True)

    # ---- the agent's words ------------------------------------------------------------------------

    def show(self, reply: Reply) -> None:
        """Tell what was handed to the voice of a reply whose time has come."""
        for clause in reply.clauses[reply.shown :]:
            self._texts[reply.turn].told += len(clause.split())
            self._tell("agent_text", turn=reply.turn, text=clause)
        reply.shown = len(reply.clauses)

    def let_go(self, reply: Reply) -> None:
        """A speculative reply turned out right."""
        self._tell("speculation", kept=True, characters=len(reply.text))

    def thrown_away(self, reply: Reply) -> None:
        """A speculative reply turned out wrong."""
        self._tell("speculation", kept=False, characters=len(reply.text))

    def spoken(self, reply: Reply, downstream_samples: int) -> None:
        """How many words of its turn's text have been heard by now."""
        self.show(reply)
        text = self._texts[reply.turn]
        count = len(text.said) + reply.words_heard(downstream_samples)
        if count != text.spoken:
            text.spoken = count
            self._tell("agent_words", turn=reply.turn, spoken=count)

    def done(self, reply: Reply) -> None:
        """All of a reply has been written; what its voice did not say will not be heard."""
        self.spoken(reply, 0)
        cut = reply.cut(0)
        if cut.unheard:
            self.cut([(reply, cut)], by="voice")
        else:
            self._texts[reply.turn].said += cut.heard.split()
            self._starved(reply)

    def cut(self, replies: Sequence[tuple[Reply, Cut]], *, by: str = "caller") -> None:
        """What was being said, and what would have followed, was cut off."""
        shown = [(reply, cut) for reply, cut in replies if reply.shown]
        for turn, cuts in groupby(shown, lambda one: one[0].turn):
            found = [cut for _, cut in cuts]
            said = self._texts.pop(turn, _Text()).said
            heard = " ".join([*said, *(cut.heard for cut in found)]).strip()
            unheard = " ".join(cut.unheard for cut in found).strip()
            self._tell("agent_cut", turn=turn, heard=heard, unheard=unheard, by=by)
        for reply, _ in replies:
            self._starved(reply)

    def _starved(self, reply: Reply) -> None:
        if reply.starved_samples:
            starved_ms = 1000 * reply.starved_samples // SAID_HZ
            self._tell("underrun", turn=reply.turn, ms=starved_ms)

    def error(self, error: ParleyError) -> None:
        """Something failed that people should know of."""
        self._tell("error", message=error.cause, cure=error.cure)

    # ---- latencies --------------------------------------------------------------------------------

    def step(self, step: Step, *, seconds_ago: float = 0.0) -> None:
        """A step towards an answer was taken."""
        self._waterfall.mark(step, self._now_s() - seconds_ago)

    def again(self, step: Step, *, seconds_ago: float = 0.0) -> None:
        """A step that may come several times in a turn was taken; the last one counts."""
        self._waterfall.move(step, self._now_s() - seconds_ago)

    def start_over(self) -> None:
        """The reply under way was dropped."""
        self._waterfall.restart()

    def audible(self, reply: Reply, *, answers: bool) -> None:
        """The first sound of a reply; only one that answers the caller ends their wait."""
        self.state("speaking")
        if not answers:
            return
        self.step(Step.AUDIBLE)
        if self._waterfall.complete:
            parts = self._waterfall.parts(self.line_ms)
            total_ms = round(sum(part["ms"] for part in parts), 1)
            self._tell("latency", turn=reply.turn, total_ms=total_ms, parts=parts)
        self._waterfall = Waterfall()
