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


def heard(text: str, tool_calls: int | None = None) -> LLMMessagesTransformFrame:
    """The caller heard the agent say `text`; pieces of one reply become one message.

    Args:
        text: The words.
        tool_calls: How many tools had been called for this turn when the model wrote them. It may
            have called another since: they were said with that call, and belong before its result.
            None for words that no model wrote, which come last.
    """

    def add(messages: Messages) -> Messages:
        later = [] if tool_calls is None else calls_of_turn(messages)[tool_calls:]
        at = later[0] if later else len(messages) - 1
        said = messages[at] if messages else {}
        if not later and (said.get("role") != "assistant" or said.get("tool_calls")):
            return [*messages, {"role": "assistant", "content": text}]
        joined = {**said, "content": f"{said.get('content') or ''} {text}".strip()}
        return [*messages[:at], joined, *messages[at + 1 :]]

    return sure(LLMMessagesTransformFrame(add))


def calls_of_turn(messages: Messages) -> list[int]:
    """Where tools were called since the caller's last words."""
    last = max(
        (n for n, message in enumerate(messages) if message.get("role") == "user"), default=-1
    )
    return [n for n in range(last + 1, len(messages)) if messages[n].get("tool_calls")]


def taken_back() -> LLMMessagesTransformFrame:
    """The caller's last turn was not over: what it said comes again as part of the whole.

    Tools that were called for it stay: what they did is done.
    """

    def drop(messages: Messages) -> Messages:
        said = [n for n, message in enumerate(messages) if message.get("role") == "user"]
        return [message for n, message in enumerate(messages) if n not in said[-1:]]

    return sure(LLMMessagesTransformFrame(drop))
