"""Callers who are put through: over SIP, with a softphone that is asked to call somebody else."""

import asyncio
import shutil

import pytest

from agent.persona import Persona
from common.yamlfile import parse_yaml
from tests.fakes.phone import Phone
from tests.phone.office import PRACTICE, loudness, until

pytestmark = pytest.mark.skipif(
    not (shutil.which("flite") and shutil.which("espeak-ng")),
    reason="needs flite and espeak-ng (apt)",
)

ANNOUNCED = "I will put you through to the doctor."
SORRY = "Nobody answers there."


@pytest.fixture
def caller():
    return "sip:+4930555@pbx.example"


@pytest.fixture
async def phone(exchange, office, caller):
    office.persona = parse_yaml(PRACTICE, Persona, name="practice.yaml")
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        phone.caller = caller
        await phone.dial()
        await until(lambda: loudness(phone.heard) > 0.01)
        await until(lambda: office.conversations[0].greeted)
        yield phone
        office.conversations[0].end("the test is over")
        await until(lambda: not exchange.calls)


def outcomes(office):
    return [event["done"] for event in office.events if event["event"] == "transfer"]


async def test_a_caller_is_put_through_when_the_announcement_has_been_heard(
    exchange, office, phone
):
    phone.press("1")
    await until(lambda: phone.referred)
    assert office.turns("assistant")[-1] == ANNOUNCED
    refer = phone.referred[0]
    assert refer.get("refer-to") == "<sip:doctor@127.0.0.2>"
    assert refer.get("referred-by") == refer.get("contact")
    phone.tell("SIP/2.0 100 Trying\r\n")
    await asyncio.sleep(0.2)
    assert not phone.hung_up.is_set()
    phone.tell("SIP/2.0 200 OK\r\n", cseq=3)
    await until(phone.hung_up.is_set)
    await until(lambda: not exchange.calls)
    assert outcomes(office) == [True]
    assert office.conversations[0].end_reason == "transferred"
    assert phone.answers[-2:] == [200, 200]


async def test_a_number_is_called_where_the_caller_belongs(phone):
    phone.press("2")
    await until(lambda: phone.referred)
    assert phone.referred[0].get("refer-to") == "<sip:+33123456789@pbx.example>"


@pytest.mark.parametrize("caller", ["sip:anonymous@anonymous.invalid", "tel:+4930555"])
async def test_who_withholds_a_number_is_put_through_where_the_call_came_from(phone):
    phone.press("2")
    await until(lambda: phone.referred)
    host, port = phone._sip.get_extra_info("sockname")
    assert phone.referred[0].get("refer-to") == f"<sip:+33123456789@{host}:{port}>"


@pytest.mark.parametrize("failure", ["refused", "busy", "nothing heard", "unanswered"])
async def test_a_caller_who_cannot_be_put_through_is_told_and_may_try_again(
    office, phone, monkeypatch, failure
):
    monkeypatch.setattr("pipelines.phone.sip_referral._FIRST_NEWS_S", 0.5)
    monkeypatch.setattr("pipelines.phone.sip_wire._T1_S", 0.05)
    phone.takes_referrals = {"refused": 603, "unanswered": 0}.get(failure, 202)
    phone.press("1")
    await until(lambda: phone.referred)
    if failure == "busy":
        phone.tell("SIP/2.0 486 Busy Here\r\n")
    await until(lambda: SORRY in office.turns("assistant"))
    assert outcomes(office) == [False]
    phone.takes_referrals = 202
    asked = len(phone.referred)
    phone.press("1")
    await until(lambda: len(phone.referred) > asked)
    phone.tell("SIP/2.0 200 OK\r\n", cseq=3)
    await until(phone.hung_up.is_set)
    assert outcomes(office) == [False, True]


async def test_while_a_caller_is_put_through_the_conversation_stands_still(office, phone, question):
    phone.press("1")
    await until(lambda: phone.referred)
    at = office.conversations[0]._listener.at
    phone.say(question)
    await asyncio.sleep(1.5)
    assert office.conversations[0]._listener.at == at
    phone.tell("SIP/2.0 480 Nobody\r\n")
    await until(lambda: SORRY in office.turns("assistant"))


async def test_who_hangs_up_while_being_put_through_has_hung_up(exchange, office, phone):
    phone.press("1")
    await until(lambda: phone.referred)
    phone.hang_up()
    await until(lambda: not exchange.calls)
    assert office.conversations[0].end_reason == "the caller hung up"
    assert not outcomes(office)


async def test_who_speaks_during_the_announcement_is_not_put_through(office, phone, question):
    phone.press("3")
    await until(lambda: any("put you through" in str(event) for event in office.events))
    phone.say(question)
    await until(lambda: len(office.turns("user")) > 1)
    await until(lambda: len(office.turns("assistant")) > 2)
    assert not phone.referred
