"""The answer that the caller waits for: what is known of it, from a guess at their words to its own."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.mouth import Reply


@dataclass(slots=True)
class Answer:
    """The answer to the caller's latest words.

    Attributes:
        to: The words; a reply to others may not begin. None when there is nothing to answer.
        guessed: The caller's turn is not over, and their words may change.
        reply: It has begun.
        tool_runs: It goes on when that is done.
        written: Some of it has been.
        filler: What asked for patience since.
    """

    to: str | None = None
    guessed: bool = False
    reply: Reply | None = None
    tool_runs: bool = False
    written: bool = False
    filler: Reply | None = None

    @property
    def held(self) -> Reply | None:
        """The reply that is being prepared before the caller's turn is over."""
        return self.reply if self.reply and self.reply.held else None

    def is_awaited(self, writing: Reply | None) -> bool:
        """Whether the caller waits for words that nobody has written yet; `writing` is being written."""
        if self.to is None or self.guessed:
            return False
        if self.tool_runs or self.reply is None:
            return True
        return self.reply is writing and not self.reply.worded
