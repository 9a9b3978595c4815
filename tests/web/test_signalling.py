"""Placing a call: offers, candidates, and the sessions of stock clients."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from aiortc import RTCIceServer

from common.errors import EngineFull
from tests.web.switchboard import Switchboard, client
from web import signalling


async def test_an_offer_is_answered_with_the_default_persona(offer: dict[str, str]) -> None:
    calls = Switchboard()
    answer = await client(calls).post("/api/offer", json=offer)
    assert answer.status_code == 200
    assert answer.json()["type"] == "answer"
    assert calls.asked[0]["persona"].name == "harbour"
    assert calls.asked[0]["voice"] is None


@pytest.mark.parametrize("spelling", ["request_data", "requestData"])
async def test_a_visitor_chooses_persona_and_voice(offer: dict[str, str], spelling: str) -> None:
    calls = Switchboard()
    wishes = {"persona": "library", "voice": "rms"}
    await client(calls).post("/api/offer", json=offer | {spelling: wishes})
    assert calls.asked[0]["persona"].name == "library"
    assert calls.asked[0]["voice"] == "rms"


async def test_a_page_of_its_own_has_its_own_persona(offer: dict[str, str]) -> None:
    calls = Switchboard()
    visitor = client(calls)
    assert (await visitor.get("/books")).text == (await visitor.get("/")).text
    told = (await visitor.get("/api/page", params={"path": "/books"})).json()
    assert [one["name"] for one in told["personas"]] == ["library"]
    wishes = {"request_data": {"page": "/books", "persona": "library"}}
    assert (await visitor.post("/api/offer", json=offer | wishes)).status_code == 200
    assert calls.asked[0]["persona"].voice == "rms"
    nowhere = await visitor.post("/api/offer", json=offer | {"request_data": {"page": "/none"}})
    assert nowhere.json() == {"error": "There is no page '/none'.", "cure": "There is: /, /books."}


@pytest.mark.parametrize("wish", [{"persona": "nobody"}, {"voice": "nobody"}])
async def test_unknown_choices_name_what_there_is(
    offer: dict[str, str], wish: dict[str, str]
) -> None:
    refusal = await client(Switchboard()).post("/api/offer", json=offer | {"request_data": wish})
    assert refusal.status_code == 400
    assert "nobody" in refusal.json()["error"]
    assert refusal.json()["cure"].startswith("There is: ")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"not json", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"", "not a JSON object"),
        (b'{"sdp": "v=0"}', "type"),
        (b'{"sdp": "\\u0000\\u0001 junk", "type": "offer"}', "no audio"),
        (b'{"sdp": "v=0\\r\\nm=audio", "type": "offer"}', "not a session description"),
        (b'{"sdp": "v=0\\r\\ns=-\\r\\nt=0 0\\r\\n", "type": "offer"}', "no audio"),
        (b'{"sdp": "v=0", "type": "answer"}', "type"),
        (b'{"sdp": 7, "type": "offer"}', "sdp"),
        (b'{"sdp": "v=0", "type": "offer", "request_data": {"page": ["/"]}}', "request_data.page"),
        (b'{"sdp": "v=0", "type": "offer", "requestData": {"persona": {}}}', "requestData.persona"),
        (b'{"sdp": "v=0", "type": "offer", "request_data": {"voice": 5}}', "request_data.voice"),
    ],
)
async def test_bad_offers_are_refused_in_words(body: bytes, says: str) -> None:
    calls = Switchboard()
    visitor = client(calls)
    refusal = await visitor.post(
        "/api/offer", content=body, headers={"content-type": "application/json"}
    )
    assert refusal.status_code == 400
    assert says in refusal.json()["error"]
    assert refusal.json()["cure"]
    for path in re.findall(r"/\S+", refusal.json()["cure"]):
        assert (await visitor.get(path)).status_code == 200
    assert not calls.asked


async def test_a_body_that_is_not_called_json_is_refused_for_that(offer: dict[str, str]) -> None:
    body = json.dumps(offer)
    plain = {"content-type": "text/plain"}
    refusal = await client(Switchboard()).post("/api/offer", content=body, headers=plain)
    assert refusal.status_code == 400
    assert refusal.json()["cure"] == "Send one, and name JSON as its content type."


@pytest.mark.parametrize(
    "fingerprint", ["", "a=fingerprint:sha-256 x\r\n", "a=fingerprint:md5 AB\r\n"]
)
async def test_an_offer_that_could_never_connect_holds_nothing(
    offer: dict[str, str], fingerprint: str
) -> None:
    calls = Switchboard()
    sdp = re.sub(r"(a=fingerprint:.*\r\n)+", fingerprint, offer["sdp"])
    refusal = await client(calls).post("/api/offer", json=offer | {"sdp": sdp})
    assert refusal.status_code == 400
    assert "carries no fingerprint" in refusal.json()["error"]
    assert not calls.asked


async def test_of_twenty_tabs_at_once_four_are_served(offer: dict[str, str]) -> None:
    tabs = client(Switchboard(most=4, slow_s=0.05))
    answers = await asyncio.gather(*(tabs.post("/api/offer", json=offer) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 16
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "10"
    assert "All 4 lines are busy" in refused.json()["error"]
    metrics = (await tabs.get("/metrics")).text
    assert 'parley_offers_total{outcome="full"} 16.0' in metrics
    assert "parley_calls_active 4.0" in metrics


async def test_a_full_engine_is_a_503_with_its_own_hint(offer: dict[str, str]) -> None:
    calls = Switchboard(error=EngineFull("The voice is at its limit.", retry_after_s=3))
    refusal = await client(calls).post("/api/offer", json=offer)
    assert refusal.status_code == 503
    assert refusal.headers["retry-after"] == "3"
    assert refusal.json()["error"] == "The voice is at its limit."


async def test_a_reconnection_names_its_call(offer: dict[str, str]) -> None:
    calls = Switchboard()
    again = offer | {"pc_id": "call-0", "restart_pc": True}
    assert (await client(calls).post("/api/offer", json=again)).status_code == 200
    assert calls.asked[0]["pc_id"] == "call-0"
    assert calls.asked[0]["restart"] is True


async def test_candidates_trickle_in() -> None:
    calls = Switchboard()
    found = {"candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ host", "sdp_mid": "0"}
    sent = {"pc_id": "call-1", "candidates": [found | {"sdp_mline_index": 0}]}
    assert (await client(calls).patch("/api/offer", json=sent)).status_code == 200
    assert calls.candidates[0]["sdp_mid"] == "0"


async def test_stock_pipecat_clients_start_a_session_first(offer: dict[str, str]) -> None:
    calls = Switchboard()
    ice = (RTCIceServer("turn:relay.example:3478", "u", "p"),)
    visitor = client(calls, ice_servers=ice)
    started = (await visitor.post("/start", json={"body": {"persona": "library"}})).json()
    assert started["iceConfig"]["iceServers"][0]["username"] == "u"
    path = f"/sessions/{started['sessionId']}/api/offer"
    assert (await visitor.post(path, json=offer)).status_code == 200
    assert calls.asked[0]["persona"].name == "library"
    patched = await visitor.patch(path, json={"pc_id": "call-1", "candidates": []})
    assert patched.json() == {"status": "success"}


@pytest.mark.parametrize("wishes", [{}, {"request_data": {"persona": "library"}}])
async def test_without_a_session_of_late_nobody_calls(
    offer: dict[str, str], wishes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Switchboard()
    visitor = client(calls, host="0.0.0.0", secret="open sesame")
    key = {"authorization": "Bearer open sesame"}
    started = await visitor.post("/start", json={}, headers=key)
    monkeypatch.setattr(signalling, "_SESSION_TTL_S", 0.0)
    for session in ("none", started.json()["sessionId"]):
        path = f"/sessions/{session}/api/offer"
        assert (await visitor.post(path, json=offer | wishes)).status_code == 404
    assert not calls.asked


async def test_a_session_lasts_as_long_as_its_call(
    offer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Switchboard()
    visitor = client(calls)
    started = (await visitor.post("/start", json={})).json()
    path = f"/sessions/{started['sessionId']}/api/offer"
    await visitor.post(path, json=offer)
    monkeypatch.setattr(signalling, "_SESSION_TTL_S", 0.0)
    assert (await visitor.post(path, json=offer | {"pc_id": "call-1"})).status_code == 200
    await calls.close()
    assert (await visitor.post(path, json=offer | {"pc_id": "call-1"})).status_code == 404


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
async def test_a_caller_who_would_not_hear_us_is_refused(
    offer: dict[str, str], direction: str
) -> None:
    calls = Switchboard()
    deaf = offer | {"sdp": offer["sdp"].replace("a=sendrecv", f"a={direction}")}
    refusal = await client(calls).post("/api/offer", json=deaf)
    assert (refusal.status_code, calls.asked) == (400, [])
    assert "would not play our voice" in refusal.json()["error"]
