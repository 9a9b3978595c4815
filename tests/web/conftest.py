from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from aiortc import RTCPeerConnection
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.web.catalogue import CATALOGUE
from tests.web.stand_in import EXCHANGES, StandInCalls, flite, write_wav
from web.server import create_app
from web.settings import WebSettings

expect.set_options(timeout=25_000)  # a busy machine is not a broken page
StandIn = tuple[str, StandInCalls]
PERSONA = """
name: harbour
title: Harbour office
greeting: ["Hello, this is the harbour office."]
script:
  small_talk: false
  fallback:
    - "We open at nine in the morning, and the pilot station answers all night. The fuel berth
       follows an hour later, weather permitting, and stays open until the evening tide. In winter
       we keep shorter hours, and on holidays nobody is here but the lighthouse keeper and his cat."
"""
CHROMIUM = shutil.which("chromium")
# Connections that say they have failed when `LOSE` is evaluated, which answers the page's phase then.
LOSABLE = """
const Native = RTCPeerConnection; window.pcs = [];
window.RTCPeerConnection = class extends Native {
  constructor(...a) { super(...a); pcs.push(this); }
  get connectionState() { return this.lost ? 'failed' : super.connectionState; }
};
"""
LOSE = """
pcs.at(-1).lost = true; pcs.at(-1).onconnectionstatechange();
document.body.dataset.phase
"""
MOST_LOAD = 4  # programs that want each processor


@contextmanager
def serving(app: Any, port: int) -> Iterator[str]:
    """The app on a real socket, in its own thread."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://localhost:{port}/"
    finally:
        server.should_exit = True
        thread.join(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def flite_installed() -> None:
    if not shutil.which("flite"):
        pytest.skip("flite is not installed: the stand-in has no voice")


@pytest.fixture
async def offer() -> AsyncIterator[dict[str, str]]:
    """What a client's createOffer() gives."""
    pc = RTCPeerConnection()
    pc.addTransceiver("audio")
    await pc.setLocalDescription(await pc.createOffer())
    yield {"sdp": pc.localDescription.sdp, "type": "offer"}
    await pc.close()


@pytest.fixture
def stand_in(flite_installed: None) -> Iterator[StandIn]:
    """A page served by an agent that follows a script."""
    calls, port = StandInCalls(), free_port()
    with serving(create_app(calls, CATALOGUE, WebSettings(port=port)), port) as url:
        yield url, calls


@pytest.fixture
def parley(tmp_path: Path, flite_installed: None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`parley serve` with the offline script and a voice that needs no model."""
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed: the agent has no voice")
    persona, port = tmp_path / "harbour.yaml", str(free_port())
    persona.write_text(PERSONA)
    command = [str(Path(sys.executable).with_name("parley")), "serve", "--port", port]
    command += ["--llm", "script", "--tts", "espeak", "--persona", str(persona)]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"http://localhost:{port}/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield f"http://localhost:{port}/", process
        process.kill()


@pytest.fixture(scope="session")
def caller_wav(flite_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A caller who waits for the greeting, asks, interrupts the answer, and asks again."""
    import numpy as np

    def wait(seconds: float) -> np.ndarray:
        return np.zeros(int(48_000 * seconds), np.float32)

    first, second = (flite(EXCHANGES[turn][0], "rms") for turn in (0, 1))
    path = tmp_path_factory.mktemp("caller") / "caller.wav"
    write_wav(path, np.concatenate([wait(6), first, wait(4), second, wait(60)]))
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Callable[..., Browser]]:
    """Starts Chromium; `wav` becomes its microphone, `allow` answers the permission question."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    if load > MOST_LOAD:
        pytest.skip(f"{load:.0f} programs wait for each processor: sound cannot be in real time")
    with sync_playwright() as playwright:

        @cache
        def start(wav: Path | None = None, *, allow: bool = True) -> Browser:
            args = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
            args.append("--use-fake-device-for-media-stream")
            if allow:
                args.append("--use-fake-ui-for-media-stream")
            if wav:
                args.append(f"--use-file-for-fake-audio-capture={wav}%noloop")
            return playwright.chromium.launch(executable_path=CHROMIUM, args=args)

        yield start


@pytest.fixture
def new_page(chromium: Callable[..., Browser]) -> Iterator[Callable[..., Page]]:
    """Opens pages in contexts of their own, closed with the test."""
    contexts: list[BrowserContext] = []

    def open_page(wav: Path | None = None, *, allow: bool = True, **context: Any) -> Page:
        contexts.append(chromium(wav, allow=allow).new_context(**context))
        return contexts[-1].new_page()

    yield open_page
    for context in contexts:
        context.close()


@contextmanager
def no_page_errors(page: Page) -> Iterator[None]:
    """Fail on any uncaught exception in the page."""
    broken: list[Error] = []
    page.on("pageerror", lambda error: broken.append(error))
    yield
    assert not broken


def live(page: Page, url: str) -> None:
    """Open the page and place a call; whatever stops it is told."""
    page.goto(url)
    page.wait_for_selector("#voice option", state="attached")
    page.get_by_role("button", name="Talk").click()
    page.wait_for_selector("[data-phase=live], #trouble h2", timeout=20_000)
    trouble = page.locator("#trouble").inner_text()
    assert page.locator("body").get_attribute("data-phase") == "live", trouble
