"""Phones through `parley serve`: the options, the webhook carriers call, and a call over SIP."""

import asyncio
import os
import re
import shutil
import socket
import xml.etree.ElementTree as ET
from unittest.mock import Mock

import httpx
import pytest
from fastapi import FastAPI

from cli.phones import PhonePlan
from common.errors import ConfigError, EngineFull
from evals.server import serving
from tests.fakes.phone import Phone
from web.phone import phone_routes
from web.settings import WebSettings


def test_options_are_understood_or_refused_clearly():
    plan = PhonePlan.read("127.0.0.1:5060", ["10.0.0.0/8"], "")
    assert plan.sip == ("127.0.0.1", 5060)
    assert PhonePlan.read("", (), "").sip is None
    with pytest.raises(ConfigError, match="HOST:PORT"):
        PhonePlan.read("5060", (), "")
    with pytest.raises(ConfigError, match="IPv4"):
        PhonePlan.read("[::1]:5060", (), "")
    with pytest.raises(ConfigError, match="--sip-allow"):
        PhonePlan.read("", ["10.0.0.0/99"], "")
    with pytest.raises(ConfigError, match="Add --sip HOST:PORT"):
        PhonePlan.read("", ["10.0.0.0/8"], "")


@pytest.mark.parametrize("token", ["to/ken", "to?ken", "to#ken", "to%ken", "to ken", "tökén"])
def test_a_token_that_an_address_cannot_carry_is_refused_and_not_shown(token):
    assert PhonePlan.read("", (), "aZ09-._~+=").carrier_token
    with pytest.raises(ConfigError, match="PARLEY_PHONE_TOKEN") as refusal:
        PhonePlan.read("", (), token)
    assert token not in str(refusal.value)


async def test_a_carrier_that_hangs_up_first_leaves_quietly():
    async def hold(_carrier, socket, _called, _key):
        assert await socket.receive() is None

    async def receive():
        return next(told)

    async def send(message):
        if message["type"] == "websocket.close":
            raise OSError("gone")  # as uvicorn does

    app = FastAPI()
    app.include_router(phone_routes(Mock(carriers=Mock(take=hold)), "tok", WebSettings()))
    told = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}])
    path = "/phone/twilio/tok/stream/key"
    await app(
        {"type": "websocket", "path": path, "headers": [], "query_string": b""}, receive, send
    )
    assert not list(told)


@pytest.mark.parametrize(("refusal", "code"), [(None, 1000), (EngineFull("full"), 1013)])
async def test_a_carrier_is_told_whether_the_call_was_over_or_refused(refusal, code):
    async def hold(_carrier, _socket, _called, _key):
        if refusal:
            raise refusal

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        told.append(message)

    app, told = FastAPI(), []
    app.include_router(phone_routes(Mock(carriers=Mock(take=hold)), "tok", WebSettings()))
    path = "/phone/twilio/tok/stream/key"
    await app(
        {"type": "websocket", "path": path, "headers": [], "query_string": b""}, receive, send
    )
    assert told[-1]["code"] == code


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs espeak-ng (apt install espeak-ng)")
async def test_serve_answers_a_phone_and_tells_carriers_where_to_stream(monkeypatch):
    monkeypatch.setitem(os.environ, "PARLEY_PHONE_TOKEN", "tok")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--tts", "espeak", "--llm", "script", "--sip", f"127.0.0.1:{port}")
    with serving(*options) as (url, _):
        async with Phone(("127.0.0.1", port)) as phone:
            assert await phone.dial() == 200
            async with asyncio.timeout(10):
                while not any(piece.any() for piece in phone.heard):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            async with httpx.AsyncClient(base_url=url) as client:
                assert (await client.get("/readyz")).json()["calls"] == 1
                phone.hang_up()
                async with asyncio.timeout(10):
                    while (await client.get("/readyz")).json()["calls"]:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
        async with httpx.AsyncClient(base_url=url) as client:
            reply = await client.post("/phone/twilio/tok", data={"To": "+1555&<"})
            plivo = await client.post("/phone/plivo/tok", data={"To": "1555&<"})
            wrong = await client.post("/phone/twilio/other")
            unknown = await client.post("/phone/acme/tok")
    stream = ET.fromstring(reply.text).find("Connect/Stream")
    address, key = stream.get("url").rsplit("/", 1)
    assert address == f"ws{url.removeprefix('http')}/phone/twilio/tok/stream"
    assert len(key) == 16
    assert {p.get("name"): p.get("value") for p in stream} == {"to": "+1555&<"}
    stream = ET.fromstring(plivo.text).find("Stream")
    assert re.search(r"/phone/plivo/tok/stream/\w{16}\?to=1555%26%3C$", stream.text)
    assert wrong.status_code == 403
    assert unknown.status_code == 404
