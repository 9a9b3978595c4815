"""Whole phone calls on real ears and a real voice: SIP with a softphone."""

import asyncio
import re
import shutil
from ipaddress import IPv4Network

import pytest

from common.errors import ConfigError, EngineFull
from pipelines.conversation import Conversation
from pipelines.phone.line import PhoneLine
from pipelines.phone.sip import SipServer
from pipelines.phone.sip_wire import take_port
from tests.fakes.phone import Phone
from tests.phone.office import loudness, until

pytestmark = pytest.mark.skipif(
    not (shutil.which("flite") and shutil.which("espeak-ng")),
    reason="needs flite and espeak-ng (apt)",
)


@pytest.mark.parametrize("law", ["PCMA", "PCMU"])
async def test_a_phone_call_is_greeted_understood_and_answered(exchange, office, question, law):
    async with Phone((exchange.wire.host, exchange.wire.port), law=law) as phone:
        assert await phone.dial() == 200
        assert phone.answers[0] == 100
        await until(lambda: loudness(phone.heard) > 0.01)
        await until(lambda: office.conversations[0].greeted and office.conversations[0].at_rest)
        phone.junk()
        phone.say(question)
        # What exactly is understood over a phone band is the recogniser's business.
        await until(lambda: office.turns("user"))
        await until(lambda: len(office.turns("assistant")) > 1)
        phone.hang_up()
        await until(lambda: not exchange.calls)
    assert office.numbers == ["agent"]
    assert office.conversations[0].end_reason == "the caller hung up"


async def test_lost_packets_do_not_shift_the_callers_clock(exchange, office):
    heard = []
    async with Phone((exchange.wire.host, exchange.wire.port), lose_every=10) as phone:
        await phone.dial()
        await until(lambda: office.conversations and loudness(phone.heard) > 0.01)
        conversation = office.conversations[0]
        hear = conversation.hear
        conversation.hear = lambda pcm: (heard.append(len(pcm)), hear(pcm))
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(2.0)
        elapsed_s = asyncio.get_running_loop().time() - began
        phone.hang_up()
        await until(lambda: not exchange.calls)
    assert sum(heard) / 16_000 == pytest.approx(elapsed_s, abs=0.12)


async def test_keys_are_typed_and_a_repeated_invite_does_not_call_twice(exchange, office):
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        await phone.dial()
        await until(lambda: office.conversations and loudness(phone.heard) > 0.01)
        phone.press("4")
        await asyncio.sleep(0.3)
        phone.press("2")
        await until(lambda: "42" in office.turns("user"))
        await phone.dial()  # the same Call-ID and CSeq: a retransmission
        assert len(office.conversations) == 1
        phone.hang_up()
        await until(lambda: not exchange.calls)


async def test_an_invite_that_comes_by_two_ways_is_one_call(exchange, office):
    """A proxy that tried both drops one of them; that must not end the other."""
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        phone.invite()
        phone._send("INVITE", branch="way-2")
        await until(lambda: {200, 482} <= set(phone.answers))
        phone._send("CANCEL", branch="way-3")
        await until(lambda: phone.answers[-1] == 481)
        assert exchange.calls
        assert len(office.conversations) == 1
        phone.hang_up()
        await until(lambda: not exchange.calls)
    assert office.conversations[0].ended.is_set()


async def test_a_caller_who_hangs_up_while_it_rings_leaves_nothing_behind(
    exchange, office, monkeypatch
):
    begun = asyncio.Event()

    async def never_ready(_conversation):
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Conversation, "start", never_ready)
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        phone.invite()
        await begun.wait()
        phone.give_up()
        await until(lambda: 487 in phone.answers)
        assert phone.answers == [100, 200, 487]
    assert office.conversations[0].ended.is_set()
    assert not exchange.calls


async def test_a_call_that_cannot_be_set_up_is_given_up_whole(exchange, office, monkeypatch):
    async def fail(_conversation):
        raise ConnectionResetError("the recogniser is gone")

    monkeypatch.setattr(Conversation, "start", fail)
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        assert await phone.dial() == 500
    assert office.conversations[0].ended.is_set()
    assert not exchange.calls


