"""Whose packets an RTP session takes, and where it sends its own."""

import asyncio
import itertools
import struct
import time
from dataclasses import replace

import numpy as np
import pytest

from pipelines.phone import rtp
from pipelines.phone.rtp import RtpSession
from pipelines.phone.sip_message import MediaOffer


class Line:
    """Remembers what was pressed and how much was heard; says silence."""

    def __init__(self):
        self.keys = ""
        self.heard_samples = self.pulled = 0

    def hear(self, pcm):
        self.heard_samples += len(pcm)

    def pull(self):
        self.pulled += 1
        return np.zeros(160, np.float32)

    def key(self, key):
        self.keys += key


class Ear(asyncio.DatagramProtocol):
    """A UDP port that counts what it hears and sends single packets."""

    def __init__(self):
        self.packets = 0
        self.kinds = []
        self.timestamps = []  # (marked, timestamp)

    @classmethod
    async def at(cls, host):
        loop = asyncio.get_running_loop()
        ear = cls()
        ear.transport, _ = await loop.create_datagram_endpoint(lambda: ear, (host, 0))
        ear.port = ear.transport.get_extra_info("sockname")[1]
        return ear

    def datagram_received(self, data, addr):
        self.packets += 1
        self.kinds.append(data[1] & 0x7F)
        self.timestamps.append((data[1] > 0x7F, int.from_bytes(data[4:8], "big")))

    def send(self, session, kind, payload=b"\xd5" * 160, timestamp=1, sequence=1, source=1):
        packet = struct.pack("!BBHII", 0x80, kind, sequence, timestamp, source) + payload
        self.transport.sendto(packet, ("127.0.0.1", session.port))


@pytest.fixture
async def call():
    """(session, its line, the caller's port, the offer that names it)."""
    caller, line, session = await Ear.at("127.0.0.1"), Line(), RtpSession()
    offer = MediaOffer("127.0.0.1", caller.port, 8, "PCMA", 101)
    await session.open("127.0.0.1", "127.0.0.1")
    session.send_to(offer)
    talking = asyncio.create_task(session.talk(line))
    await asyncio.sleep(0.1)
    yield session, line, caller, offer
    talking.cancel()
    session.close()
    caller.transport.close()


async def packets_in(seconds, *ears):
    """Whether each of the ports hears anything in that time."""
    before = [ear.packets for ear in ears]
    await asyncio.sleep(seconds)
    return [ear.packets > count for ear, count in zip(ears, before, strict=True)]


@pytest.mark.parametrize(
    ("host", "kind", "caller_speaks"),
    [("127.0.0.2", 101, False), ("127.0.0.1", 77, False), ("127.0.0.1", 101, True)],
)
async def test_strangers_neither_hear_nor_say_anything(call, host, kind, caller_speaks):
    session, line, caller, _ = call
    stranger = await Ear.at(host)
    if caller_speaks:
        caller.send(session, 8)
        await asyncio.sleep(0.1)
    stranger.send(session, kind, bytes([1, 0x80, 0, 160]))
    await asyncio.sleep(0.1)
    assert await packets_in(0.2, caller, stranger) == [True, False]
    assert line.keys == ""


async def test_audio_goes_where_the_callers_comes_from_even_when_that_moves(call, monkeypatch):
    session, line, caller, _ = call
    monkeypatch.setattr(rtp, "_MOVES_AFTER_S", 0.1)
    for key in (1, 2):
        behind_nat = await Ear.at("127.0.0.1")
        await asyncio.sleep(0.15)
        behind_nat.send(session, 101, bytes([key, 0x80, 0, 160]), timestamp=key)
        await asyncio.sleep(0.1)
        assert await packets_in(0.2, caller, behind_nat) == [False, True]
    assert line.keys == "12"


async def test_audio_goes_where_a_new_description_says_at_once(call):
    session, _, caller, offer = call
    moved = await Ear.at("127.0.0.1")
    caller.send(session, 8)
    await asyncio.sleep(0.1)
    session.send_to(offer)
    assert await packets_in(0.2, caller, moved) == [True, False]
    session.send_to(replace(offer, port=moved.port))
    caller.send(session, 8)  # it was under way
    await asyncio.sleep(0.1)
    assert await packets_in(0.2, caller, moved) == [False, True]


