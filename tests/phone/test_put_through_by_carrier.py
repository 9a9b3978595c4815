"""Callers whom a carrier puts through: `parley serve` on one side, what a carrier sends on the other."""

import asyncio
import base64
import json
import os
import shutil
import xml.etree.ElementTree as ET
from contextlib import asynccontextmanager
from unittest.mock import Mock

import httpx
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from evals.server import serving
from tests.phone.office import PRACTICE
from tests.phone.test_carriers import STARTS
from web.phone import phone_routes
from web.settings import WebSettings

SILENCE = base64.b64encode(b"\xff" * 160).decode()
PACE_S = 0.02


@pytest.fixture
def practice(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "PARLEY_PHONE_TOKEN", "tok")
    path = tmp_path / "practice.yaml"
    path.write_text(PRACTICE, encoding="utf-8")
    with serving("--tts", "espeak", "--llm", "script", "--persona", str(path)) as (url, _):
        yield url


class Stream:
    """A carrier's end of one stream: the caller is silent but for keys."""

    def __init__(self, socket, carrier):
        self._socket = socket
        self._start = STARTS[carrier]
        self.closed = asyncio.Event()
        self.sounded = asyncio.Event()

    async def press(self, key):
        await self._socket.send(json.dumps({"event": "dtmf", "dtmf": {"digit": key}}))

    async def send(self):
        await self._socket.send(json.dumps(self._start))
        while not self.closed.is_set():
            await self._socket.send(json.dumps({"event": "media", "media": {"payload": SILENCE}}))
            await asyncio.sleep(PACE_S)

    async def hear(self):
        async for text in self._socket:
            payload = json.loads(text).get("media", {}).get("payload", SILENCE)
            if any(abs(code - 0xFF) > 0x20 for code in base64.b64decode(payload) if code > 0x7F):
                self.sounded.set()
        self.closed.set()


@asynccontextmanager
async def streaming(document, carrier):
    verb = document.find(".//Stream")
    async with connect(verb.get("url") or verb.text) as socket:
        stream = Stream(socket, carrier)
        tasks = [asyncio.create_task(stream.send()), asyncio.create_task(stream.hear())]
        yield stream
    for task in tasks:
        task.cancel()
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        assert failure is None or isinstance(failure, ConnectionClosed | asyncio.CancelledError)


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs espeak-ng (apt install espeak-ng)")
@pytest.mark.parametrize(
    ("carrier", "noun", "status"),
    [
        ("twilio", "Sip", "DialCallStatus"),
        ("telnyx", "Sip", "DialCallStatus"),
        ("plivo", "User", "DialStatus"),
    ],
)
async def test_a_carrier_dials_and_brings_back_who_reached_nobody(practice, carrier, noun, status):
    async with httpx.AsyncClient() as client, asyncio.timeout(120):

        async def ask(url, **told):
            reply = await client.post(url, data=told)
            assert reply.status_code == 200
            return ET.fromstring(reply.text)

        async def metrics():
            return (await client.get(f"{practice}/metrics")).text

        document = await ask(f"{practice}/phone/{carrier}/tok", To="+1555")
        async with streaming(document, carrier) as stream:
            await stream.sounded.wait()
            await stream.press("1")
            await stream.closed.wait()
        dial = (await ask(document.findtext("Redirect"), To="+1555")).find("Dial")
        assert dial.findtext(noun) == "sip:doctor@127.0.0.2"

        back = await ask(dial.get("action"), **{status: "busy"})
        async with streaming(back, carrier) as stream:
            await stream.sounded.wait()  # that nobody could be reached
            assert "parley_calls_active 1.0" in await metrics()
            await stream.press("2")
            await stream.closed.wait()
        dial = (await ask(back.findtext("Redirect"))).find("Dial")
        assert dial.findtext("Number") == "+33123456789"
        over = await ask(dial.get("action"), **{status: "completed"})
        assert [verb.tag for verb in over] == ["Hangup"]
        while "parley_calls_active 0.0" not in await metrics():  # noqa: ASYNC110
            await asyncio.sleep(PACE_S)
        told = await metrics()
    assert 'parley_transfers_total{outcome="done"} 1.0' in told
    assert 'parley_transfers_total{outcome="failed"} 1.0' in told


async def test_only_who_knows_the_token_is_told_whom_to_dial():
    app = FastAPI()
    carriers = Mock(**{"to_dial.return_value": "sip:a&b@pbx.example"})
    app.include_router(phone_routes(Mock(carriers=carriers), "tok", WebSettings()))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://parley") as client:
        for step in ("next", "dialled"):
            assert (await client.post(f"/phone/plivo/wrong/{step}/key")).status_code >= 400
        carriers.to_dial.assert_not_called()
        carriers.dialled.assert_not_called()
        dial = ET.fromstring((await client.post("/phone/plivo/tok/next/key")).text).find("Dial")
        assert dial.findtext("User") == "sip:a&b@pbx.example"
        assert dial.get("action") == "http://parley/phone/plivo/tok/dialled/key"
