"""Keeping out of the voice what a language model writes for machines: thoughts, tool calls, tokens.

Servers take such text out when they know the model's format. Where they do not, it arrives in the
middle of the reply, cut anywhere.
"""

from __future__ import annotations

import re

_ANSWER = "<|channel|>final<|message|>"
# What begins a passage that nobody says aloud, and what ends it; "" is the end of the reply.
_PASSAGES = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "[THINK]": "[/THINK]",
    "<|channel|>analysis": _ANSWER,
    "<|channel|>commentary": _ANSWER,
    "<tool_call>": "</tool_call>",
    "<tool_response>": "</tool_response>",
    "<function_call>": "</function_call>",
    "<function=": "</function>",
    "<|tool_call|>": "",
    "<|python_tag|>": "",
    "[TOOL_CALLS]": "",
}
_CALLS = (
    "<tool_call>",
    "<function_call>",
    "<|tool_call|>",
    "<|python_tag|>",
    "<function=",
    "[TOOL_CALLS]",
)
# Before the first word these head the reply; after it the model has begun to write the next turn.
_HEADERS = {
    "<|im_start|>": "\n",
    "<start_of_turn>": "\n",
    "<|start_header_id|>": "<|end_header_id|>",
    "<|start_of_role|>": "<|end_of_role|>",
    "<|start|>": _ANSWER,
}
_THOUGHT_ENDS = ("</think>", "</thinking>", "</reasoning>", "[/THINK]")
_STRAY = ("</tool_call>", "</tool_response>", "</function_call>", "</function>", _ANSWER)
# Likewise, but nothing belongs to them.
_TURN_MARKS = (
    *("<s>", "</s>", "<bos>", "<eos>", "<end_of_turn>", "[INST]", "[/INST]"),
    *("<｜Assistant｜>", "<｜User｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
)
_LITERAL = (*_PASSAGES, *_HEADERS, *_THOUGHT_ENDS, *_STRAY, *_TURN_MARKS)
_MARK = re.compile(
    "|".join(map(re.escape, sorted(_LITERAL, key=len, reverse=True))) + r"|<\|\w{1,40}\|>"
)
_TOKEN_BEGINS = re.compile(r"<\|\w{0,40}\|?$")


class SpokenText:
    """Lets spoken text through and withholds the rest.

    A mark may arrive in pieces; no more is held back than could still become one.

    Attributes:
        withheld: Characters withheld so far.
        calls: Tool calls among them, each as it was written.
        over: The reply has ended, whatever else is written.
        thought_unopened: The text began with a thought of which only the end was marked.
    """

    def __init__(self, *, in_thought: bool = False) -> None:
        """Create it.

        Args:
            in_thought: The reply begins with a thought, though nothing says so.
        """
        self.withheld = 0
        self.calls: list[str] = []
        self.over = self.thought_unopened = False
        self._ends: tuple[str, ...] = _THOUGHT_ENDS if in_thought else ()  # of what is withheld
        self._withholds = in_thought
        self._in_call = False
        self._said = False
        self._pending = ""

    def push(self, text: str) -> str:
        """Take in more of the reply; return what of it is to be spoken."""
        self._pending += text
        spoken = ""
        while not self.over:
            at, mark = self._next_mark()
            ready, self._pending = self._pending[:at], self._pending[at + len(mark) :]
            if self._withholds:
                self._keep(ready)
            else:
                spoken += ready
                self._said = self._said or any(map(str.isalnum, ready))
            if not mark:
                break
            self._pass(mark)
        return spoken

    def flush(self) -> str:
        """No more will come: return what was held back in case it was a mark."""
        rest, self._pending = self._pending, ""
        if self._withholds:
            self._keep(rest)
        return "" if self._withholds or self.over else rest

    def _keep(self, text: str) -> None:
        self.withheld += len(text)
        if self._in_call:
            self.calls[-1] += text

    def _next_mark(self) -> tuple[int, str]:
        """Where the next mark stands, and which it is; none: where one may be beginning."""
        text = self._pending
        if self._withholds:
            found = [(at, mark) for mark in self._ends if (at := text.find(mark)) >= 0]
            return min(found, default=(len(text) - _beginning(text, self._ends), ""))
        if match := _MARK.search(text):
            rest = text[match.start() :]
            longer = any(len(m) > len(match[0]) and m.startswith(rest) for m in _LITERAL)
            return match.start(), "" if longer else match[0]
        token = _TOKEN_BEGINS.search(text)
        held = max(_beginning(text, _LITERAL), len(token[0]) if token else 0)
        return len(text) - held, ""

    def _pass(self, mark: str) -> None:
        if self._withholds:
            self.thought_unopened |= self._ends is _THOUGHT_ENDS
            self._withholds = self._in_call = False
        elif mark in _PASSAGES:
            self._withhold(_PASSAGES[mark])
            if mark in _CALLS:
                self._in_call = True
                self.calls.append("")
        elif mark in _THOUGHT_ENDS:
            self.thought_unopened = True
        elif mark in _STRAY:
            pass
        elif self._said:
            self.over = True
        elif mark in _HEADERS:
            self._withhold(_HEADERS[mark])

    def _withhold(self, until: str) -> None:
        self._withholds = True
        self._ends = (until,) if until else ()


def _beginning(text: str, marks: tuple[str, ...]) -> int:
    """How many characters at the end of `text` may be the beginning of a mark."""
    longest = max(map(len, marks), default=1) - 1
    return next(
        (n for n in range(min(longest, len(text)), 0, -1)
         if any(mark.startswith(text[-n:]) for mark in marks)),
        0,
    )  # fmt: skip
