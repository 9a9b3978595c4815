"""Finding a language model that already runs on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

USUAL_PORTS = {"Ollama": 11434, "llama.cpp": 8080, "vLLM": 8000}
_TIMEOUT_S = 0.3
_NOT_FOR_TALKING = ("embed", "rerank", "whisper", "tts", "voxtral", "bge-", "clip")


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A chat-completions server found on this machine.

    Attributes:
        kind: What usually listens there: "Ollama", "llama.cpp" or "vLLM".
        url: Its address.
        models: The names of its models that can talk; the server's own order.
    """

    kind: str
    url: str
    models: tuple[str, ...]


async def find_local_server(ports: Mapping[str, int] = USUAL_PORTS) -> LocalServer | None:
    """Ask the usual ports of this machine, all at once, for a model that can talk.

    Never leaves the loopback interface. The first in the order of `ports` wins.
    """
    async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S) as http:
        found = await asyncio.gather(*(_ask(http, kind, port) for kind, port in ports.items()))
    return next((server for server in found if server is not None), None)


async def list_models(http: httpx.AsyncClient, url: str) -> tuple[str, ...]:
    """The models that a chat-completions server at `url` offers for talking.

    Raises:
        httpx.HTTPError: It cannot be reached, or refuses.
        ValueError: What it says is not such a list.
    """
    response = (await http.get(f"{url}/v1/models")).raise_for_status()
    try:
        names = [str(entry["id"]) for entry in response.json()["data"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{url} does not list models.") from error
    return tuple(n for n in names if not any(part in n.lower() for part in _NOT_FOR_TALKING))


async def _ask(http: httpx.AsyncClient, kind: str, port: int) -> LocalServer | None:
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            models = await list_models(http, url)
    except (httpx.HTTPError, ValueError, TimeoutError):
        return None
    return LocalServer(kind, url, models) if models else None
