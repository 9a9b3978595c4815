"""The server around the calls: health, metrics, headers, and the files of the page."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from common.errors import ConfigError
from pipelines.engines import Engines
from tests.web.catalogue import CATALOGUE
from tests.web.switchboard import Switchboard, client
from web.engine_metrics import EngineMetrics
from web.metrics import Metrics
from web.server import _STATIC as STATIC
from web.server import create_app
from web.settings import WebSettings


def test_a_page_cannot_hide_the_server() -> None:
    pages = CATALOGUE.pages | {"/healthz": CATALOGUE.at("/")}
    with pytest.raises(ConfigError, match="no page at /healthz"):
        create_app(Switchboard(), replace(CATALOGUE, pages=pages), WebSettings())


async def test_an_oversize_body_is_refused_before_it_is_parsed(offer: dict[str, str]) -> None:
    big = offer | {"sdp": offer["sdp"] + "a" * 70_000}
    refusal = await client(Switchboard()).post("/api/offer", json=big)
    assert refusal.status_code == 413
    assert "65536" in refusal.json()["error"]


async def test_a_bug_leaves_a_mark_and_no_detail(offer: dict[str, str]) -> None:
    visitor = client(Switchboard(error=RuntimeError("secret")))
    refusal = await visitor.post("/api/offer", json=offer)
    assert refusal.status_code == 500
    assert "secret" not in refusal.text
    assert "default-src 'none'" in refusal.headers["content-security-policy"]
    assert 'parley_errors_total{where="server"} 1.0' in (await visitor.get("/metrics")).text


async def test_readiness_is_whether_one_more_call_would_be_served() -> None:
    visitor = client(Switchboard(most=0))
    assert (await visitor.get("/healthz")).status_code == 200
    for path in (visitor.get("/readyz"), visitor.post("/start", json={})):
        refusal = await path
        assert refusal.status_code == 503
        assert refusal.json()["error"] == "All 0 lines are busy."


async def test_health_is_lost_when_only_a_restart_helps() -> None:
    calls = Switchboard()
    visitor = client(calls)
    assert (await visitor.get("/healthz")).status_code == 200
    calls.failure = "The voice has stopped."
    answer = await visitor.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"error": "The voice has stopped.", "cure": "Restart Parley."}
    assert (await visitor.head("/healthz")).status_code == 503


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
async def test_a_monitor_asks_for_the_head_alone(path: str) -> None:
    visitor = client(Switchboard())
    whole, head = await visitor.get(path), await visitor.head(path)
    assert head.status_code == 200
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert head.content == b""


async def test_the_page_comes_packed_to_browsers_that_can_unpack_it() -> None:
    visitor = client(Switchboard())
    path = "/static/js/app.js"
    packed = await visitor.get(path, headers={"accept-encoding": "gzip"})
    plain = await visitor.get(path, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < 0.5 * len(plain.content)
    assert packed.headers["cache-control"] == plain.headers["cache-control"] == "no-cache"
    again = await visitor.get(path, headers={"if-none-match": packed.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    font = next((STATIC / "fonts").glob("*.woff2"))
    answer = await visitor.get(f"/static/fonts/{font.name}", headers={"accept-encoding": "gzip"})
    assert answer.content == font.read_bytes()
    assert "content-encoding" not in answer.headers


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
        {"event": "agent_cut", "turn": 1, "heard": "a", "unheard": "b", "by": "caller"},
        {"event": "agent_cut", "turn": 2, "heard": "", "unheard": "taken back", "by": "caller"},
        {"event": "agent_cut", "turn": 3, "heard": "a", "unheard": "b", "by": "voice"},
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
