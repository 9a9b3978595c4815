"""`parley serve` from the outside: what it opens, and what it refuses to open."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from evals.caller import Caller
from evals.run import offer_over_http
from evals.server import serving
from tests.agent.conftest import ChatServer, chat_server  # noqa: F401 - a fixture
from tests.pipelines.test_recorder import sides
from tests.web.conftest import free_port

pytestmark = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
OFFICE = """
llm: script
tts: espeak
pages:
  /: {persona: parley}
  /table: {persona: restaurant, voice: ann}
"""


def refused(*options: str) -> str:
    """What `parley serve` says before it gives up, without the line breaks."""
    parley = Path(sys.executable).with_name("parley")
    ran = subprocess.run([parley, "serve", *options], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    return " ".join(ran.stderr.split())


def test_a_deployment_serves_its_pages(tmp_path: Path) -> None:
    office = tmp_path / "office.yaml"
    office.write_text(OFFICE)
    with serving("--deployment", str(office)) as (url, _):
        assert "<title>Parley" in httpx.get(f"{url}/table").text
        told = httpx.get(f"{url}/api/page", params={"path": "/table"}).json()
        assert [one["name"] for one in told["personas"]] == ["restaurant"]
        front = httpx.get(f"{url}/api/page").json()
        assert front["personas"][0]["name"] == "parley"
        assert len(front["personas"]) > 1
        assert httpx.get(f"{url}/elsewhere").status_code == 404


def test_a_recorded_call_says_so_and_lies_beside_its_log(tmp_path: Path) -> None:
    async def ring_up(url: str) -> None:
        async with Caller(partial(offer_over_http, url)) as caller:
            caller.mouth.say(np.full(96_000, 0.25, np.float32))  # no voice: nobody is interrupted
            assert await caller.wait_audible(True, for_s=0.1, timeout_s=20)
            assert await caller.wait_audible(False, for_s=1.0, timeout_s=30)

    folders = ("--record-dir", str(tmp_path), "--log-dir", str(tmp_path), "--log-words")
    with serving("--tts", "espeak", "--llm", "script", *folders) as (url, _):
        assert "Calls are recorded." in httpx.get(f"{url}/api/page").json()["privacy"]
        asyncio.run(ring_up(url))
    recording, log = sorted(tmp_path.iterdir())
    assert (recording.stem, recording.suffix) == (log.stem, ".flac")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    first = next(entry["text"] for entry in entries if entry["kind"] == "agent_text")
    assert first == "This call is recorded."
    both = sides(recording)
    assert np.abs(both).max(axis=0).min() > 0.1
    assert len(both) / 24_000 == pytest.approx(entries[-1]["at"] / 16_000, abs=0.5)
    assert {path.stat().st_mode & 0o777 for path in (recording, log)} == {0o600}


async def test_the_brain_reads_the_persona_before_anybody_calls(
    chat_server: ChatServer,  # noqa: F811
) -> None:
    chat_server.say("Hello.")
    options = ("--llm", chat_server.url, "--tts", "espeak", "--persona", "restaurant")

    def serve_until_asked() -> None:
        with serving(*options):
            deadline = time.monotonic() + 10
            while not chat_server.requests and time.monotonic() < deadline:
                time.sleep(0.02)

    await asyncio.to_thread(serve_until_asked)  # the chat server lives on this loop
    assert "Harbour Kitchen" in chat_server.requests[0]["messages"][0]["content"]


UNLOADABLE = ("--llm", "http://127.0.0.1:1")


def test_a_taken_port_is_told_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        told = refused("--port", str(holder.getsockname()[1]), *UNLOADABLE)
    assert "cannot be listened on: address already in use." in told
    assert "choose another --port" in told


@pytest.mark.parametrize(
    ("host", "cure"),
    [("127.0.0.1", "Choose another port for --sip"), ("192.0.2.1", "an IPv4 address of this")],
)
def test_a_sip_port_that_cannot_be_had_is_too(host: str, cure: str) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        sip = f"{host}:{holder.getsockname()[1]}"
        told = refused("--port", str(free_port()), "--sip", sip, "--open", *UNLOADABLE)
    assert f"SIP cannot listen on {sip}" in told
    assert cure in told


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (("--host", "192.0.2.1"), "it must be an address of this machine"),
        (("--voice", "nobody", "--tts", "espeak"), "There is no voice 'nobody'. Choose one of"),
        (("--log-dir", "/proc/none"), "/proc/none cannot be made"),
        (("--record-dir", "/proc/none"), "/proc/none cannot be made"),
        (("--sip", "127.0.0.1:99999"), "is no HOST:PORT"),
        (("--sip", "0.0.0.0:5060"), "Strangers can reach --sip 0.0.0.0:5060"),
        (("--llm", "http://127.0.0.1:1"), "There is no chat-completions server at"),
        (("--asr", "ws://127.0.0.1:1"), "ws://127.0.0.1:1/v1/realtime cannot be reached"),
        (("--deployment", "nowhere.yaml"), "nowhere.yaml cannot be read"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(options: tuple[str, ...], cause: str) -> None:
    assert cause in refused("--port", str(free_port()), *options)
