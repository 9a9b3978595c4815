"""`parley doctor`: checks this machine end to end and says how to mend what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from common.errors import ParleyError

if TYPE_CHECKING:
    from pipelines.engines import Engines

_SENTENCE = "What time do you open tomorrow morning?"
_FREE_BYTES = 1_000_000_000
_CHECK_S = 60.0
_MODELS_S = 600.0
"""Of large checkpoints on a slow disk."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: What was checked.
        state: `bad` stops calls from working; `poor` makes them worse.
        says: What was found.
        cure: How to mend it.
    """

    name: str
    state: Literal["good", "poor", "bad"]
    says: str
    cure: str = ""


def doctor(
    port: Annotated[
        int, typer.Option(help="The port that the server is to listen on.", min=1, max=65535)
    ] = 7860,
    asr: Annotated[str, typer.Option(help="Ears to check; as for `serve`.")] = "",
    tts: Annotated[str, typer.Option(help="Voice to check; as for `serve`.")] = "",
    llm: Annotated[str, typer.Option(help="Brain to check; as for `serve`.")] = "auto",
    ice: Annotated[
        list[str] | None, typer.Option(help="STUN or TURN server to check, repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check this machine and say how to mend what is wrong.

    Opens the models, lets the voice say a sentence, the ears write it down and the brain answer.
    Exit code 0: calls will work; 1: something stops them.

    Examples:
        parley doctor

        parley doctor --llm http://localhost:11434 --ice stun:stun.example.org
    """
    from loguru import logger

    logger.disable("")  # what the models say of themselves is not a finding
    try:
        findings = asyncio.run(_examine(port, asr, tts, llm, ice, quiet=as_json))
    finally:
        logger.enable("")
    if as_json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2))
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


async def _examine(
    port: int, asr: str, tts: str, llm: str, ice: list[str] | None, *, quiet: bool
) -> list[Finding]:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, quiet=quiet)
    marks = {"good": "[green]✓[/]", "poor": "[yellow]![/]", "bad": "[red]✗[/]"}
    findings = []
    with console.status("Looking …") as status:
        async for finding in _findings(port, asr, tts, llm, ice, status.update):
            findings.append(finding)
            console.print(
                f" {marks[finding.state]} {finding.name:<9} {escape(finding.says)}", soft_wrap=True
            )
            if finding.cure:
                console.print(f"             [dim]{escape(finding.cure)}[/]", soft_wrap=True)
    return findings


async def _findings(
    port: int,
    asr: str,
    tts: str,
    llm: str,
    ice: list[str] | None,
    doing: Callable[[str], None],
) -> AsyncIterator[Finding]:
    yield check_port("127.0.0.1", port)
    yield await _in_time("network", check_candidates(ice))
    yield check_disk(Path.cwd())
    yield check_personas()
    doing("Opening the models …")
    yield await _in_time("models", check_engines(asr, tts), _MODELS_S)
    doing("Asking the brain …")
    yield await _in_time("brain", check_llm(llm))


async def _in_time(name: str, check: Awaitable[Finding], limit_s: float = _CHECK_S) -> Finding:
    try:
        return await asyncio.wait_for(check, limit_s)
    except TimeoutError:
        return Finding(name, "bad", f"No result within {limit_s:.0f} s.", "See its own log.")
    except ParleyError as error:
        return Finding(name, "bad", error.cause, error.cure)


def check_port(host: str, port: int) -> Finding:
    """Whether a server could listen there, or already does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Finding(
                "port", "bad", f"Port {port} cannot be listened on: {error.strerror}.",
                "Stop what holds it (perhaps a Parley that already runs), or use --port.",
            )  # fmt: skip
    return Finding("port", "good", f"Port {port} is free.")


def network_addresses() -> list[str]:
    """This machine's addresses that WebRTC can use: all but loopback and link-local."""
    from aioice.ice import get_host_addresses

    return get_host_addresses(use_ipv4=True, use_ipv6=True)


async def check_candidates(ice: list[str] | None) -> Finding:
    """Gather ICE candidates as a call would."""
    from aiortc import RTCConfiguration, RTCPeerConnection

    from pipelines.media.ice import ice_servers

    servers = ice_servers(ice)
    pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    try:
        pc.createDataChannel("probe")
        await pc.setLocalDescription(await pc.createOffer())
        lines = [line for line in pc.localDescription.sdp.splitlines() if "candidate:" in line]
    finally:
        await pc.close()
    kinds = {
        kind: sum(f"typ {kind}" in line for line in lines) for kind in ("host", "srflx", "relay")
    }
    if not lines:
        return Finding(
            "network", "bad", "There is no network address that WebRTC could use.",
            "127.0.0.1 alone is not enough: connect any network, even one without internet.",
        )  # fmt: skip
    told = f"{kinds['host']} of this machine's own addresses"
    if servers and not (kinds["srflx"] or kinds["relay"]):
        return Finding(
            "network", "poor", f"Callers get {told}; no STUN or TURN server answered.",
            "Check their addresses and that UDP can leave this machine.",
        )  # fmt: skip
    if servers:
        told += f", {kinds['srflx']} seen by STUN, {kinds['relay']} relayed"
    return Finding("network", "good", f"Callers get {told}.")