@pytest.mark.parametrize(
    ("body", "understood"),
    [("Signal=5\r\nDuration=160\r\n", 200), ("5", 200), ("", 200), ("<sdp/>", 415)],
)
async def test_keys_may_be_told_of_beside_the_sound(exchange, office, body, understood):
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        await phone.dial()
        count = len(phone.answers)
        phone._send("INFO", body, cseq=2)
        await until(lambda: len(phone.answers) > count)
        assert phone.answers[-1] == understood
        phone._send("INFO", body, cseq=2)  # a retransmission is no second key
        if "5" in body:
            await until(lambda: "5" in office.turns("user"))
        phone.hang_up()
        await until(lambda: not exchange.calls)


async def test_an_invite_within_a_call_that_is_over_opens_no_other(exchange, office):
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        await phone.dial()
        phone.hang_up()
        await until(lambda: not exchange.calls)
        phone.invite(cseq=3)
        await until(lambda: phone.answers[-1] == 481)
    assert len(office.conversations) == 1


async def test_refusals_and_answers_within_a_call_are_repeated_until_acknowledged(
    exchange, monkeypatch
):
    monkeypatch.setattr("pipelines.phone.sip_wire._T1_S", 0.05)
    async with Phone((exchange.wire.host, exchange.wire.port), codecs="18") as phone:
        phone.acknowledges_refusals = False
        phone.invite()
        await until(lambda: phone.answers.count(488) > 2)
        phone._send("ACK", branch="INVITE")
        phone.codecs = "8"
        phone.invite(cseq=2)
        await until(lambda: 200 in phone.answers)
        phone._send("ACK", cseq=2)
        refused = phone.answers.count(488)
        phone.invite(cseq=3)
        heard = phone.answers.count(200)
        await until(lambda: phone.answers.count(200) > heard + 2)
        phone.hang_up()
        await until(lambda: not exchange.calls)
        assert phone.answers.count(488) <= refused + 1


async def test_a_proxy_that_left_no_route_is_left_out_of_the_goodbye(exchange, office):
    address = exchange.wire.host, exchange.wire.port
    async with Phone(address) as phone, Phone(address) as proxy:
        host, port = phone._sip.get_extra_info("sockname")
        proxy.contact = f"<sip:phone@{host}:{port}>"
        proxy.behind = f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK-phone"
        await proxy.dial()
        office.conversations[0].end("done")
        await asyncio.wait_for(phone.hung_up.wait(), 3)
        assert not proxy.hung_up.is_set()


async def test_a_new_invite_moves_the_sound(exchange, office):
    address = exchange.wire.host, exchange.wire.port
    async with Phone(address) as phone, Phone(address) as other:
        await phone.dial()
        await until(lambda: phone.heard)
        phone.invite(cseq=2, port=other.media_port)
        await until(lambda: other.heard)
        assert len(office.conversations) == 1


async def test_a_new_invite_changes_the_codec_and_may_hold(exchange):
    async with Phone((exchange.wire.host, exchange.wire.port), law="PCMU") as phone:
        await phone.dial()
        await until(lambda: phone.heard)
        first = phone.answer
        phone.law, phone.codecs = "PCMA", "8 101\r\na=sendonly"
        phone.invite(cseq=2)
        await until(lambda: phone.answer is not first)
        assert "RTP/AVP 8 101\r\n" in phone.answer.body
        assert "a=recvonly\r\n" in phone.answer.body
        sessions = [re.search(r"o=- (\d+) (\d+)", m.body) for m in (first, phone.answer)]
        assert sessions[0][1] == sessions[1][1]
        assert int(sessions[0][2]) + 1 == int(sessions[1][2])
        phone.hang_up()
        await until(lambda: not exchange.calls)


