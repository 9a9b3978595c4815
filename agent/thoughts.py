"""Keeping a reasoning model's thoughts out of its voice when they arrive inside the text."""

from __future__ import annotations

_OPENING = ("<think>", "[THINK]", "<thinking>", "<reasoning>")
_CLOSING = ("</think>", "[/THINK]", "</thinking>", "</reasoning>")


class ThoughtFilter:
    """Lets spoken text through and withholds what stands between thinking tags.

    A tag may arrive in pieces; no more is held back than could still become one.

    Attributes:
        withheld: Characters of thought so far.
    """

    def __init__(self) -> None:
        self.withheld = 0
        self._thinking = False
        self._pending = ""

    def push(self, text: str) -> str:
        """Take in more of the reply; return what of it is to be spoken."""
        self._pending += text
        spoken = ""
        while True:
            tags = _CLOSING if self._thinking else _OPENING
            at, tag = _first(self._pending, tags)
            ready = at if tag else len(self._pending) - _partial(self._pending, tags)
            if self._thinking:
                self.withheld += ready
            else:
                spoken += self._pending[:ready]
            self._pending = self._pending[ready + len(tag) :]
            if not tag:
                return spoken
            self._thinking = not self._thinking

    def flush(self) -> str:
        """No more will come: return what was held back in case it was a tag."""
        rest, self._pending = self._pending, ""
        return "" if self._thinking else rest


def _first(text: str, tags: tuple[str, ...]) -> tuple[int, str]:
    """Where the first of `tags` begins, and which it is; (len(text), "") when there is none."""
    return min(((at, tag) for tag in tags if (at := text.find(tag)) >= 0), default=(len(text), ""))


def _partial(text: str, tags: tuple[str, ...]) -> int:
    """How many characters at the end of `text` may be the beginning of a tag."""
    longest = max(map(len, tags)) - 1
    return next(
        (n for n in range(min(longest, len(text)), 0, -1)
         if any(tag.startswith(text[-n:]) for tag in tags)),
        0,
    )  # fmt: skip
