"""A real chat-completions server on loopback that replays scripted replies, event by event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web


def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One event as vLLM, llama.cpp, Ollama and Mistral send them."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


class ChatServer:
    """Each request gets the next of `replies`, the last one again and again.

    A reply is a list of steps: a dict is sent as an event, a str as an event's data, bytes as they
    are, a number is a pause in seconds, an `asyncio.Event` one until it is set, `ChatServer.DIE` cuts
    the connection. An int ≥ 400 as first step is the status.
    """

    DIE = object()

    def __init__(self) -> None:
        self.replies: list[list[Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.models = ["tiny"]
        self.dropped = 0
        self.url = ""

    def say(self, text: str) -> None:
        """Queue an ordinary reply, word by word."""
        words = [event({"content": word}) for word in text.split(" ")]
        for n, word in enumerate(words[1:], 1):
            word["choices"][0]["delta"]["content"] = f" {text.split(' ')[n]}"
        usage = {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7}
        last = event({"content": ""}, "stop", usage=usage)
        self.replies.append([event({"role": "assistant", "content": ""}), *words, last, "[DONE]"])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.headers.append(dict(request.headers))
        steps = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(steps[0], int) and steps[0] >= 400:
            return web.json_response(steps[1], status=steps[0])
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        try:
            await response.prepare(request)
            for step in steps:
                if step is self.DIE:
                    request.transport.abort()  # type: ignore[union-attr]
                elif isinstance(step, int | float):
                    await asyncio.sleep(step)
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, bytes):
                    await response.write(step)
                else:
                    data = step if isinstance(step, str) else json.dumps(step)
                    await response.write(f"data: {data}\n\n".encode())
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            self.dropped += 1
            raise
        return response

    async def list(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": m} for m in self.models]})


@pytest.fixture
async def chat_server() -> AsyncIterator[ChatServer]:
    server = ChatServer()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    app.router.add_get("/v1/models", server.list)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
def chat_event() -> Callable[..., dict[str, Any]]:
    return event
