"""`parley serve`: the page, the calls, and everything behind them."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

_ICE_HELP = "STUN or TURN server, repeatable: stun:HOST:PORT, turn:USER:SECRET@HOST:PORT."


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port to listen on.", min=1, max=65535)] = 7860,
    persona: Annotated[
        list[str] | None, typer.Option(help="Who may answer, repeatable: a name or a YAML file.")
    ] = None,
    deployment: Annotated[
        Path | None, typer.Option(help="YAML file that says which persona answers where.")
    ] = None,
    asr: Annotated[
        str,
        typer.Option(help="Ears: nano, sphinx, mistral, a folder, a URL.", show_default="sphinx"),
    ] = "",
    tts: Annotated[
        str,
        typer.Option(help="Voice: nano, espeak, mistral, a folder, a URL.", show_default="nano"),
    ] = "",
    llm: Annotated[
        str,
        typer.Option(help="Brain: auto, script, mistral[:MODEL], a URL.", show_default="auto"),
    ] = "",
    voice: Annotated[str, typer.Option(help="Voice of personas that name none.")] = "",
    max_calls: Annotated[int, typer.Option(help="Most calls at a time.", min=1)] = 16,
    public_url: Annotated[
        str | None, typer.Option(help="Address visitors use when a proxy stands in front.")
    ] = None,
    ice: Annotated[list[str] | None, typer.Option(help=_ICE_HELP)] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Another site whose pages may call or frame ours, repeatable."),
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
    drain_s: Annotated[
        float, typer.Option(help="How long calls may finish on SIGTERM or Ctrl-C.", min=0)
    ] = 30.0,
    log_dir: Annotated[Path | None, typer.Option(help="Write every call's event log here.")] = None,
    log_words: Annotated[
        bool, typer.Option("--log-words", help="Also log what people say; off for their sake.")
    ] = False,
    record_dir: Annotated[
        Path | None, typer.Option(help="Record every call into this folder; callers are told so.")
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
) -> None:
    """Start the server and talk in a browser.

    Listens on this machine only. On any other address visitors need a key: the one in PARLEY_SECRET,
    or one made up for this run and printed. With PARLEY_PHONE_TOKEN set, telephone carriers may
    stream calls here; the address to give them is printed.

    Examples:
        parley serve

        parley serve --persona restaurant --llm http://localhost:11434

        PARLEY_SECRET=… parley serve --public-url https://talk.example.org
    """
    from agent.deployment import Deployment, load_deployment
    from agent.persona import load_persona
    from cli.log import set_up_log
    from cli.output import check_folder
    from cli.phones import PhonePlan
    from pipelines.engines import DEFAULT_ASR, DEFAULT_TTS
    from pipelines.media.ice import ice_servers
    from web.run import listen
    from web.settings import WebSettings, read_origin, read_public_url

    set_up_log(as_json=log_json, library_level="DEBUG" if log_words else "WARNING")
    settings = WebSettings(
        host=host,
        port=port,
        public_url=read_public_url(public_url) if public_url else None,
        secret=os.environ.get("PARLEY_SECRET") or None,
        open_to_all=open_to_all,
        allowed_origins=tuple(map(read_origin, allow_origin or ())),
        ice_servers=tuple(ice_servers(ice)),
    )
    if settings.is_public and not (settings.secret or verify or open_to_all):
        settings = replace(settings, secret=secrets.token_urlsafe(12))
    for folder in filter(None, (log_dir, record_dir)):
        check_folder(folder)
    token = os.environ.get("PARLEY_PHONE_TOKEN", "")
    phones = PhonePlan.read(sip, sip_allow or (), token, open_to_all=open_to_all)
    plan = load_deployment(deployment) if deployment else Deployment()
    named = tuple(load_persona(name) for name in persona or ())
    with listen(settings) as port_held, phones.listen() as sip_port_held:
        from cli.hosting import Order, host_calls  # slow to load: mistakes are told before

        order = Order(
            settings=settings,
            pages=plan.who_answers() | ({"/": named} if named else {}),
            asr=asr or plan.asr or DEFAULT_ASR,
            tts=tts or plan.tts or DEFAULT_TTS,
            llm=llm or plan.llm,
            voice=voice,
            verify=verify,
            max_calls=max_calls,
            drain_s=drain_s,
            log_dir=log_dir,
            log_words=log_words,
            record_dir=record_dir,
            phones=phones,
            persona_for=partial(plan.for_caller_of, default=named[0] if named else plan.front),
        )
        asyncio.run(host_calls(order, port_held, sip_port_held))
