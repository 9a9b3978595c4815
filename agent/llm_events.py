"""Reading the events of a chat-completions stream, in every dialect, one reply at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.llm import LlmError, Piece, TextDelta, ToolCall, Usage
from agent.unspoken import SpokenText
from agent.written_calls import written_calls

CHARACTERS_PER_TOKEN = 4
_DONE = "[DONE]"


class ThoughtTooLong(LlmError):
    """The model used up its time or tokens for thinking without saying anything."""


@dataclass
class _Call:
    id: str
    name: str
    arguments: str


class ReplyReader:
    """Turns the events of one reply into pieces. Thoughts are counted and withheld.

    Args:
        model: Named in errors.
        thought_tokens: How much the model may think before it must speak.
        thought_s: How long it may.
        in_thought: Its text begins with a thought, though nothing says so.
    """

    def __init__(
        self, model: str, thought_tokens: int, thought_s: float, *, in_thought: bool = False
    ):
        self.done = False
        self._model = model
        self._most_thought = thought_tokens * CHARACTERS_PER_TOKEN
        self._longest_thought_s = thought_s
        self._filter = SpokenText(in_thought=in_thought)
        self._thought_characters = 0
        self._spoken = False
        self._finished = False
        self._calls: dict[int, list[_Call]] = {}
        self._usage = Usage()

    @property
    def thought_unopened(self) -> bool:
        """The text began with a thought of which only the end was marked."""
        return self._filter.thought_unopened

    def read(self, data: Any) -> Iterator[Piece]:
        """Take in the data of one event.

        Raises:
            LlmError: The server reports an error, or this is not the protocol.
        """
        if data == _DONE:
            self.done = self._finished = True
            return
        try:
            yield from self._read(data)
        except (AttributeError, KeyError, TypeError) as error:
            raise LlmError(
                f"{self._model} sent something that is not a chat-completions event.",
                transient=True,
            ) from error

    def _read(self, data: dict[str, Any]) -> Iterator[Piece]:
        if data.get("error"):
            raise LlmError(f"{self._model} reported an error in mid-reply.", transient=True)
        if usage := data.get("usage"):
            self._usage = Usage(
                usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
            )
        for choice in (data.get("choices") or [])[:1]:
            yield from self._read_delta(choice.get("delta") or {})
            self._finished = self._finished or bool(choice.get("finish_reason"))

    def limit_thought(self, after_s: float) -> None:
        """Have thinking end, `after_s` seconds after the question.

        Raises:
            ThoughtTooLong: There were only thoughts so far, and too many or for too long.
        """
        thought = self._thought_characters + self._filter.withheld
        if not thought or self._spoken or self._calls:
            return
        if thought > self._most_thought or after_s > self._longest_thought_s:
            raise ThoughtTooLong(
                f"{self._model} thought too long without speaking.", transient=True
            )

    def finish(self) -> Iterator[Piece]:
        """No more events will come: yield the tool calls, and what it all cost.

        Raises:
            LlmError: The stream ended in mid-reply, or a call's arguments are not JSON.
        """
        if not self._finished:
            raise LlmError(f"{self._model} broke off in mid-reply.", transient=True)
        if rest := self._filter.flush():
            yield TextDelta(rest)
        for calls in self._calls.values():
            for call in calls:
                yield ToolCall(call.id, call.name, self._arguments(call))
        if not self._calls:
            yield from self._written_calls()
        yield Usage(
            self._usage.prompt_tokens,
            self._usage.completion_tokens,
            self._thought_characters + self._filter.withheld,
        )

    def _written_calls(self) -> Iterator[ToolCall]:
        written = [call for text in self._filter.calls for call in written_calls(text)]
        for number, (name, arguments) in enumerate(written):
            yield ToolCall(f"call{number}", name, arguments)

    def _read_delta(self, delta: dict[str, Any]) -> Iterator[Piece]:
        for field in ("reasoning_content", "reasoning"):
            self._thought_characters += len(delta.get(field) or "")
        content = delta.get("content") or ""
        if isinstance(content, list):
            thoughts = [part for part in content if part.get("type") == "thinking"]
            self._thought_characters += len(json.dumps(thoughts)) if thoughts else 0
            content = "".join(p.get("text", "") for p in content if p.get("type") == "text")
        if text := self._filter.push(content):
            self._spoken = True
            yield TextDelta(text)
        if self._filter.over:  # what follows is another turn, made up
            self.done = self._finished = True
        for piece in delta.get("tool_calls") or []:
            self._collect(piece)

    def _collect(self, piece: dict[str, Any]) -> None:
        """Add a piece of a tool call to the call it belongs to.

        Some servers number calls and send the arguments bit by bit; others send each call whole
        and number all of them 0. A new id is a new call.
        """
        function = piece.get("function") or {}
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        calls = self._calls.setdefault(piece.get("index") or 0, [])
        id_ = piece.get("id") or ""
        if not calls or (id_ and id_ != calls[-1].id and function.get("name")):
            calls.append(_Call(id_ or f"call{len(self._calls)}", function.get("name") or "", ""))
        calls[-1].arguments += arguments

    def _arguments(self, call: _Call) -> dict[str, Any]:
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict) or not call.name:
            raise LlmError(f"{self._model} asked for a tool in broken JSON.", transient=True)
        return arguments
