"""`parley serve`: the page, the calls, and everything behind them."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from agent.llm_choice import LlmChoice
    from agent.persona import Persona
    from web.catalogue import Catalogue
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
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Let strangers call on a public address.")
    ] = False,
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
    import os

    from agent.deployment import Deployment, load_deployment
    from agent.persona import load_persona
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
    plan = load_deployment(deployment) if deployment else Deployment()
    if persona:
        personas = tuple(load_persona(name) for name in persona)
    else:
        front = plan.persona(plan.for_page("/"))
        personas = (front, *(other for other in plan.choice if other.name != front.name))
    if voice:
        personas = tuple(p if p.voice else p.model_copy(update={"voice": voice}) for p in personas)
    asyncio.run(
        _serve(
            _locked(settings), personas, (asr or plan.asr, tts or plan.tts, llm or plan.llm),
            max_calls, drain_s, log_dir, log_words,
        )
    )  # fmt: skip


async def _serve(
    settings: WebSettings,
    personas: tuple[Persona, ...],
    specs: tuple[str, str, str],
    max_calls: int,
    drain_s: float,
    log_dir: Path | None,
    log_words: bool,
) -> None:
    began_s = time.monotonic()
    console = Console(stderr=True, highlight=False)
    with console.status("Waking up …"):
        from agent.llm_choice import choose_llm
        from pipelines.browser import BrowserCalls
        from pipelines.engines import DEFAULT_ASR, DEFAULT_TTS, open_engines
        from web.catalogue import catalogue
        from web.metrics import Metrics
        from web.run import DrainingServer
        from web.server import create_app

        asr, tts, llm = specs
        engines, choice = await asyncio.gather(
            open_engines(asr or DEFAULT_ASR, tts or DEFAULT_TTS), choose_llm(llm)
        )
        metrics = Metrics()
        calls = BrowserCalls(
            engines,
            choice,
            ice_servers=settings.ice_servers,
            most_calls=max_calls,
            log_dir=log_dir,
            log_words=log_words,
            on_event=metrics.observe,
        )
        for percent in (50, 95, 99):
            metrics.gauge(
                f"parley_event_loop_lag_p{percent}_seconds",
                f"Percentile {percent} of how late the event loop woke up in the last half minute.",
                lambda p=percent: calls.lag.percentile_ms(p) / 1000,  # type: ignore[misc]
            )
        offered = catalogue(personas, engines, choice)
        app = create_app(calls, offered, settings, metrics=metrics)
        server = DrainingServer(
            app,
            settings,
            drain=lambda: calls.drain(drain_s),
            on_ready=lambda: _greet(
                console, settings, offered, choice, max_calls, time.monotonic() - began_s
            ),
        )
    try:
        await server.run_until_stopped()
    finally:
        await calls.close()
        await choice.close()
        await engines.close()


def _locked(settings: WebSettings) -> WebSettings:
    """Never open on a public address unless told so: without a key, one is made up for this run."""
    from dataclasses import replace

    if settings.is_public and not settings.secret and not settings.open_to_all:
        return replace(settings, secret=secrets.token_urlsafe(12))
    return settings


def _greet(
    console: Console,
    settings: WebSettings,
    offered: Catalogue,
    choice: LlmChoice,
    max_calls: int,
    took_s: float,
) -> None:
    from cli.doctor import network_addresses

    address = settings.address
    if settings.secret:
        address += f"/#key={quote(settings.secret)}"
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column()
    for label, text in (
        ("ears", offered.asr),
        ("voice", f"{offered.tts}, {len(offered.voices)} to choose from"),
        ("brain", choice.why),
        ("who", ", ".join(p.title or p.name for p in offered.personas.values())),
        ("calls", f"{max_calls} at a time"),
        ("privacy", offered.privacy),
        ("stop", "Ctrl-C; calls under way may finish, a second Ctrl-C ends them"),
    ):
        table.add_row(label, escape(text))
    console.print(f"\n  [bold]Parley[/bold] is ready after {took_s:.1f} s. Talk to it at\n")
    console.print(f"  [bold blue underline]{escape(address)}[/]\n", soft_wrap=True)
    console.print(table)
    if settings.is_public and not settings.secret:
        console.print(
            "\n[bold white on red] Anyone who can reach this address can call, at your expense. [/]"
        )
    if not network_addresses():
        console.print(
            "\n[yellow]This machine has no network address but 127.0.0.1, and WebRTC needs one:[/] "
            "calls will not connect. `parley doctor` says more."
        )
    console.print()


def _set_up_log(as_json: bool, with_words: bool) -> None:
    """Our own lines from INFO; pipecat's only from WARNING, as its others quote what people say."""
    from loguru import logger

    logger.remove()
    levels: dict[str | None, str | int | bool] = {"": "INFO", "pipecat": "WARNING"}
    if with_words:
        levels["pipecat"] = "DEBUG"
    logger.add(sys.stderr, level="DEBUG", filter=levels, serialize=as_json)
