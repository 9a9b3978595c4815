"""Whole phone calls on real ears and a real voice: over a carrier's websocket."""

import asyncio
import base64
import json
import shutil

import numpy as np
import pytest

from agent.persona import Persona
from common.errors import ParleyError
from common.yamlfile import parse_yaml
from pipelines.phone import g711
from pipelines.phone.carrier_call import CarrierCalls
from tests.phone.office import PRACTICE, until

pytestmark = pytest.mark.skipif(
    not (shutil.which("flite") and shutil.which("espeak-ng")),
    reason="needs flite and espeak-ng (apt)",
)


class FakeSocket:
    """A carrier's end of the websocket, in memory: messages in real order, audio in real time."""

    def __init__(self, start):
        self._start = start
        self._speech = b""
        self.sent = []
        self.stopped = False
        self.keys = []
        self._n = 0

    def say(self, pcm):
        self._speech += g711.encode(pcm, "PCMU")

    async def receive(self):
        self._n += 1
        if self._n == 1:
            return json.dumps({"event": "connected"})
        if self._n == 2:
            return json.dumps(self._start)
        if self._n == 3:
            return "{junk"
        if self.stopped:
            return json.dumps({"event": "stop"})
        await asyncio.sleep(0.02)
        if self.keys:
            return json.dumps({"event": "dtmf", "dtmf": self.keys.pop(0)})
        piece, self._speech = self._speech[:160], self._speech[160:]
        payload = base64.b64encode(piece.ljust(160, b"\xff")).decode()
        return json.dumps({"event": "media", "media": {"payload": payload}})

    async def send(self, text):
        self.sent.append(json.loads(text))


STARTS = {
    "twilio": {
        "event": "start",
        "start": {"streamSid": "MZ1", "customParameters": {"to": "+1555"}},
    },
    "telnyx": {
        "event": "start",
        "stream_id": "S1",
        "start": {"to": "+1555", "media_format": {"encoding": "PCMU"}},
    },
    "plivo": {"event": "start", "start": {"streamId": "P1", "callId": "C1"}},
}


@pytest.mark.parametrize("carrier", STARTS)
async def test_a_carrier_call_is_answered_and_cleared_when_interrupted(office, question, carrier):
    socket = FakeSocket(STARTS[carrier])

    told = {"plivo": "+1555"}.get(carrier, "")  # its start message does not say the number
    call = asyncio.create_task(CarrierCalls(office.answer).take(carrier, socket, told))
    await until(lambda: any(m["event"] in ("media", "playAudio") for m in socket.sent))
    await asyncio.sleep(1.0)  # the greeting is being said
    socket.say(question)
    await until(lambda: any(m["event"].startswith("clear") for m in socket.sent))
    await until(lambda: office.turns("user") and len(office.turns("assistant")) > 1)
    socket.stopped = True
    await asyncio.wait_for(call, 5)
    assert office.numbers == ["+1555"]
    assert office.conversations[0].ended.is_set()


async def test_keys_that_a_carrier_tells_of_are_one_message(office):
    socket = FakeSocket(STARTS["twilio"])
    call = asyncio.create_task(CarrierCalls(office.answer).take("twilio", socket))
    await until(lambda: socket.sent)
    socket.keys = ["junk", *({"digit": digit} for digit in "4217")]
    await until(lambda: office.turns("user"))
    assert office.turns("user") == ["4217"]
    socket.stopped = True
    await asyncio.wait_for(call, 5)


@pytest.mark.parametrize(
    ("reached", "reason"),
    [(None, "transferred"), (True, "transferred"), (False, "the caller hung up")],
)
async def test_a_carrier_that_does_not_come_back_leaves_nothing_behind(
    office, monkeypatch, reached, reason
):
    monkeypatch.setattr("pipelines.phone.carrier_call.RINGS_S", 0)
    monkeypatch.setattr("pipelines.phone.carrier_call._NEWS_WITHIN_S", 0.5)
    office.persona = parse_yaml(PRACTICE, Persona, name="practice.yaml")
    calls, socket = CarrierCalls(office.answer), FakeSocket(STARTS["twilio"])
    call = asyncio.create_task(calls.take("twilio", socket, key="k"))
    await until(lambda: socket.sent)
    socket.keys = [{"digit": "1"}]
    await asyncio.wait_for(call, 15)
    assert calls.to_dial("k") == "sip:doctor@127.0.0.2"
    if reached is not None:
        assert calls.dialled("k", reached=reached) is not reached
    await until(lambda: not calls.to_dial("k"))
    assert office.conversations[0].end_reason == reason


async def test_a_carrier_is_answered_in_the_law_that_the_webhook_asked_for(office):
    start = STARTS["telnyx"]["start"] | {"media_format": {"encoding": "PCMA"}}  # as in Europe
    socket = FakeSocket(STARTS["telnyx"] | {"start": start})
    call = asyncio.create_task(CarrierCalls(office.answer).take("telnyx", socket))
    silence = base64.b64encode(g711.encode(np.zeros(160, np.float32), "PCMU")).decode()
    await until(lambda: any(m["media"]["payload"] == silence for m in socket.sent))
    socket.stopped = True
    await asyncio.wait_for(call, 5)


async def test_a_carrier_that_begins_wrong_is_told_what_is_missing(office):
    calls = CarrierCalls(office.answer)
    start = STARTS["telnyx"]["start"] | {"media_format": {"encoding": "G722"}}
    with pytest.raises(ParleyError, match="G722"):
        await calls.take("telnyx", FakeSocket(STARTS["telnyx"] | {"start": start}))
    with pytest.raises(ParleyError, match="streamSid"):
        await calls.take("twilio", FakeSocket({"event": "start", "start": {}}))
    for start in ("text", {"streamSid": 7}, {"streamSid": "MZ1", "customParameters": "text"}):
        with pytest.raises(ParleyError, match="start message is malformed"):
            await calls.take("twilio", FakeSocket({"event": "start", "start": start}))
    with pytest.raises(ParleyError, match="Known: twilio"):
        await calls.take("acme", FakeSocket({}))


async def test_a_probe_that_sends_junk_and_leaves_begins_no_call(office):
    class Probe:
        messages = iter(["{junk", "[" * 60_000, None])

        async def receive(self):
            return next(self.messages)

    with pytest.raises(ParleyError, match="hung up before the call began"):
        await CarrierCalls(office.answer).take("twilio", Probe())
    assert not office.numbers
