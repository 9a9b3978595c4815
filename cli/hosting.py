"""What `parley serve` runs: the models, the calls, the page and the telephones, opened and closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from socket import socket

from loguru import logger
from rich.console import Console

from agent.llm_choice import LlmChoice, choose_llm
from agent.persona import Persona, refuse_namesakes
from cli import STARTED_S
from cli.phones import PhonePlan
from cli.welcome import welcome
from common.errors import ConfigError, ParleyError
from pipelines.browser import BrowserCalls
from pipelines.engines import Engines, open_engines
from pipelines.phone.door import PhoneDoor
from tts.interface import TtsEngine
from web.catalogue import Catalogue, catalogue
from web.engine_metrics import EngineMetrics
from web.guard import Verifier
from web.metrics import Metrics
from web.run import DrainingServer
from web.server import create_app
from web.settings import WebSettings

_NOTICE = "This call is recorded."


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line and the deployment file ask for.

    Attributes:
        settings: The front door.
        pages: Who answers on each page, by its path.
        asr: The ears.
        tts: The voice engine.
        llm: The brain.
        voice: Of personas that name none; empty for the engine's first.
        verify: `MODULE:FUNCTION` that decides over bearer tokens; empty for none.
        max_calls: More at a time are refused.
        drain_s: How long calls may finish once the server is told to stop.
        log_dir: Where every call's event log goes; None keeps none.
        log_words: Whether it says what people said.
        record_dir: Where every call's recording goes; None records none.
        phones: Where telephones come in.
        persona_for: Who answers a called number.
    """

    settings: WebSettings
    pages: dict[str, tuple[Persona, ...]]
    asr: str
    tts: str
    llm: str
    voice: str
    verify: str
    max_calls: int
    drain_s: float
    log_dir: Path | None
    log_words: bool
    record_dir: Path | None
    phones: PhonePlan
    persona_for: Callable[[str], Persona]


async def host_calls(order: Order, port: socket, sip_port: socket | None) -> None:
    """Open everything, take calls until told to stop, close everything.

    Args:
        order: What to open.
        port: Where the web server listens.
        sip_port: Where telephones are answered; None when they are not.

    Raises:
        ParleyError: Something cannot be opened; says why.
    """
    for personas in order.pages.values():
        refuse_namesakes(personas)
    async with AsyncExitStack() as house:
        with Console(stderr=True).status("Waking up …"):
            verify = _load(order.verify) if order.verify else None
            choice = await choose_llm(order.llm)
            house.push_async_callback(choice.close)
            # A local model server may take a minute to load; it starts while our models do.
            warming = asyncio.create_task(choice.warm(order.pages["/"][0]), name="warm the brain")
            house.push_async_callback(_stop, warming)
            engines = await open_engines(order.asr, order.tts)
            house.push_async_callback(engines.close)
            metrics = Metrics()
            calls = _open_calls(order, engines, choice, metrics)
            house.push_async_callback(calls.close)
            ready = partial(_ready, order, engines.tts)
            pages = {path: tuple(map(ready, told)) for path, told in order.pages.items()}
            offered = catalogue(pages, engines, choice, recorded=order.record_dir is not None)
            app = create_app(calls, offered, order.settings, verify=verify, metrics=metrics)
            phones = PhoneDoor(calls, lambda number: ready(order.persona_for(number)))
            house.push_async_callback(phones.close)
            await order.phones.open(phones, app, order.settings, sip_port)
        server = DrainingServer(
            app,
            drain=partial(calls.drain, order.drain_s),
            on_ready=partial(_greet, order, offered, choice, engines),
        )
        await server.run_until_stopped(port)


def _open_calls(
    order: Order, engines: Engines, choice: LlmChoice, metrics: Metrics
) -> BrowserCalls:
    EngineMetrics(engines, metrics)
    calls = BrowserCalls(
        engines,
        choice,
        ice_servers=order.settings.ice_servers,
        most_calls=order.max_calls,
        log_dir=order.log_dir,
        log_words=order.log_words,
        record_dir=order.record_dir,
        on_event=metrics.observe,
    )
    for percent in (50, 95, 99):
        metrics.gauge(
            f"parley_event_loop_lag_p{percent}_seconds",
            f"Percentile {percent} of how late the event loop woke up in the last half minute.",
            partial(lambda percent: calls.lag.percentile_ms(percent) / 1000, percent),
        )
    return calls


def _greet(order: Order, offered: Catalogue, choice: LlmChoice, engines: Engines) -> None:
    took_s = time.monotonic() - STARTED_S
    ears = engines.asr.info.extra.get("max_streams")  # a remote recogniser does not say
    most = min(order.max_calls, int(ears)) if ears else order.max_calls
    console = Console(highlight=False)  # on stdout: what goes to stderr is the log
    welcome(
        console, order.settings, offered, order.phones,
        brain=choice.why, max_calls=most, took_s=took_s,
    )  # fmt: skip


def _ready(order: Order, tts: TtsEngine, persona: Persona) -> Persona:
    """The persona as it answers here: with a voice, and never recording anyone unawares."""
    persona = _voiced(tts, order.voice, persona)
    if order.record_dir is None or persona.disclosure:
        return persona
    if not persona.language.startswith("en"):
        told = "{} has no `disclosure` in its own language: it says {!r} to those it records."
        logger.warning(told, persona.name, _NOTICE)
    return persona.model_copy(update={"disclosure": _NOTICE})


def _voiced(tts: TtsEngine, voice: str, persona: Persona) -> Persona:
    """The persona with `voice` if it names none; a voice that this engine lacks is told of."""
    names = [one.name for one in tts.voices()]
    if voice and voice not in names:
        raise ParleyError(f"There is no voice {voice!r}.", f"Choose one of: {', '.join(names)}.")
    if persona.voice and persona.voice not in names:
        told = "{} is to speak as {}, whom {} does not have: {} speaks instead."
        logger.warning(told, persona.name, persona.voice, tts.info.name, voice or names[0])
        persona = persona.model_copy(update={"voice": ""})
    return persona if persona.voice else persona.model_copy(update={"voice": voice})


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _load(name: str) -> Verifier:
    """Import `MODULE:FUNCTION`."""
    module, _, function = name.partition(":")
    try:
        found: Verifier = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--verify {name}: {error}.",
            "Name an importable module and an async function in it; for a module in this folder "
            "set PYTHONPATH=. in the environment.",
        ) from error
    return found