async def test_a_line_that_fell_silent_is_over(call, monkeypatch):
    monkeypatch.setattr(rtp, "_SILENT_LINE_S", 0.1)
    session, line, *_ = call
    await asyncio.wait_for(session.talk(line), 2)


async def test_a_held_line_says_nothing_and_may_be_silent_for_long(call, monkeypatch):
    monkeypatch.setattr(rtp, "_SILENT_LINE_S", 0.5)
    session, _, caller, offer = call
    session.send_to(replace(offer, direction="inactive"))
    await asyncio.sleep(0.1)
    assert await packets_in(0.6, caller) == [False]
    session.send_to(offer)
    assert await packets_in(0.2, caller) == [True]
    await asyncio.sleep(0.6)  # now it is missed
    assert await packets_in(0.1, caller) == [False]


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
async def test_a_conversation_stands_still_while_the_phone_holds(call, direction):
    """Music is not the caller, and what nobody would hear is not said."""
    session, line, caller, offer = call
    session.send_to(replace(offer, direction=direction))
    await asyncio.sleep(0.05)
    heard_samples, pulled = line.heard_samples, line.pulled
    for sequence in range(20):
        caller.send(session, 8, timestamp=160 * sequence, sequence=sequence)
        await asyncio.sleep(0.02)
    assert (line.heard_samples, line.pulled) == (heard_samples, pulled)
    session.send_to(offer)
    caller.send(session, 8, timestamp=160 * 20, sequence=20)
    await asyncio.sleep(0.1)
    assert line.heard_samples == heard_samples + 160
    assert line.pulled > pulled


async def test_a_new_description_may_change_the_codec(call):
    session, line, caller, offer = call
    session.send_to(replace(offer, payload_type=0, law="PCMU"))
    await asyncio.sleep(0.05)
    caller.send(session, 8)
    caller.send(session, 0, b"\xff" * 160)
    await asyncio.sleep(0.1)
    assert caller.kinds[-1] == 0
    assert line.heard_samples == 160


async def test_after_a_stall_the_timestamps_tell_of_the_gap(call):
    _, _, caller, _ = call
    time.sleep(0.3)  # noqa: ASYNC251 the stall
    await asyncio.sleep(0.1)
    pairs = itertools.pairwise(caller.timestamps)
    steps = [(marked, (now - before) % (1 << 32)) for (_, before), (marked, now) in pairs]
    assert all(marked == (step > 160) for marked, step in steps)
    assert sum(step - 160 for _, step in steps) >= 0.2 * 8_000


async def test_another_stream_counts_for_itself(call, monkeypatch):
    """As after a transfer: by the numbers of the stream before, its packets would be late."""
    session, line, caller, _ = call
    monkeypatch.setattr(rtp, "_QUIET_LINE_S", 60.0)
    caller.send(session, 8, sequence=100, timestamp=16_000)
    caller.send(session, 8, sequence=50, timestamp=8_000, source=2)
    await asyncio.sleep(0.05)
    assert line.heard_samples == 2 * 160


async def test_a_phone_that_sends_no_silence_does_not_stop_the_clock(call, monkeypatch):
    monkeypatch.setattr(rtp, "_SILENT_LINE_S", 1.0)
    session, line, caller, _ = call
    caller.send(session, 8, timestamp=0)
    for _ in range(7):
        await asyncio.sleep(0.2)
        caller.send(session, 13, payload=b"\x30")  # comfort noise: still there
    quiet_samples = line.heard_samples
    assert quiet_samples >= 160 + 0.8 * 8_000
    caller.send(session, 8, timestamp=16_000, sequence=2)
    await asyncio.sleep(0.1)
    # What stood for the silence is not heard twice; a stalled machine may have filled it all.
    assert 16_160 <= line.heard_samples <= max(16_160, quiet_samples + 0.3 * 8_000)
