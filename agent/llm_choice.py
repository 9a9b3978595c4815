"""Which language model answers, decided once at start from a word or an address."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from loguru import logger

from agent.discovery import USUAL_PORTS, find_local_server, list_models
from agent.llm import FallbackModel, LanguageModel, LlmError, LlmOptions, unreachable
from agent.llm_script import ScriptModel
from agent.persona import Persona
from common.errors import ParleyError, RemoteError
from common.keys import read_key

if TYPE_CHECKING:
    from agent.llm_mistral import ChatCompletionsModel

HOSTED_KEY = "MISTRAL_API_KEY"
SERVER_KEY = "PARLEY_LLM_API_KEY"


@dataclass(frozen=True)
class LlmChoice:
    """The models that take the agent's turn, shared by all conversations.

    Attributes:
        servers: Asked in this order. Empty: only the persona's script.
        script_behind: The persona's script answers when no server does.
        why: How it came to this, for the line printed on start.
    """

    servers: tuple[ChatCompletionsModel, ...]
    script_behind: bool
    why: str

    def open(self, persona: Persona) -> LanguageModel:
        """The model for one conversation with `persona`. Close the choice, not the model."""
        models: list[LanguageModel] = [*self.servers]
        if self.script_behind or not models:
            models.append(ScriptModel(persona))
        return models[0] if len(models) == 1 else FallbackModel(models)

    async def warm(self, persona: Persona) -> None:
        """Have the servers load their models and read the persona's instructions; may take a minute.

        Failures are logged: the call itself will tell.
        """
        for server in self.servers:
            try:
                await server.warm(persona.system_prompt())
            except LlmError as error:
                logger.warning("{} {}", error.cause, error.cure)

    async def close(self) -> None:
        """Close the connections."""
        for server in self.servers:
            await server.close()


async def choose_llm(
    spec: str = "auto",
    *,
    options: LlmOptions | None = None,
    environ: Mapping[str, str] | None = None,
    ports: Mapping[str, int] | None = None,
) -> LlmChoice:
    """Decide which language model answers.

    Args:
        spec: `auto` (Mistral's API when its key is set, else a server found on this machine, else
            the script), `script`, `mistral[:MODEL]`, an address `http://HOST[:PORT][/v1][#MODEL]`,
            or several of these separated by commas: each stands behind the one before.
        options: Limits on one reply.
        environ: Where keys are looked up; the process's environment by default. A server at an
            address gets the key in PARLEY_LLM_API_KEY, Mistral the one in MISTRAL_API_KEY.
        ports: Where a local server is looked for.

    Raises:
        ParleyError: The spec makes no sense or a key is missing.
        RemoteError: The server at the address cannot be reached or offers no model.
    """
    environ = os.environ if environ is None else environ
    check_llm(spec)
    if spec == "auto":
        return await _find(options, environ, USUAL_PORTS if ports is None else ports)
    servers: list[ChatCompletionsModel] = []
    words = _words(spec)
    for word in words:
        if word != "script":
            servers.append(await _server(word, options, environ))
    named = ", then ".join(f"{server.name} at {server.where}" for server in servers)
    script = words[-1] == "script"
    why = " then ".join(filter(None, [named, "the persona's offline script" * script]))
    return LlmChoice(tuple(servers), script, why)


def check_llm(spec: str) -> None:
    """Make sure that `choose_llm` can take the spec, whatever the environment holds.

    Raises:
        ParleyError: It makes no sense.
    """
    if spec == "auto":
        return
    words = _words(spec)
    for word in words:
        _check_word(word)
    if "script" in words[:-1]:
        raise ParleyError("The script always answers.", "Put `script` last.")


def _words(spec: str) -> list[str]:
    return [word.strip() for word in spec.split(",")]


def _check_word(word: str) -> None:
    if word == "script" or word.partition(":")[0] == "mistral":
        return
    try:
        parts = urlsplit(word)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable:
        raise ParleyError(
            f"'{word}' is not a language model.", "Use auto, script, mistral[:MODEL] or an address."
        )
    if parts.username or parts.password:
        raise ParleyError("The address of the language model holds a secret.", f"Use {SERVER_KEY}.")


async def _find(
    options: LlmOptions | None, environ: Mapping[str, str], ports: Mapping[str, int]
) -> LlmChoice:
    if environ.get(HOSTED_KEY):
        server = await _server("mistral", options, environ)
        return LlmChoice((server,), False, f"{server.name} at {server.where} ({HOSTED_KEY} is set)")
    if found := await find_local_server(ports):
        from agent.llm_mistral import ChatCompletionsModel

        model = ChatCompletionsModel(found.models[0], url=found.url, options=options)
        return LlmChoice((model,), False, f"{model.name}, found on this machine ({found.kind})")
    return LlmChoice((), True, "the persona's offline script (no key, no local server found)")


async def _server(
    word: str, options: LlmOptions | None, environ: Mapping[str, str]
) -> ChatCompletionsModel:
    from agent.llm_mistral import DEFAULT_MODEL, ChatCompletionsModel  # the SDK takes 0.4 s to load

    kind, _, model = word.partition(":")
    if kind == "mistral":
        if not (key := read_key(HOSTED_KEY, environ)):
            raise ParleyError(f"{HOSTED_KEY} is not set.", "Set it, or choose another --llm.")
        return ChatCompletionsModel(model or DEFAULT_MODEL, api_key=key, options=options)
    url = word.partition("#")[0].rstrip("/").removesuffix("/v1")
    key = read_key(SERVER_KEY, environ)
    name = urlsplit(word).fragment or await _first_model(url, key)
    return ChatCompletionsModel(name, url=url, api_key=key, options=options)


async def _first_model(url: str, key: str) -> str:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        async with httpx.AsyncClient(timeout=3.0, headers=headers) as http:
            models = await list_models(http, url)
    except (httpx.HTTPError, ValueError) as error:
        why, cure = unreachable(error)
        raise RemoteError(f"There is no chat-completions server at {url} ({why}).", cure) from error
    if not models:
        raise RemoteError(f"The server at {url} offers no model for talking.", "Load one.")
    return models[0]