async def test_an_invite_that_offers_nothing_is_made_an_offer(exchange, office):
    address = exchange.wire.host, exchange.wire.port
    async with Phone(address) as phone, Phone(address) as other:
        for cseq, ear in enumerate((phone, other), start=1):
            before = phone.answer
            phone._send("INVITE", "", cseq)
            await until(lambda before=before: phone.answer is not before)
            assert "RTP/AVP 0 8 101\r\n" in phone.answer.body
            assert not ear.heard
            takes = f"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio {ear.media_port} RTP/AVP 8\r\n"
            phone._send("ACK", takes, cseq)
            await until(lambda ear=ear: loudness(ear.heard) > 0.01)
        assert len(office.conversations) == 1
        phone.hang_up()
        await until(lambda: not exchange.calls)


async def test_a_phone_that_takes_none_of_our_codecs_is_hung_up_on(exchange, office):
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        phone._send("INVITE")
        await until(lambda: phone.answer)
        phone._send("ACK", "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 18\r\n")
        await asyncio.wait_for(phone.hung_up.wait(), 3)
        await until(lambda: not exchange.calls)
    assert office.conversations[0].end_reason == "the phone speaks none of our codecs"


@pytest.mark.parametrize("goodbye", [Phone.hang_up, Phone.give_up])
async def test_a_caller_who_leaves_before_acknowledging_is_answered_no_more(
    exchange, monkeypatch, goodbye
):
    monkeypatch.setattr("pipelines.phone.sip_wire._T1_S", 0.1)
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        await phone.dial(ack=False)
        goodbye(phone)
        await until(lambda: not exchange.calls)
        count = len(phone.answers)
        await asyncio.sleep(0.5)
        assert len(phone.answers) == count


async def test_a_line_that_breaks_ends_the_call(exchange, office, monkeypatch):
    monkeypatch.delattr(PhoneLine, "pull")
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        await phone.dial()
        await asyncio.wait_for(phone.hung_up.wait(), 3)
        await until(lambda: not exchange.calls)
    assert office.conversations[0].end_reason == "the line was lost"


@pytest.mark.parametrize("exchange", ["0.0.0.0"], indirect=True)
async def test_a_server_on_all_addresses_names_the_one_that_the_caller_reaches(exchange):
    async with Phone(("127.0.0.1", exchange.wire.port)) as phone:
        assert await phone.dial() == 200
        assert phone.answer.get("contact") == f"<sip:parley@127.0.0.1:{exchange.wire.port}>"
        assert "c=IN IP4 127.0.0.1" in phone.answer.body
        await until(lambda: loudness(phone.heard) > 0.01)


async def test_the_agent_hangs_up_with_a_bye(exchange, office):
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        await phone.dial()
        await until(lambda: loudness(phone.heard) > 0.01)
        office.conversations[0].end("done")
        await asyncio.wait_for(phone.hung_up.wait(), 3)
        await until(lambda: not exchange.calls)


@pytest.mark.parametrize(
    ("refusal", "status"), [(EngineFull("full"), 503), (ConfigError("nobody"), 404)]
)
async def test_refusals_have_their_own_status(exchange, office, refusal, status):
    office.refusal = refusal
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        assert await phone.dial() == status
    assert not exchange.calls


async def test_a_proxy_that_asks_first_is_told_whether_a_call_would_be_taken(office):
    full = [EngineFull("full")]

    def admit():
        for refusal in full:
            raise refusal

    server = SipServer(office.answer, admit=admit)
    await server.listen(take_port("127.0.0.1", 0))
    async with Phone((server.wire.host, server.wire.port)) as phone:
        for status in (503, 200):
            phone._send("OPTIONS")
            await until(lambda status=status: phone.answers and phone.answers[-1] == status)
            full.clear()
    await server.close()


async def test_a_codec_we_do_not_speak_is_not_acceptable(exchange, office):
    async with Phone((exchange.wire.host, exchange.wire.port), codecs="18") as phone:
        assert await phone.dial() == 488
    assert not office.conversations


async def test_strangers_get_no_answer(office):
    server = SipServer(office.answer, [IPv4Network("10.0.0.0/8")])
    await server.listen(take_port("127.0.0.1", 0))
    async with Phone((server.wire.host, server.wire.port)) as phone:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(phone.dial(), 0.5)
    await server.close()
    assert not office.numbers
