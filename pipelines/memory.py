"""What goes into the conversation's memory: only what was really heard, in the order it was.

All changes travel as uninterruptible frames through one queue, pipecat's user aggregator's, so an
interruption can neither delete nor reorder them.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pipecat.frames.frames import Frame, LLMMessagesTransformFrame

Messages = list[Any]
F = TypeVar("F", bound=Frame)


def sure(frame: F) -> F:
    """The same frame, not to be deleted by an interruption."""
    frame.interruptible = False
    return frame


def heard(text: str) -> LLMMessagesTransformFrame:
    """The caller heard the agent say `text`; pieces of one reply become one message."""

    def add(messages: Messages) -> Messages:
        last = messages[-1] if messages else {}
        if last.get("role") == "assistant" and not last.get("tool_calls"):
            joined = {**last, "content": f"{last['content']} {text}"}
            return [*messages[:-1], joined]
        return [*messages, {"role": "assistant", "content": text}]

    return sure(LLMMessagesTransformFrame(add))


def taken_back() -> LLMMessagesTransformFrame:
    """The caller's last turn was not over: what it said comes again as part of the whole."""

    def drop(messages: Messages) -> Messages:
        return messages[:-1] if messages and messages[-1].get("role") == "user" else messages

    return sure(LLMMessagesTransformFrame(drop))
