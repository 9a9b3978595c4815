"""Any chat-completions server as a `LanguageModel`, through the `mistralai` SDK.

Mistral's own API, vLLM, llama.cpp and Ollama speak almost the same protocol. The SDK builds and
signs the requests and names the errors; the events are read here, because its models accept only
Mistral's dialect: they refuse tool calls that arrive in pieces and drop the field in which other
servers put a model's reasoning.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from loguru import logger
from mistralai.client import Mistral
from mistralai.client.errors import MistralError, NoResponseError
from mistralai.client.utils.eventstreaming import EventStreamAsync

from agent.llm import LlmError, LlmOptions, Message, Piece, ToolSchema, unreachable
from agent.llm_events import ReplyReader, ThoughtTooLong

MISTRAL_URL = "https://api.mistral.ai"
DEFAULT_MODEL = "mistral-small-latest"

_HURRY = {
    "role": "system",
    "content": "Answer at once in one or two short spoken sentences, without reasoning first.",
}
# How Ollama, vLLM and llama.cpp refuse a request because it offers tools.
_REFUSALS_OF_TOOLS = ("support tool", "auto-tool-choice", "tools param")
_HELLO_TOKENS = 200  # enough for a thought about "Hi"; an answer to it ends long before
_KEPT_KEYS = ("role", "content", "tool_calls", "tool_call_id", "name", "prefix")


class ChatCompletionsModel:
    """A model on a server, streamed.

    Args:
        model: The server's name for it.
        url: Address of the server, with or without `/v1`; Mistral's API by default.
        api_key: Sent as a bearer token; never logged, never part of an error.
        options: Limits on one reply.

    Attributes:
        takes_tools: False once the server has said that it gives this model no tools.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        url: str = MISTRAL_URL,
        api_key: str = "",
        options: LlmOptions | None = None,
    ):
        self._model = model
        self._url = url.rstrip("/").removesuffix("/v1")
        self._secret = api_key
        self._options = options or LlmOptions()
        self.takes_tools = True
        self._begins_in_thought = False  # by its last reply; its template opens the thought
        host = urlsplit(self._url).hostname or ""
        self._http = httpx.AsyncClient(
            trust_env=host not in ("localhost", "127.0.0.1", "::1"),  # no proxy for this machine
            timeout=httpx.Timeout(self._options.total_s, connect=3.0),
        )
        self._sdk = Mistral(
            api_key=api_key or None, server_url=self._url, async_client=cast(Any, self._http)
        )

    @property
    def name(self) -> str:
        """The server's name for the model."""
        return self._model

    @property
    def where(self) -> str:
        """The server's host and port."""
        return urlsplit(self._url).netloc.rpartition("@")[2]

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def warm(self, instructions: str, patience_s: float = 60.0) -> None:
        """Open the connection, have the model loaded and its instructions read, before a caller waits.

        It says hello to nobody, which also shows whether it thinks aloud.

        Args:
            instructions: The system prompt of the calls to come; servers keep what they made of it.
            patience_s: A large model takes long to load.

        Raises:
            LlmError: It cannot answer.
        """
        limits = LlmOptions(first_token_s=patience_s, thought_s=patience_s, total_s=patience_s)
        patient = replace(limits, max_tokens=_HELLO_TOKENS, temperature=self._options.temperature)
        system = {"role": "system", "content": instructions}
        hello = [system, {"role": "user", "content": "Hi"}]
        async with aclosing(self._attempt(hello, (), patient)) as pieces:
            async for _ in pieces:
                pass

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> AsyncGenerator[Piece, None]:
        """Yield the reply; asks again after a passing failure as long as nothing was said.

        Raises:
            LlmError: It refused, fell silent, died, thought without end or broke the protocol.
        """
        prompt = _cleaned(messages)
        for attempt in range(1, self._options.attempts + 1):
            begun = False
            try:
                async with aclosing(self._attempt(prompt, tools, self._options)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
                return
            except LlmError as error:
                if begun or not error.transient or attempt == self._options.attempts:
                    raise
                logger.info("{} at {}: {} Asking again.", self.name, self.where, error.cause)
                if isinstance(error, ThoughtTooLong):
                    prompt = [*prompt, _HURRY]
                else:
                    await asyncio.sleep(self._options.retry_after_s * 2 ** (attempt - 1))

    async def _attempt(
        self, messages: list[Message], tools: Sequence[ToolSchema], options: LlmOptions
    ) -> AsyncGenerator[Piece, None]:
        loop = asyncio.get_running_loop()
        refusal: LlmError | None = None
        reader = ReplyReader(
            *(self.name, options.thought_tokens, options.thought_s),
            in_thought=self._begins_in_thought,
        )
        begun = loop.time()
        deadline = begun + options.total_s
        patience_s = options.first_token_s
        try:
            async with asyncio.timeout(patience_s):
                stream = await self._request(messages, tools, options)
            async with stream:
                while not reader.done:
                    async with asyncio.timeout(min(patience_s, deadline - loop.time())):
                        event = await anext(stream, None)
                    if event is None:
                        break
                    patience_s = options.silence_s
                    for piece in reader.read(event["data"]):
                        yield piece
                    reader.limit_thought(loop.time() - begun)
        except TimeoutError as error:
            waited = "took too long" if loop.time() >= deadline else "fell silent"
            raise LlmError(
                f"{self.name} at {self.where} {waited}.",
                "Is the server overloaded, or the model too large for it?",
            ) from error
        except (httpx.HTTPError, NoResponseError, UnicodeDecodeError) as error:
            why, cure = unreachable(error)
            raise LlmError(
                f"{self.name} at {self.where} broke off ({why}).", cure, transient=True
            ) from error
        except MistralError as error:
            refusal = self._refusal(error)  # raised outside: the SDK's error quotes too much
        if refusal is not None:
            raise refusal
        for piece in reader.finish():
            yield piece
        self._begins_in_thought = reader.thought_unopened

    async def _request(
        self, messages: list[Message], tools: Sequence[ToolSchema], options: LlmOptions
    ) -> EventStreamAsync[Any]:
        offered = list(tools) if self.takes_tools else []
        optional: dict[str, Any] = {"tools": offered or None, "temperature": options.temperature}
        given = {key: value for key, value in optional.items() if value is not None}
        try:
            stream = await self._sdk.chat.stream_async(
                model=self._model,
                messages=cast(Any, messages),
                max_tokens=options.max_tokens,
                timeout_ms=int(options.total_s * 1000),
                **given,  # the SDK would send None as null, which some servers refuse
            )
        except MistralError as error:
            said = self._said(error)
            if not offered or not any(words in said for words in _REFUSALS_OF_TOOLS):
                raise
            self.takes_tools = False
            logger.warning(
                "{} at {} is used without tools, for it refuses them: {}.",
                *(self.name, self.where, said),
            )
            return await self._request(messages, (), options)
        return EventStreamAsync(stream.response, json.loads, client_ref=self._sdk)

    def _said(self, error: MistralError) -> str:
        """The server's own words about a refusal, without the key."""
        said = _server_message(error.body)
        return said.replace(self._secret, "…") if self._secret else said

    def _refusal(self, error: MistralError) -> LlmError:
        status, said = error.status_code, self._said(error)
        cause = f"{self.name} at {self.where} refused with status {status}{said and f': {said}'}."
        cure, transient = "", status in (408, 409, 429) or status >= 500
        if status in (401, 403):
            cure = "Check the API key."
        elif status == 404:
            cure = "Check the address and the name of the model."
        elif status == 429:
            cure = "Wait a little, or raise the limit of the account."
        elif status == 200:
            cure = "The address answers, but not with a chat-completions stream."
        return LlmError(cause, cure, transient=transient)


def _cleaned(messages: Sequence[Message]) -> list[Message]:
    """Meet the rules of Mistral's API and of strict prompt templates, which other servers do not mind.

    Only the first messages may be `system`; a tool's result must be followed by the assistant,
    which is what is being asked for, unless something else came in between. The templates of Gemma
    and others want the caller to begin, though the agent greeted first, and strict alternation,
    though a caller who cut in before the answer has spoken twice.
    """
    cleaned: list[Message] = []
    for message in messages:
        kept = {key: message[key] for key in _KEPT_KEYS if message.get(key) is not None}
        if kept["role"] == "system" and any(m["role"] != "system" for m in cleaned):
            kept["role"] = "user"
        if cleaned and cleaned[-1]["role"] == "tool" and kept["role"] == "user":
            cleaned.append({"role": "assistant", "content": "…"})
        before = cleaned[-1]["role"] if cleaned else "system"
        if kept["role"] == "assistant":
            kept.setdefault("content", "")
            if before == "system":
                cleaned.append({"role": "user", "content": "…"})
        if kept["role"] == before == "user":
            cleaned[-1] = {**kept, "content": f"{cleaned[-1]['content']}\n{kept['content']}"}
            continue
        cleaned.append(kept)
    if cleaned and cleaned[-1]["role"] == "assistant":
        cleaned[-1]["prefix"] = True
    return cleaned


def _server_message(body: str) -> str:
    """The server's own words, without its JSON and not too many of them."""
    try:
        data = json.loads(body)
    except ValueError:
        return ""
    while isinstance(data, dict):
        data = next((data[key] for key in ("error", "message", "detail") if key in data), "")
    return str(data)[:200].rstrip(". ") if isinstance(data, str) else ""
