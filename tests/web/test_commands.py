"""`parley doctor` and what `parley serve` prints."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from agent.deployment import Deployment
from cli.doctor import check_candidates, check_disk, check_personas, doctor, network_addresses
from cli.phones import PhonePlan
from cli.serve import serve
from cli.welcome import welcome
from common.errors import ConfigError, ParleyError
from pipelines.engines import DEFAULT_ASR, DEFAULT_TTS
from tests.web.catalogue import CATALOGUE
from tests.web.conftest import free_port
from web.settings import WebSettings

NO_PHONES = PhonePlan.read("", (), "")


def invoke(command: object, *arguments: str) -> tuple[int, str, BaseException | None]:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.exception


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed: no voice")
def test_the_doctor_speaks_listens_and_asks() -> None:
    port = str(free_port())
    code, told, _ = invoke(doctor, "--tts", "espeak", "--llm", "script", "--json", "--port", port)
    findings = {finding["name"]: finding for finding in json.loads(told)["findings"]}
    assert list(findings) == ["port", "network", "disk", "personas", "models", "brain"]
    assert findings["port"]["state"] == "good"
    # espeak-ng never says a sentence twice alike, and what is made of it is the ears' own business
    assert re.search(r"spoke [1-9]\.\d s .* heard ['\"]\w+", findings["models"]["says"])
    assert findings["brain"]["state"] == "good"
    assert code == int(not network_addresses())


def test_a_port_that_cannot_be_is_a_mistake_of_the_command_line() -> None:
    code, _, _ = invoke(doctor, "--port", "99999")
    assert code == 2


def test_what_stops_calls_is_exit_code_1_and_has_a_cure() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        arguments = ("--port", port, "--asr", "/nowhere", "--llm", "http://127.0.0.1:1", "--json")
        code, told, _ = invoke(doctor, *arguments)
    findings = {finding["name"]: finding for finding in json.loads(told)["findings"]}
    assert code == 1
    for name in ("port", "models", "brain"):
        assert findings[name]["state"] == "bad"
        assert findings[name]["cure"]


async def test_candidates_are_those_a_call_would_get() -> None:
    finding = await check_candidates(None)
    assert finding.state == ("good" if network_addresses() else "bad")
    silent = await check_candidates(["stun:127.0.0.1:9"])
    assert silent.state == ("poor" if network_addresses() else "bad")
    with pytest.raises(ConfigError):
        await check_candidates(["turn:relay.example"])


def test_disk_and_personas(tmp_path: Path) -> None:
    assert "GB free" in check_disk(tmp_path).says
    assert "parley" in check_personas().says


def printed(settings: WebSettings, phones: PhonePlan = NO_PHONES) -> str:
    out = io.StringIO()
    console = Console(file=out, width=200)
    welcome(console, settings, CATALOGUE, phones, brain="script", max_calls=3, took_s=1.0)
    return out.getvalue()


def test_the_welcome_says_where_to_go_and_what_to_beware_of() -> None:
    told = printed(WebSettings())
    assert "http://localhost:7860" in told
    assert "key" not in told
    assert "Anyone" not in told
    locked = printed(WebSettings(host="0.0.0.0", secret="a b"))
    assert "http://localhost:7860/#key=a%20b" in locked
    assert "Anyone" not in locked
    assert "at your expense" in printed(WebSettings(host="0.0.0.0", open_to_all=True))


def test_the_welcome_says_where_telephones_come_in() -> None:
    assert "phones" not in printed(WebSettings())
    known = PhonePlan.read("0.0.0.0:5060", ["10.0.0.0/8"], "to+ken")
    told = printed(WebSettings(public_url="https://talk.example", secret="x"), known)
    assert "sip:0.0.0.0:5060 from 10.0.0.0/8" in told
    assert "https://talk.example/phone/twilio/to%2Bken (or telnyx, plivo)" in told
    assert "Anyone" not in told
    anyone = PhonePlan.read("0.0.0.0:5060", [], "", open_to_all=True)
    assert "at your expense" in printed(WebSettings(), anyone)


def test_the_defaults_of_the_engines_are_told() -> None:
    _, told, _ = invoke(serve, "--help")
    for default in (DEFAULT_ASR, DEFAULT_TTS, Deployment().llm):
        assert f"[default: ({default})]" in told


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("--persona", "nobody"), "no persona"),
        (("--ice", "relay.example"), "not an ICE server"),
        (("--verify", "nowhere:check", "--tts", "espeak"), "--verify nowhere:check"),
        (("--asr", "/nowhere"), "/nowhere"),
        (("--public-url", "talk.example.org"), "--public-url talk.example.org is no address"),
        (("--public-url", "ftp://x"), "--public-url ftp://x is no address"),
        (("--public-url", "http://["), "--public-url http://[ is no address"),
        (
            ("--public-url", "https://x.example/talk"),
            "is no address that browsers can open the page",
        ),
        (("--allow-origin", "foo"), "--allow-origin foo is no origin"),
        (("--sip-allow", "10.0.0.0/8"), "SIP is not answered"),
        (("--log-dir", "/nowhere/logs"), "There is no folder /nowhere"),
    ],
)
def test_mistakes_on_the_command_line_are_named(arguments: tuple[str, ...], cause: str) -> None:
    _, _, error = invoke(serve, "--port", str(free_port()), *arguments)
    assert isinstance(error, ParleyError)
    assert cause in error.cause
    assert error.cure
