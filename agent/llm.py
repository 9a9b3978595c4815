"""The language model as the rest of the house sees it: messages in, pieces of a reply out.

Hosted, on a server at a URL, found on this machine or a persona's offline script: each is a
`LanguageModel`. They hold no conversation: everything they answer to is in the messages, so a
speculative reply can be thrown away without trace and one model serves many callers.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
from loguru import logger

from common.errors import RemoteError

Message = dict[str, Any]
"""One message in the form of the chat-completions protocol: role, content, tool calls."""

ToolSchema = dict[str, Any]
"""One tool in the form of the chat-completions protocol: {"type": "function", "function": {…}}."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A few more characters to say, spaces included."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool to be run. Whole: pieces have been put together."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """What the reply cost, as far as the server says; comes last.

    Attributes:
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written, thoughts included.
        thought_characters: Characters of reasoning that were withheld from the voice.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    thought_characters: int = 0


Piece = TextDelta | ToolCall | Usage


class LanguageModel(Protocol):
    """Something that can take the agent's turn."""

    @property
    def name(self) -> str:
        """The model's own name."""

    @property
    def where(self) -> str:
        """Where it runs, in words for people: an address, or "offline"."""

    def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> AsyncGenerator[Piece, None]:
        """Yield the reply to `messages` as it is written.

        Closing the iterator stops the model at once.

        Raises:
            LlmError: The model refused, fell silent or died. What it had said was yielded before.
        """


class LlmError(RemoteError):
    """A language model could not answer.

    Attributes:
        transient: Asking again soon may work.
    """

    def __init__(self, cause: str, cure: str = "", *, transient: bool = False):
        super().__init__(cause, cure)
        self.transient = transient


def unreachable(error: Exception) -> tuple[str, str]:
    """Why a server could not be talked to, in a few words without secrets, and the cure."""
    if not isinstance(error, httpx.ConnectError):
        return type(error).__name__, "Is the server running and reachable?"
    if "CERTIFICATE" in str(error):
        return str(error), "Name a file with its certificate in SSL_CERT_FILE."
    return str(error), "Is the server running, and is the address right?"


@dataclass(frozen=True)
class LlmOptions:
    """Limits on one reply.

    Attributes:
        first_token_s: Longest wait for a sign of life, thoughts included. There is no second one:
            a slow server that is asked again begins again.
        silence_s: Longest wait between two signs of life.
        total_s: Longest time for a whole reply.
        thought_tokens: How much a reasoning model may think before it must speak.
        thought_s: How long it may; a caller takes silence for a broken line.
        attempts: How often one model is asked before it counts as failed.
        retry_after_s: Pause before the second attempt; doubles with each further one.
        max_tokens: Longest reply, thoughts included; a spoken reply is short.
        temperature: Sampling temperature; None leaves it to the server.
    """

    first_token_s: float = 12.0
    silence_s: float = 6.0
    total_s: float = 60.0
    thought_tokens: int = 800
    thought_s: float = 10.0
    attempts: int = 2
    retry_after_s: float = 0.25
    max_tokens: int = 2_000
    temperature: float | None = None


class FallbackModel:
    """Asks one model after another until one of them answers.

    A model that has already said something is not replaced: a second voice starting over would
    confuse more than a reply that ends early.
    """

    def __init__(self, models: Sequence[LanguageModel]):
        self.models = tuple(models)

    @property
    def name(self) -> str:
        """The first model's name."""
        return self.models[0].name

    @property
    def where(self) -> str:
        """Where the first one runs, and what stands behind it."""
        behind = ", then ".join(model.name for model in self.models[1:])
        return f"{self.models[0].where}, then {behind}" if behind else self.models[0].where

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> AsyncGenerator[Piece, None]:
        """Yield the reply of the first model that answers.

        Raises:
            LlmError: None did; the cause names each with its reason.
        """
        causes = []
        for model in self.models:
            begun = False
            try:
                async with aclosing(model.reply(messages, tools)) as pieces:
                    async for piece in pieces:
                        begun = begun or not isinstance(piece, Usage)
                        yield piece
                return
            except LlmError as error:
                if begun:
                    raise
                logger.warning("{} ({}) did not answer: {}", model.name, model.where, error.cause)
                causes.append(error)
        if not causes:
            raise LlmError("There is no language model to ask.")
        raise LlmError(" ".join(error.cause for error in causes), causes[-1].cure)
