"""Calls over real WebRTC on loopback, with a synthesised caller, good and bad."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription

from agent.llm import LlmError, Message, Piece, TextDelta, ToolSchema
from agent.llm_choice import choose_llm
from agent.persona import Persona
from common.errors import EngineFull, ParleyError
from evals.caller import Caller
from pipelines import peer as peer_module
from pipelines.browser import BrowserCalls
from pipelines.conversation import Conversation


class Breaks:
    """A language model that fails in a given way."""

    name, where = "broken", "in the test"

    def __init__(self, way: str):
        self._way = way

    def open(self, persona: Persona) -> Breaks:
        return self

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> AsyncIterator[Piece]:
        if self._way != "refuses":
            yield TextDelta("Let me tell you all about it, because ")
        if self._way == "hangs":
            await asyncio.sleep(3600)
        raise LlmError("The server at the other end is gone.", "Start it again.")

    async def close(self) -> None:
        pass


class Desk:
    """Calls, and callers who dial them."""

    def __init__(self, calls: BrowserCalls, persona: Persona):
        self.calls = calls
        self.persona = persona
        self.pc_id = ""

    async def offer(self, sdp: str, kind: str) -> dict[str, str]:
        answer = await self.calls.offer(sdp, kind, persona=self.persona)
        self.pc_id = answer["pc_id"]
        return answer

    def caller(self) -> Caller:
        return Caller(self.offer)

    @property
    def conversation(self) -> Conversation:
        return self.calls._calls[self.pc_id].conversation


@pytest.fixture
async def open_desk(engines, persona):
    opened: list[BrowserCalls] = []

    async def open_(llm: Any = None, **options: Any) -> Desk:
        options.setdefault("most_lag_ms", 1_000.0)  # the callers share the loop, and the machine
        calls = BrowserCalls(engines, llm or await choose_llm("script"), **options)
        opened.append(calls)
        return Desk(calls, persona)

    yield open_
    for calls in opened:
        await calls.close()


@pytest.fixture
async def desk(open_desk) -> Desk:
    return await open_desk()


def events(caller: Caller, name: str) -> list[dict[str, Any]]:
    data = [m["data"] for _, m in caller.events if m.get("type") == "server-message"]
    return [event for event in data if event["event"] == name]


async def greeted(caller: Caller) -> None:
    assert await caller.wait_audible(True, for_s=0.02, timeout_s=5)
    assert await caller.wait_audible(False, for_s=0.6, timeout_s=15)


async def type_text(caller: Caller, text: str) -> None:
    while caller._channel.readyState != "open":  # noqa: ASYNC110 - it has no event of its own
        await asyncio.sleep(0.01)
    caller.send({"label": "rtvi-ai", "type": "send-text", "id": "1", "data": {"content": text}})


# ---- a conversation -------------------------------------------------------------------------------


async def test_a_caller_is_answered_interrupts_and_is_answered_again(desk, flite, until):
    async with desk.caller() as caller:
        try:
            await hold_a_conversation(caller, flite, until)
        except Exception as error:
            if isinstance(error, AssertionError) and not caller.health().ok:
                pytest.skip("this machine is too busy for a conversation in real time")
            told = (f"{at_s:6.2f} {m['data']}" for at_s, m in caller.events if "data" in m)
            error.add_note("\n".join(["The call, as it was told:", *told]))
            raise
        for latency in events(caller, "latency"):
            assert sum(p["ms"] for p in latency["parts"]) == pytest.approx(
                latency["total_ms"], abs=1
            )
        roles = [m["role"] for m in desk.conversation.context.get_messages()]
        assert roles == ["assistant", "user", "assistant", "user", "assistant"]


async def hold_a_conversation(caller: Caller, flite: Any, until: Any) -> None:
    def finals() -> list[str]:
        return [e["text"] for e in events(caller, "caller_words") if e["final"] and e["text"]]

    await greeted(caller)
    caller.mouth.say(flite("what can you do?"))
    assert await caller.wait_audible(True, for_s=0.1, timeout_s=8)
    await caller.sleep(1.0)
    cut_in_s = caller.mouth.say(flite("stop. what time is it?"))
    assert await caller.wait_audible(False, for_s=0.3, timeout_s=5)
    assert caller.now_s - 0.3 - cut_in_s < 0.5
    await until(lambda: len(finals()) == 2)
    assert await caller.wait_audible(True, for_s=0.1, timeout_s=10)
    assert await caller.wait_audible(False, for_s=0.6, timeout_s=15)
    assert len(finals()) == 2
    assert "time" in finals()[1]
    (cut,) = events(caller, "agent_cut")
    assert cut["heard"]
    assert cut["unheard"]


async def test_a_typed_message_is_answered_and_the_button_stops_the_answer(desk, until):
    async with desk.caller() as caller:
        await greeted(caller)
        await type_text(caller, "what can you do?")
        assert await caller.wait_audible(True, for_s=0.1, timeout_s=5)
        await caller.sleep(0.5)
        caller.send(
            {"label": "rtvi-ai", "type": "client-message", "id": "2", "data": {"t": "interrupt"}}
        )
        pressed_s = caller.now_s
        assert await caller.wait_audible(False, for_s=0.3, timeout_s=2)
        assert caller.now_s - pressed_s < 0.6
        await until(lambda: events(caller, "agent_cut"))


async def test_a_stock_pipecat_client_is_greeted_as_it_expects(desk, until):
    async with desk.caller() as caller:
        await until(lambda: caller._channel.readyState == "open")
        about = {"version": "2.2.0", "about": {"library": "@pipecat-ai/client-js"}}
        caller.send({"label": "rtvi-ai", "type": "client-ready", "id": "7", "data": about})
        kinds: list[str] = []

        def seen(kind: str) -> bool:
            kinds[:] = [m.get("type") for _, m in caller.events]
            return kind in kinds

        await until(lambda: seen("bot-ready"))
        await until(lambda: seen("bot-started-speaking"))
        await greeted(caller)
        await type_text(caller, "hello")
        for kind in ("user-started-speaking", "user-transcription", "bot-llm-text"):
            await until(lambda kind=kind: seen(kind))


async def test_a_client_that_offers_cameras_too_gets_audio(desk):
    """Stock pipecat clients offer an audio line and two for video."""

    async def with_cameras(sdp: str, kind: str) -> dict[str, str]:
        answer = await desk.offer(sdp, kind)
        assert answer["sdp"].count("a=inactive") == 2
        return answer

    connection = RTCPeerConnection()
    for kind in ("audio", "video", "video"):
        connection.addTransceiver(kind)
    await connection.setLocalDescription(await connection.createOffer())
    answer = await with_cameras(connection.localDescription.sdp, "offer")
    await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
    frame = await asyncio.wait_for(connection.getTransceivers()[0].receiver.track.recv(), 5)
    assert frame.samples == 960
    await connection.close()


# ---- reconnecting and leaving ---------------------------------------------------------------------


async def test_a_second_offer_on_the_same_id_goes_on_with_the_same_conversation(desk, until):
    async with desk.caller() as caller:
        await greeted(caller)
        await caller._pc.setLocalDescription(await caller._pc.createOffer())
        offer = caller._pc.localDescription
        answer = await desk.calls.offer(
            offer.sdp, offer.type, persona=desk.persona, pc_id=desk.pc_id
        )
        await caller._pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        assert answer["pc_id"] == desk.pc_id
        assert desk.calls.active == 1
        await type_text(caller, "hello")
        assert await caller.wait_audible(True, for_s=0.1, timeout_s=5)


async def test_loss_is_told_while_it_lasts_and_no_longer(desk, until):
    async with desk.caller() as caller:
        transport = caller._pc.getSenders()[0].transport
        send, count = transport._send_rtp, itertools.count()

        async def every_other(packet: bytes) -> None:
            if next(count) % 2:
                await send(packet)

        transport._send_rtp = every_other
        await until(lambda: any(e["loss_percent"] > 20 for e in events(caller, "network")))
        transport._send_rtp = send
        await until(lambda: events(caller, "network")[-1]["loss_percent"] == 0)


async def test_a_lost_message_is_sent_again_within_a_second(desk, until):
    async with desk.caller():
        peer = desk.calls._calls[desk.pc_id].peer
        await until(lambda: peer._pc.sctp._rto < 1.0)


async def test_a_browser_that_lost_its_connection_comes_back_to_its_conversation(desk):
    async with desk.caller() as caller:
        await greeted(caller)
        first_id = desk.pc_id

        async def again(sdp: str, kind: str) -> dict[str, str]:
            answering = asyncio.create_task(
                desk.calls.offer(sdp, kind, persona=desk.persona, pc_id=first_id, restart=True)
            )
            await asyncio.sleep(0)  # the old connection is being closed
            await desk.calls.add_candidates(first_id, [{"candidate": ""}])
            return await answering

        async with Caller(again) as returned:
            await type_text(returned, "hello")
            assert await returned.wait_audible(True, for_s=0.1, timeout_s=5)
            assert desk.calls.active == 1
            assert [m["role"] for m in desk.conversation.context.get_messages()][:2] == [
                "assistant",
                "user",
            ]


async def test_a_browser_that_comes_back_after_the_end_begins_a_new_call(desk):
    async with desk.caller() as caller:
        desk.conversation.end("goodbye")
        offer = caller._pc.localDescription
        answer = await desk.calls.offer(
            offer.sdp, offer.type, persona=desk.persona, pc_id=desk.pc_id, restart=True
        )
        assert answer["pc_id"] != desk.pc_id


@pytest.mark.parametrize(
    ("state", "reason"), [("closed", "the caller hung up"), ("failed", "the connection failed")]
)
async def test_why_the_caller_is_gone_is_told(desk, state, reason, monkeypatch):
    async with desk.caller():
        call = desk.calls._calls[desk.pc_id]
        monkeypatch.setattr(RTCPeerConnection, "connectionState", state)
        call.peer._on_state(call.peer._pc)
        assert call.conversation.end_reason == reason


async def test_while_the_line_is_dead_the_conversation_stands_still(desk, monkeypatch):
    async with desk.caller() as caller:
        await greeted(caller)
        await type_text(caller, "what can you do?")
        assert await caller.wait_audible(True, for_s=0.1, timeout_s=8)
        transport = caller._pc.getSenders()[0].transport
        with monkeypatch.context() as network:
            network.setattr(transport, "_send_rtp", lose)
            network.setattr(transport, "_send_data", lose)
            assert await caller.wait_audible(False, for_s=1.0, timeout_s=3)
            assert events(caller, "state")[-1]["state"] == "speaking"
        assert await caller.wait_audible(True, for_s=0.1, timeout_s=3)  # the rest of that answer
        assert await caller.wait_audible(False, for_s=0.6, timeout_s=15)
        assert len(events(caller, "latency")) == 1


async def lose(packet: bytes) -> None:
    """As a network does that is gone."""


async def test_a_client_that_vanishes_frees_its_line(desk, until, monkeypatch):
    async with desk.caller() as caller:
        await greeted(caller)
        monkeypatch.setattr(peer_module, "_GONE_S", 0.6)
        caller._pc.getSenders()[0].replaceTrack(None)
        for task in caller._tasks:
            task.cancel()
        await until(lambda: desk.calls.active == 0, 5)


async def test_hanging_up_frees_the_line(desk, until):
    async with desk.caller() as caller:
        await caller.wait_audible(True, for_s=0.02, timeout_s=5)
    await until(lambda: desk.calls.active == 0, 5)


async def test_draining_refuses_new_calls_and_waits_for_those_that_run(desk):
    async with desk.caller() as caller:
        await greeted(caller)
        drained = asyncio.create_task(desk.calls.drain(5.0))
        await asyncio.sleep(0.05)
        with pytest.raises(EngineFull, match="about to stop"):
            desk.calls.admit()
        assert not drained.done()
    await asyncio.wait_for(drained, 5)
    assert desk.calls.active == 0


@pytest.mark.parametrize("engine", ["asr", "tts"])
async def test_a_call_that_nobody_could_hear_or_greet_is_refused(desk, engine):
    full = replace(desk.calls._engines, **{engine: SimpleNamespace(refusal="It is asleep.")})
    desk.calls._engines = full
    with pytest.raises(EngineFull, match="asleep"):
        desk.calls.admit()


# ---- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdp", ["", "hello", "v=0\r\nm=audio", "\x00" * 100])
async def test_an_offer_that_is_none_is_refused_and_leaves_nothing_behind(desk, sdp):
    with pytest.raises(ParleyError):
        await desk.offer(sdp, "offer")
    with pytest.raises(ParleyError):
        await desk.offer(sdp, "nonsense")
    assert desk.calls.active == 0


async def test_an_offer_without_audio_is_refused(desk):
    connection = RTCPeerConnection()
    connection.createDataChannel("chat")
    await connection.setLocalDescription(await connection.createOffer())
    with pytest.raises(ParleyError, match="no audio"):
        await desk.offer(connection.localDescription.sdp, "offer")
    await connection.close()
    assert desk.calls.active == 0


async def test_candidates_for_nobody_and_junk_candidates_are_refused(desk):
    with pytest.raises(ParleyError, match="no such call"):
        await desk.calls.add_candidates("nobody", [])
    async with desk.caller():
        with pytest.raises(ParleyError, match="malformed"):
            await desk.calls.add_candidates(desk.pc_id, [{"candidate": "junk"}])


async def test_junk_on_one_channel_hurts_neither_that_call_nor_another(desk):
    async with desk.caller() as victim, desk.caller() as vandal:
        await greeted(vandal)
        for junk in (b"\x00\xff" * 500, "{", "[1, 2]", '"x"', "[" * 5_000, "x" * 65_000):
            vandal._channel.send(junk)
        for data in (None, 5, "text", {"t": 5}, {"content": {"a": 1}}):
            for kind in ("send-text", "client-message", "client-ready", "raw-audio", "nonsense"):
                vandal.send({"label": "rtvi-ai", "type": kind, "id": 5, "data": data})
        for _ in range(300):
            vandal._channel.send("{}")
        await asyncio.sleep(1.2)
        assert desk.calls.active == 2
        await type_text(victim, "hello")
        assert await victim.wait_audible(True, for_s=0.1, timeout_s=5)


async def test_twenty_tabs_at_once_are_served_or_refused_with_a_hint(open_desk):
    desk = await open_desk(most_calls=2)
    tabs = [RTCPeerConnection() for _ in range(20)]

    async def dial(tab: RTCPeerConnection) -> dict[str, str] | EngineFull:
        tab.addTransceiver("audio")
        await tab.setLocalDescription(await tab.createOffer())
        try:
            return await desk.calls.offer(tab.localDescription.sdp, "offer", persona=desk.persona)
        except EngineFull as refused:
            return refused

    outcomes = await asyncio.gather(*map(dial, tabs))
    refused = [outcome for outcome in outcomes if isinstance(outcome, EngineFull)]
    assert len(refused) == 18
    assert all(outcome.retry_after_s > 0 for outcome in refused)
    for tab in tabs:
        await tab.close()


# ---- a language model that fails ------------------------------------------------------------------


@pytest.mark.parametrize("way", ["refuses", "dies mid-sentence"])
async def test_a_language_model_that_fails_is_covered_and_explained(open_desk, way, until):
    desk = await open_desk(Breaks(way))
    async with desk.caller() as caller:
        await greeted(caller)
        await type_text(caller, "hello")
        assert await caller.wait_audible(True, for_s=0.1, timeout_s=5)
        await until(lambda: events(caller, "error"))
        (error,) = events(caller, "error")
        assert error["cure"] == "Start it again."
        said = "".join(e["text"] for e in events(caller, "agent_text"))
        assert desk.persona.failure in said
        await type_text(caller, "again")  # the next turn tries again
        await until(lambda: len(events(caller, "error")) == 2)


async def test_a_language_model_that_hangs_can_be_interrupted(open_desk, until):
    desk = await open_desk(Breaks("hangs"))
    async with desk.caller() as caller:
        await greeted(caller)
        await type_text(caller, "hello")
        assert await caller.wait_audible(True, for_s=0.1, timeout_s=5)
        await type_text(caller, "are you there")
        await until(lambda: [e for e in events(caller, "agent_text") if e["turn"] == 2])


async def test_the_end_of_the_call_is_told_before_the_line_is_cut(open_desk, until):
    desk = await open_desk()
    async with desk.caller() as caller:
        await greeted(caller)
        await type_text(caller, "goodbye")
        await until(lambda: events(caller, "bye"), 15)
        assert events(caller, "bye")[0]["reason"] == "goodbye"
        with contextlib.suppress(TimeoutError):
            await until(lambda: desk.calls.active == 0, 3)
        assert desk.calls.active == 0
