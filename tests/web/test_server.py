from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from aiortc import RTCIceServer, RTCPeerConnection

from common.errors import ConfigError, EngineFull
from pipelines.engines import Engines
from tests.web.catalogue import CATALOGUE
from web import signalling
from web.engine_metrics import EngineMetrics
from web.guard import TokenMint
from web.metrics import Metrics
from web.server import create_app
from web.settings import WebSettings, read_origin, read_public_url


class Switchboard:
    """Answers every offer the way it is told to, and remembers what it was asked."""

    def __init__(self, *, most: int = 4, slow_s: float = 0.0, error: Exception | None = None):
        self.active = 0
        self.asked: list[dict[str, Any]] = []
        self.candidates: list[dict[str, Any]] = []
        self._most, self._slow_s, self._error = most, slow_s, error

    def carries(self, pc_id: str) -> bool:
        return self.active > 0

    def admit(self) -> None:
        if self.active >= self._most:
            raise EngineFull(f"All {self._most} lines are busy.", 10)

    async def offer(self, sdp: str, kind: str, **asked: Any) -> dict[str, str]:
        self.admit()
        self.asked.append(asked)
        self.active += 1
        await asyncio.sleep(self._slow_s)
        if self._error:
            raise self._error
        return {"sdp": sdp, "type": "answer", "pc_id": f"call-{len(self.asked)}"}

    async def add_candidates(self, pc_id: str, candidates: Sequence[dict[str, Any]]) -> None:
        self.candidates += candidates

    async def close(self) -> None:
        self.active = 0


def client(calls: Switchboard, **settings: Any) -> httpx.AsyncClient:
    verify = settings.pop("verify", None)
    app = create_app(calls, CATALOGUE, WebSettings(**settings), verify=verify)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:7860")


@pytest.fixture
async def offer() -> AsyncIterator[dict[str, str]]:
    """What a client's createOffer() gives."""
    pc = RTCPeerConnection()
    pc.addTransceiver("audio")
    await pc.setLocalDescription(await pc.createOffer())
    yield {"sdp": pc.localDescription.sdp, "type": "offer"}
    await pc.close()


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


def test_a_page_cannot_hide_the_server() -> None:
    pages = CATALOGUE.pages | {"/healthz": CATALOGUE.at("/")}
    with pytest.raises(ConfigError, match="no page at /healthz"):
        create_app(Switchboard(), replace(CATALOGUE, pages=pages), WebSettings())


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


async def test_an_oversize_body_is_refused_before_it_is_parsed(offer: dict[str, str]) -> None:
    big = offer | {"sdp": offer["sdp"] + "a" * 70_000}
    refusal = await client(Switchboard()).post("/api/offer", json=big)
    assert refusal.status_code == 413
    assert "65536" in refusal.json()["error"]


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


async def test_a_bug_leaves_a_mark_and_no_detail(offer: dict[str, str]) -> None:
    visitor = client(Switchboard(error=RuntimeError("secret")))
    refusal = await visitor.post("/api/offer", json=offer)
    assert refusal.status_code == 500
    assert "secret" not in refusal.text
    assert 'parley_errors_total{where="server"} 1.0' in (await visitor.get("/metrics")).text


async def test_readiness_is_whether_one_more_call_would_be_served() -> None:
    visitor = client(Switchboard(most=0))
    assert (await visitor.get("/healthz")).status_code == 200
    for path in (visitor.get("/readyz"), visitor.post("/start", json={})):
        refusal = await path
        assert refusal.status_code == 503
        assert refusal.json()["error"] == "All 0 lines are busy."


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


async def test_with_a_secret_the_page_token_opens_the_door(offer: dict[str, str]) -> None:
    visitor = client(Switchboard(), host="0.0.0.0", secret="open sesame")
    key = {"authorization": "Bearer open sesame"}
    assert (await visitor.get("/")).status_code == 200
    assert (await visitor.get("/api/page")).status_code == 401
    wrong = await visitor.get("/api/page", headers={"authorization": "Bearer guess"})
    assert wrong.json()["error"] == "That key does not fit."
    token = (await visitor.get("/api/page", headers=key)).json()["token"]
    assert (await visitor.post("/api/offer", json=offer)).status_code == 401
    bearer = {"authorization": f"Bearer {token}"}
    assert (await visitor.post("/api/offer", json=offer, headers=bearer)).status_code == 200
    assert (await visitor.post("/api/offer", json=offer, headers=key)).status_code == 200
    assert (await visitor.get("/metrics")).status_code == 401
    assert (await visitor.get("/metrics", headers=key)).status_code == 200


async def test_a_secret_may_be_written_in_any_alphabet() -> None:
    visitor = client(Switchboard(), secret="clé ☂")
    key = {"authorization": "Bearer clé ☂".encode()}
    assert (await visitor.get("/api/page", headers=key)).status_code == 200


