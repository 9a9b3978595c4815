"""What a caller's side may send: offers and messages that are turned away at once."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc import RTCPeerConnection

from agent.llm_choice import choose_llm
from agent.persona import Persona
from common.errors import ParleyError
from pipelines.browser import BrowserCall
from pipelines.conversation import Conversation
from pipelines.engines import Engines
from pipelines.peer import Peer

NOBODY: Any = SimpleNamespace(hear=None, pull=None, on_lost=lambda reason: None)


@pytest.mark.parametrize("address", ["999.1.1.1", "nowhere"])
async def test_an_offer_from_an_impossible_address_is_the_callers_to_mend(address: str) -> None:
    browser = RTCPeerConnection()
    browser.addTransceiver("audio")
    await browser.setLocalDescription(await browser.createOffer())
    sdp = browser.localDescription.sdp
    await browser.close()
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
