"""What a caller's side may send: offers and messages that are turned away at once."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.sdp import SessionDescription

import web
from agent.llm_choice import choose_llm
from agent.persona import Persona
from common.errors import ParleyError
from pipelines import peer as peer_module
from pipelines.browser import BrowserCall
from pipelines.conversation import Conversation
from pipelines.engines import Engines
from pipelines.peer import Peer

_UNNOTICED_MS = 9_500  # the longest that a browser (Firefox) took to tell that a line was dead
NOBODY: Any = SimpleNamespace(hear=None, pull=None, on_lost=lambda reason: None)


async def offer(*codecs: str) -> str:
    """The SDP of a browser that prefers `codecs` in this order, and knows no others."""
    browser = RTCPeerConnection()
    known = RTCRtpSender.getCapabilities("audio").codecs
    preferred = [one for name in codecs for one in known if one.mimeType == f"audio/{name}"]
    browser.addTransceiver("audio").setCodecPreferences(preferred)
    await browser.setLocalDescription(await browser.createOffer())
    sdp: str = browser.localDescription.sdp
    await browser.close()
    return sdp


async def test_whatever_a_browser_prefers_opus_is_agreed_on() -> None:
    peer = Peer(NOBODY)
    answer = await peer.answer(await offer("PCMU", "opus", "G722"), "offer")
    (audio,) = SessionDescription.parse(answer["sdp"]).media
    assert [codec.name for codec in audio.rtp.codecs] == ["opus"]
    assert audio.rtp.codecs[0].parameters == {"maxplaybackrate": 16_000}
    await peer.close()


async def test_an_offer_without_opus_is_refused() -> None:
    peer = Peer(NOBODY)
    with pytest.raises(ParleyError, match="Opus"):
        await peer.answer(await offer("PCMU"), "offer")
    await peer.close()


@pytest.mark.parametrize("address", ["999.1.1.1", "nowhere"])
async def test_an_offer_from_an_impossible_address_is_the_callers_to_mend(address: str) -> None:
    sdp = await offer("opus")
    peer = Peer(NOBODY)
    sdp = re.sub(r"(a=candidate:\S+ \d udp \d+) \S+", rf"\1 {address}", sdp)
    with pytest.raises(ParleyError, match="The offer names no network address"):
        await peer.answer(sdp, "offer")
    await peer.close()


async def test_a_client_cannot_give_the_results_of_tools() -> None:
    passed_on: list[str] = []
    conversation: Any = SimpleNamespace(client_message=lambda told: passed_on.append(told["type"]))
    call = BrowserCall(lambda send: conversation, ())
    for kind in ("llm-function-call-result", "client-ready"):
        call.on_message({"label": "rtvi-ai", "type": kind, "id": "1", "data": {}})
    assert passed_on == ["client-ready"]


@pytest.mark.parametrize(
    ("library", "told"),
    [
        ("parley-page", ["server-message", "error"]),
        ("@pipecat-ai/client-js", ["server-message", "user-transcription", "error"]),
    ],
)
async def test_our_page_is_told_everything_once(
    library: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation: Any = SimpleNamespace(client_message=lambda message: None)
    sends: list[Any] = []
    call = BrowserCall(lambda send: sends.append(send) or conversation, ())
    sent: list[str] = []
    monkeypatch.setattr(call.peer, "send", lambda message: sent.append(message["type"]))
    about = {"version": "2.2.0", "about": {"library": library}}
    call.on_message({"label": "rtvi-ai", "type": "client-ready", "id": "1", "data": about})
    for kind in ("server-message", "user-transcription", "error"):
        sends[0]({"label": "rtvi-ai", "type": kind, "data": {}})
    assert sent == told


@pytest.mark.parametrize(
    ("quality", "spares"),
    [
        ({"rtt_ms": 300.0, "sent_loss_percent": 5.0}, False),
        ({"rtt_ms": 500.0, "sent_loss_percent": 0.0}, True),
        ({"rtt_ms": 80.0, "sent_loss_percent": 20.0}, True),
    ],
)
async def test_a_crowded_line_is_spared(
    quality: dict[str, float], spares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation: Any = SimpleNamespace(
        set_downstream_ms=lambda ms: None,
        set_line_ms=lambda ms: None,
        tell=lambda event, **fields: conversation.ended.set(),
        ended=asyncio.Event(),
        close=AsyncMock(),
    )
    call = BrowserCall(lambda send: conversation, ())
    spared: list[bool] = []
    monkeypatch.setattr(call.peer, "quality", AsyncMock(return_value=quality))
    monkeypatch.setattr(call.peer, "spare_the_line", lambda: spared.append(True))
    await call.run()
    assert bool(spared) is spares


@pytest.mark.parametrize("part", ["quality", "close"])
async def test_a_line_that_fails_frees_the_ears_all_the_same(
    part: str, engines: Engines, persona: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> None:
        raise RuntimeError("for the test")

    model = (await choose_llm("script")).open(persona)
    call = BrowserCall(lambda send: Conversation(engines, model, persona, to_client=send), ())
    await call.conversation.start()
    monkeypatch.setattr(call.peer, part, fails)
    if part == "close":
        call.conversation.end("the caller left")
    with pytest.raises(RuntimeError):
        await call.run()
    assert call.conversation._listener._stream is None
    assert call.conversation.ended.is_set()


def test_a_page_has_given_up_before_the_server_does() -> None:
    page = Path(web.__file__).with_name("static") / "js/call.js"
    wait_ms = dict(re.findall(r"const (\w+_MS) = ([\d_]+);", page.read_text()))
    tries_ms = int(wait_ms["LOST_AFTER_MS"]) + int(wait_ms["RECONNECT_WITHIN_MS"])
    assert _UNNOTICED_MS + tries_ms < 1000 * peer_module._GONE_S
