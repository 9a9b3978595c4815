"""What a SIP request must hold to be taken, and where its answer goes."""

import re
import shutil

import pytest

from pipelines.phone.sip_message import SipMessage, way_back
from tests.fakes.phone import Phone
from tests.phone.office import until

needs_a_voice = pytest.mark.skipif(
    not (shutil.which("flite") and shutil.which("espeak-ng")),
    reason="needs flite and espeak-ng (apt)",
)


@pytest.mark.parametrize(
    ("via", "port"),
    [
        ("SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK1", 5060),
        ("SIP/2.0/UDP 10.0.0.7;branch=z9hG4bK1", 5060),
        ("SIP/2.0/UDP pbx.example:5070;branch=z9hG4bK1", 5070),
        ("SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK1;rport", 41_000),
        ("SIP/2.0/UDP 10.0.0.7:99999;branch=z9hG4bK1", 41_000),
        ("junk", 41_000),
        ("", 41_000),
    ],
)
def test_an_answer_goes_to_the_port_that_the_request_names(via, port):
    request = SipMessage("OPTIONS sip:a@b SIP/2.0", [("via", via)])
    assert way_back(request, ("10.0.0.9", 41_000)) == ("10.0.0.9", port)


async def test_a_phone_that_sends_from_another_port_than_it_listens_on_is_answered(exchange):
    address = exchange.wire.host, exchange.wire.port
    async with Phone(address) as phone, Phone(address) as ear:
        port = ear._sip.get_extra_info("sockname")[1]
        asked = SipMessage(
            "OPTIONS sip:agent@127.0.0.1 SIP/2.0",
            [
                ("via", f"SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK1"),
                ("from", "<sip:a@127.0.0.1>;tag=a"),
                ("to", "<sip:agent@127.0.0.1>"),
                ("call-id", "asked"),
                ("cseq", "1 OPTIONS"),
            ],
        )
        phone._sip.sendto(asked.encode(), address)
        await until(lambda: ear.answers == [200])
        assert not phone.answers


async def test_an_extension_that_must_be_known_is_named_as_unknown(exchange, office):
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        phone.more_headers = [("require", "100rel, precondition")]
        assert await phone.dial() == 420
        assert phone.answer.get("unsupported") == "100rel, precondition"
    assert not office.conversations


@needs_a_voice
async def test_a_request_of_another_dialog_does_not_touch_the_call(exchange, office):
    async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
        await phone.dial()
        ours = phone._to
        for to in (ours + "0", re.sub(";tag=.*", "", ours)):
            phone._to = to
            phone.answers.clear()
            phone.hang_up()
            await until(lambda: phone.answers == [481])
        assert not office.conversations[0].ended.is_set()
        phone._to = ours
        phone.hang_up()
        await until(lambda: not exchange.calls)


@needs_a_voice
async def test_the_sound_is_asked_for_on_an_even_port(exchange):
    for _ in range(4):
        async with Phone((exchange.wire.host, exchange.wire.port)) as phone:
            await phone.dial()
            assert phone._media[1] % 2 == 0
            phone.hang_up()
            await until(lambda: not exchange.calls)
