"""`parley serve`: the page, the calls, and everything behind them."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from common.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.persona import Persona
    from cli.phones import PhonePlan
    from web.guard import Verifier
    from web.settings import WebSettings

_ICE_HELP = "STUN or TURN server, repeatable: stun:HOST:PORT, turn:USER:SECRET@HOST:PORT."


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port to listen on.")] = 7860,
    persona: Annotated[
        list[str] | None, typer.Option(help="Who may answer, repeatable: a name or a YAML file.")
    ] = None,
    deployment: Annotated[
        Path | None, typer.Option(help="YAML file that says which persona answers where.")
    ] = None,
    asr: Annotated[str, typer.Option(help="Ears: nano, sphinx, mistral, a folder, a URL.")] = "",
    tts: Annotated[str, typer.Option(help="Voice: nano, espeak, mistral, a folder, a URL.")] = "",
    llm: Annotated[str, typer.Option(help="Brain: auto, script, mistral[:MODEL], a URL.")] = "",
    voice: Annotated[str, typer.Option(help="Voice of personas that name none.")] = "",
    max_calls: Annotated[int, typer.Option(help="Most calls at a time.", min=1)] = 16,
    public_url: Annotated[
        str | None, typer.Option(help="Address visitors use when a proxy stands in front.")
    ] = None,
    ice: Annotated[list[str] | None, typer.Option(help=_ICE_HELP)] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Another site whose pages may call, repeatable.")
    ] = None,
    verify: Annotated[
        str, typer.Option(help="MODULE:FUNCTION that decides over visitors' bearer tokens.")
    ] = "",
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Let strangers call on a public address.")
    ] = False,
    sip: Annotated[
        str, typer.Option(help="Also answer telephones: HOST:PORT of a SIP endpoint.")
    ] = "",
    sip_allow: Annotated[
        list[str] | None, typer.Option(help="Only these networks may call over SIP, repeatable.")
    ] = None,
    drain_s: Annotated[float, typer.Option(help="How long calls may finish on SIGTERM.")] = 30.0,
    log_dir: Annotated[Path | None, typer.Option(help="Write every call's event log here.")] = None,
    log_words: Annotated[
        bool, typer.Option("--log-words", help="Also log what people say; off for their sake.")
    ] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
) -> None:
    """Start the server and talk in a browser.

    Listens on this machine only. On any other address visitors need a key: the one in PARLEY_SECRET,
    or one made up for this run and printed.

    Examples:
        parley serve

        parley serve --asr nano --llm http://localhost:11434 --persona restaurant

        PARLEY_SECRET=… parley serve --host 0.0.0.0 --public-url https://talk.example.org
    """
    from agent.deployment import Deployment, load_deployment
    from agent.persona import load_persona
    from cli.phones import PhonePlan
    from pipelines.engines import DEFAULT_ASR, DEFAULT_TTS
    from pipelines.media.ice import ice_servers
    from web.settings import WebSettings

    _set_up_log(log_json, log_words)
    settings = WebSettings(
        host=host,
        port=port,
        public_url=public_url,
        secret=os.environ.get("PARLEY_SECRET") or None,
        open_to_all=open_to_all,
        allowed_origins=tuple(allow_origin or ()),
        ice_servers=tuple(ice_servers(ice)),
    )
    if settings.is_public and not (settings.secret or verify or open_to_all):
        settings = replace(settings, secret=secrets.token_urlsafe(12))
    plan = load_deployment(deployment) if deployment else Deployment()
    if persona:
        personas = tuple(load_persona(name) for name in persona)
    else:
        front = plan.persona(plan.for_page("/"))
        personas = (front, *(other for other in plan.choice if other.name != front.name))
    if voice:
        personas = tuple(p if p.voice else p.model_copy(update={"voice": voice}) for p in personas)
    order = _Order(
        settings, personas, asr or plan.asr or DEFAULT_ASR, tts or plan.tts or DEFAULT_TTS,
        llm or plan.llm, verify, max_calls, drain_s, log_dir, log_words,
        PhonePlan.read(sip, sip_allow or (), os.environ.get("PARLEY_PHONE_TOKEN", "")),
        partial(plan.for_caller_of, default=personas[0]),
    )  # fmt: skip
    asyncio.run(_serve(order))


@dataclass(frozen=True, slots=True)
class _Order:
    """What the command line and the deployment file ask for."""

    settings: WebSettings
    personas: tuple[Persona, ...]
    asr: str
    tts: str
    llm: str
    verify: str
    max_calls: int
    drain_s: float
    log_dir: Path | None
    log_words: bool
    phones: PhonePlan
    persona_for: Callable[[str], Persona]


async def _serve(order: _Order) -> None:
    began_s = time.monotonic()
    console = Console(stderr=True, highlight=False)
    with console.status("Waking up …"):
        from agent.llm_choice import choose_llm
        from cli.welcome import welcome
        from pipelines.browser import BrowserCalls
        from pipelines.engines import open_engines
        from pipelines.phone.door import PhoneDoor
        from web.catalogue import catalogue
        from web.engine_metrics import EngineMetrics
        from web.metrics import Metrics
        from web.run import DrainingServer
        from web.server import create_app

        verify = _load(order.verify) if order.verify else None
        engines, choice = await asyncio.gather(
            open_engines(order.asr, order.tts), choose_llm(order.llm)
        )
        metrics = Metrics()
        EngineMetrics(engines, metrics)
        calls = BrowserCalls(
            engines,
            choice,
            ice_servers=order.settings.ice_servers,
            most_calls=order.max_calls,
            log_dir=order.log_dir,
            log_words=order.log_words,
            on_event=metrics.observe,
        )
        for percent in (50, 95, 99):
            metrics.gauge(
                f"parley_event_loop_lag_p{percent}_seconds",
                f"Percentile {percent} of how late the event loop woke up in the last half minute.",
                partial(lambda percent: calls.lag.percentile_ms(percent) / 1000, percent),
            )
        offered = catalogue(order.personas, engines, choice)
        app = create_app(calls, offered, order.settings, verify=verify, metrics=metrics)
        door = PhoneDoor(calls, engines, choice, order.persona_for)
        await order.phones.open(door, app, order.settings)

    def greet() -> None:
        took_s = time.monotonic() - began_s
        welcome(
            console, order.settings, offered,
            brain=choice.why, max_calls=order.max_calls, took_s=took_s,
        )  # fmt: skip

    server = DrainingServer(
        app, order.settings, drain=lambda: calls.drain(order.drain_s), on_ready=greet
    )
    try:
        await server.run_until_stopped()
    finally:
        await door.close()
        await calls.close()
        await choice.close()
        await engines.close()


def _load(name: str) -> Verifier:
    """Import `MODULE:FUNCTION`."""
    module, _, function = name.partition(":")
    try:
        found: Verifier = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--verify {name}: {error}.", "Name an importable module and an async function in it."
        ) from error
    return found


def _set_up_log(as_json: bool, with_words: bool) -> None:
    """Our own lines from INFO; pipecat's only from WARNING, as its others quote what people say."""
    from loguru import logger

    logger.remove()
    levels: dict[str | None, str | int | bool] = {"": "INFO", "pipecat": "WARNING"}
    if with_words:
        levels["pipecat"] = "DEBUG"
    logger.add(sys.stderr, level="DEBUG", filter=levels, serialize=as_json)