def check_disk(folder: Path) -> Finding:
    """Room for logs, voices and checkpoints."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb * 1e9 < _FREE_BYTES:
        return Finding(
            "disk", "poor", f"{free_gb:.1f} GB free.", "Free some: logs and voices need it."
        )
    return Finding("disk", "good", f"{free_gb:.0f} GB free; {os.cpu_count()} processors.")


def check_personas() -> Finding:
    """Every shipped persona can be read."""
    from agent.persona import list_personas

    try:
        names = [persona.name for persona in list_personas()]
    except ParleyError as error:
        return Finding("personas", "bad", error.cause, error.cure)
    return Finding("personas", "good", ", ".join(names))


async def check_engines(asr: str, tts: str) -> Finding:
    """Open both, let the voice speak and the ears listen to it, and time them."""
    from pipelines.engines import DEFAULT_ASR, DEFAULT_TTS, open_engines

    began_s = time.monotonic()
    engines = await open_engines(asr or DEFAULT_ASR, tts or DEFAULT_TTS)
    opened_s = time.monotonic() - began_s
    try:
        return await _speak_and_listen(engines, opened_s)
    finally:
        await engines.close()


async def _speak_and_listen(engines: Engines, opened_s: float) -> Finding:
    import numpy as np

    from asr.interface import SAMPLE_RATE_HZ as EARS_HZ
    from common.resample import resample
    from tts.interface import SAMPLE_RATE_HZ as VOICE_HZ

    began_s = time.monotonic()
    speech = await engines.tts.open()
    speech.write(_SENTENCE)
    speech.end_text()
    pieces, first_s = [], 0.0
    async for frame in speech.frames():
        first_s = first_s or time.monotonic() - began_s
        pieces.append(frame.pcm)
    spoke_s = time.monotonic() - began_s
    pcm = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    length_s = len(pcm) / VOICE_HZ

    began_s = time.monotonic()
    ears = await engines.asr.open()
    try:
        silence = np.zeros(EARS_HZ, np.float32)
        ears.feed(np.concatenate([silence, resample(pcm, VOICE_HZ, EARS_HZ), silence]))
        heard = (await ears.flush()).text
    finally:
        await ears.close()
    listened_s = time.monotonic() - began_s

    voice, hearing = engines.tts.info, engines.asr.info
    counts = (
        (hearing.extra.get("max_streams"), "callers"),
        (voice.extra.get("max_speakers"), "voices"),
    )
    room = " and ".join(f"{count} {what}" for count, what in counts if count)
    says = (
        f"{voice.name} → {hearing.name}: opened in {opened_s:.1f} s, "
        f"first sound after {first_s * 1000:.0f} ms, spoke {length_s:.1f} s in {spoke_s:.1f} s, "
        f"heard {heard!r} in {listened_s:.1f} s."
    )
    if room:
        says += f" Room for {room} at once."
    if not heard or not length_s:
        return Finding("models", "bad", says, "Try others: --tts espeak, --asr sphinx.")
    asked = set(_SENTENCE.lower().strip("?").split())
    if 2 * len(asked & set(heard.lower().strip("?").split())) < len(asked):
        cure = "The ears missed most of it: people will have to speak clearly, or choose others."
        return Finding("models", "poor", says, cure)
    if spoke_s > 0.8 * length_s or listened_s > 0.8 * (length_s + 2):
        cure = "This machine is too slow or too busy for them: expect pauses within sentences."
        return Finding("models", "poor", says, cure)
    return Finding("models", "good", says)


async def check_llm(spec: str) -> Finding:
    """Choose the brain as `serve` would, and let it answer once."""
    from agent.llm import TextDelta, ToolCall
    from agent.llm_choice import choose_llm
    from agent.persona import load_persona
    from agent.tools import find_tool

    choice = await choose_llm(spec)
    try:
        model = choice.open(load_persona("parley"))
        clock = find_tool("current_time")
        parameters = clock.arguments.model_json_schema()
        offered = {"name": clock.name, "description": clock.description, "parameters": parameters}
        tools = [{"type": "function", "function": offered}]  # calls offer some too
        began_s = time.monotonic()
        first_s, answer = 0.0, ""
        async for piece in model.reply([{"role": "user", "content": "Hello!"}], tools):
            if isinstance(piece, TextDelta | ToolCall):
                first_s = first_s or time.monotonic() - began_s
                answer += piece.text if isinstance(piece, TextDelta) else f"({piece.name})"
    finally:
        await choice.close()
    says = f"{choice.why}; first word after {first_s * 1000:.0f} ms: {answer.strip()[:60]!r}"
    if not answer.strip():
        return Finding("brain", "bad", says, "Try --llm script, which needs nothing.")
    if not choice.servers:
        return Finding(
            "brain", "good", says,
            "For free conversation set MISTRAL_API_KEY, or start Ollama, llama.cpp or vLLM here.",
        )  # fmt: skip
    if not all(server.takes_tools for server in choice.servers):
        return Finding(
            "brain", "poor", says,
            "It takes no tools, so it can neither hang up nor look anything up: choose another model, or "
            "start vLLM with --enable-auto-tool-choice and --tool-call-parser, llama.cpp with --jinja.",
        )  # fmt: skip
    return Finding("brain", "good", says)