async def test_an_identity_provider_can_decide(offer: dict[str, str]) -> None:
    async def verify(token: str) -> str | None:
        return "ada" if token == "ada's token" else None

    visitor = client(Switchboard(), verify=verify, public_url="https://talk.example")
    for token, status in (("ada's token", 200), ("eve's token", 401)):
        answer = await visitor.get("/api/page", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == status


def test_tokens_expire_and_cannot_be_made_up() -> None:
    now_s = 1000.0
    mint = TokenMint(60, clock=lambda: now_s)
    token = mint.mint()
    assert mint.is_valid(token)
    assert not mint.is_valid(TokenMint(60, clock=lambda: now_s).mint())
    assert not mint.is_valid("x" + token[1:])
    assert not mint.is_valid("ü")
    now_s += 61
    assert not mint.is_valid(token)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:7860"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"host": "rebound.example:7860"}, 403),
    ],
)
async def test_foreign_pages_and_rebound_names_are_refused(
    offer: dict[str, str], headers: dict[str, str], status: int
) -> None:
    answer = await client(Switchboard()).post("/api/offer", json=offer, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://shop.example/", "https://shop.example"),
        ("https://Shop.Example:443", "https://shop.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_a_site_is_known_however_it_is_written(given: str, meant: str) -> None:
    assert read_origin(given) == meant


@pytest.mark.parametrize("given", ["https://Talk.Example/", "https://talk.example:443"])
async def test_the_public_page_may_call_behind_a_proxy_that_keeps_its_name(given: str) -> None:
    visitor = client(Switchboard(), public_url=read_public_url(given), secret="s")
    sent = {"origin": "https://talk.example", "authorization": "Bearer s"}
    assert (await visitor.get("/api/page", headers=sent)).status_code == 200


@pytest.mark.parametrize("given", ["*", "null", "shop.example", "https://shop.example/till", ""])
def test_what_no_page_can_come_from_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="no origin"):
        read_origin(given)


async def test_an_allowed_site_may_call(offer: dict[str, str]) -> None:
    visitor = client(Switchboard(), allowed_origins=("https://shop.example",))
    origin = {"origin": "https://shop.example"}
    answer = await visitor.post("/api/offer", json=offer, headers=origin)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize(
    "settings", [{"host": "0.0.0.0"}, {"host": "192.0.2.7"}, {"public_url": "https://a.example"}]
)
def test_a_public_address_is_never_open_by_accident(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="strangers"):
        create_app(Switchboard(), CATALOGUE, WebSettings(**settings))
    create_app(Switchboard(), CATALOGUE, WebSettings(**settings, secret="s"))
    create_app(Switchboard(), CATALOGUE, WebSettings(**settings, open_to_all=True))


def test_a_verifier_that_cannot_be_awaited_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="async"):
        create_app(Switchboard(), CATALOGUE, WebSettings(), verify=lambda token: "ada")  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
async def test_a_monitor_asks_for_the_head_alone(path: str) -> None:
    visitor = client(Switchboard())
    whole, head = await visitor.get(path), await visitor.head(path)
    assert head.status_code == 200
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert head.content == b""


async def test_every_answer_carries_the_security_headers() -> None:
    visitor = client(Switchboard())
    for path in ("/", "/static/js/app.js", "/nothing", "/healthz"):
        answer = await visitor.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await visitor.get("/nothing")).json()["error"] == "There is nothing at /nothing."


@pytest.mark.parametrize(
    ("path", "status"), [("/static/css/../js/app.js", 200), ("/static/../server.py", 404)]
)
async def test_only_files_of_the_page_are_served(path: str, status: int) -> None:
    app = create_app(Switchboard(), CATALOGUE, WebSettings())

    async def as_sent(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"path": path}, receive, send)  # httpx itself would resolve the dots

    visitor = httpx.AsyncClient(transport=httpx.ASGITransport(as_sent), base_url="http://localhost")
    assert (await visitor.get("/")).status_code == status


async def test_counters_begin_at_zero() -> None:
    metrics = (await client(Switchboard()).get("/metrics")).text
    for series in ('offers_total{outcome="failed"}', 'errors_total{where="call"}'):
        assert f"parley_{series} 0.0" in metrics


async def test_page_events_become_metrics() -> None:
    calls = Switchboard()
    app = create_app(calls, CATALOGUE, WebSettings())
    for event in (
        {"event": "latency", "turn": 1, "total_ms": 450, "parts": [{"name": "brain", "ms": 90}]},
        {"event": "agent_cut", "turn": 1, "heard": "a", "unheard": "b"},
        {"event": "agent_cut", "turn": 2, "heard": "", "unheard": "taken back"},
        {"event": "underrun"},
        {"event": "error", "message": "m", "cure": ""},
        {"event": "something new"},
    ):
        app.state.metrics.observe(event)
    app.state.metrics.gauge("parley_engine_batch", "Streams in the last step.", lambda: 3)
    visitor = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    text = (await visitor.get("/metrics")).text
    assert 'parley_turn_seconds_bucket{le="0.5"} 1.0' in text
    assert 'parley_turn_seconds_bucket{le="0.4"} 0.0' in text
    assert 'parley_turn_part_seconds_sum{part="brain"} 0.09' in text
    for line in ("interruptions_total 1.0", "underruns_total 1.0", "engine_batch 3.0"):
        assert line in text


async def test_engines_tell_their_own_figures() -> None:
    class Ears:
        metrics = SimpleNamespace(
            streams=2, max_streams=8, batch_sizes=(1, 3), step_ms=(10.0, 30.0, 20.0)
        )

    class Voice:
        async def metrics(self) -> SimpleNamespace:
            return SimpleNamespace(speakers=1, max_speakers=4, step_ms=(), underruns=5)

    metrics = Metrics()
    EngineMetrics(Engines(Ears(), Voice()), metrics)  # type: ignore[arg-type]
    text = (await metrics.scrape()).decode()
    for line in (
        'batch{engine="asr"} 3.0',
        'streams_max{engine="tts"} 4.0',
        'step_seconds{engine="asr"} 0.02',
        'underruns{engine="tts"} 5.0',
    ):
        assert f"parley_engine_{line}" in text
