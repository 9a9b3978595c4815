"""Telephone codes, SIP messages and the session descriptions they carry."""

import numpy as np
import pytest

from pipelines.phone import g711
from pipelines.phone.sip_message import (
    SipMessage,
    parse,
    read_offer,
    user_of,
    write_answer,
    write_offer,
)

INVITE = (
    b"INVITE sip:agent@127.0.0.1:5070 SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 127.0.0.1:5081;branch=z9hG4bK1;rport\r\n"
    b'f: "Ann" <sip:+4930123@127.0.0.1>;tag=1\r\nt: <sip:agent@127.0.0.1>\r\n'
    b"i: abc\r\nCSeq: 1 INVITE\r\nSubject: folded\r\n line\r\nc: application/sdp\r\n\r\n"
    b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 18 8 0 101\r\n"
    b"a=rtpmap:18 G729/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
def test_every_code_survives_a_round_trip(law):
    codes = bytes(range(256))
    again = g711.encode(g711.decode(codes, law), law)
    # μ-law has two codes for zero; all others are one to one.
    np.testing.assert_array_equal(g711.decode(again, law), g711.decode(codes, law))
    assert sum(a != b for a, b in zip(codes, again, strict=True)) <= 1


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
def test_speech_level_tones_keep_37_db(law):
    tone = 0.25 * np.sin(np.arange(8_000) * 2 * np.pi * 440 / 8_000).astype(np.float32)
    error = g711.decode(g711.encode(tone, law), law) - tone
    assert 10 * np.log10(np.mean(tone**2) / np.mean(error**2)) > 36


def test_known_codes_of_the_recommendation():
    assert g711.decode(b"\xff\x7f", "PCMU").tolist() == [0.0, 0.0]
    assert g711.decode(b"\x80", "PCMU")[0] == pytest.approx(8031 / 8192)
    assert g711.decode(b"\xd5", "PCMA")[0] == pytest.approx(1 / 4096)
    assert g711.decode(b"\xaa", "PCMA")[0] == pytest.approx(4032 / 4096)
    assert g711.encode(np.array([9.0, -9.0], np.float32), "PCMU") == b"\x80\x00"


def test_compact_and_folded_headers_are_read():
    message = parse(INVITE)
    assert message.method == "INVITE"
    assert message.get("call-id") == "abc"
    assert message.get("subject") == "folded line"
    assert user_of(message.get("from")) == "+4930123"
    assert user_of(message.start) == "agent"


@pytest.mark.parametrize(
    "junk", [b"", b"\0\0", b"GET / HTTP/1.1\r\n\r\n", b"INVITE sip:a SIP/2.0\r\n\r\n", b"\xff" * 50]
)
def test_what_is_no_sip_is_nothing(junk):
    assert parse(junk) is None


def test_the_first_g711_codec_is_taken_with_its_telephone_events():
    offer = read_offer(parse(INVITE).body)
    assert (offer.host, offer.port, offer.payload_type, offer.law) == ("127.0.0.1", 4000, 8, "PCMA")
    assert offer.dtmf_type == 101
    answer = read_offer(write_answer(offer, "127.0.0.2", 5000, 1, 1))
    assert (answer.port, answer.law, answer.dtmf_type) == (5000, "PCMA", 101)


@pytest.mark.parametrize(
    ("host", "media"),
    [
        ("1.2.3.4", "4000 RTP/AVP 18"),
        ("1.2.3.4", "99999 RTP/AVP 0"),
        ("1.2.3.4", "0 RTP/AVP 0"),
        ("1.2.3.4", "4000 RTP/SAVP 0"),
        ("1.2.3.4", "4000 RTP/AVP 0\r\nc=IN IP6 ::1"),
        ("1.2.3.4", "4000 RTP/AVP 300"),
        ("1.2.3.4", f"4000 RTP/AVP {'3' * 5_000}"),
        ("pbx.example", "4000 RTP/AVP 0"),
        ("::1", "4000 RTP/AVP 0"),
    ],
)
def test_an_offer_that_cannot_be_served_is_declined(host, media):
    sdp = f"v=0\r\nc=IN IP4 {host}\r\nm=audio {media}\r\na=rtpmap:300 PCMU/8000\r\n"
    assert read_offer(sdp) is None


def test_a_stream_says_for_itself_where_it_goes_and_what_its_numbers_mean():
    offer = read_offer(
        "v=0\r\nc=IN IP4 10.0.0.1\r\na=inactive\r\n"
        "m=video 5000 RTP/AVP 96\r\nc=IN IP4 10.0.0.2\r\na=rtpmap:96 PCMU/8000\r\n"
        "m=audio 4000 RTP/AVP 96 97\r\nc=IN IP4 10.0.0.3\r\na=sendrecv\r\n"
        "a=rtpmap:96 G726-32/8000\r\na=rtpmap:97 PCMA/8000\r\n"
    )
    assert (offer.host, offer.port, offer.payload_type) == ("10.0.0.3", 4000, 97)
    assert offer.direction == "sendrecv"


def test_every_offered_stream_is_answered_in_its_place():
    offer = read_offer(
        "v=0\r\nc=IN IP4 10.0.0.1\r\nm=video 5000 RTP/AVP 96\r\n"
        "m=audio 4000 RTP/SAVP 0\r\nm=audio 4002 RTP/AVP 0\r\nm=image 4004 udptl t38\r\n"
    )
    assert offer.port == 4002
    ours = "127.0.0.2", 6000, 1, 1
    for types, description in (
        ("0", write_answer(offer, *ours)),
        ("0 8 101", write_offer(offer, *ours)),
    ):
        assert [line for line in description.split("\r\n") if line.startswith("m=")] == [
            "m=video 0 RTP/AVP 96",
            "m=audio 0 RTP/SAVP 0",
            f"m=audio 6000 RTP/AVP {types}",
            "m=image 0 udptl t38",
        ]


@pytest.mark.parametrize(
    ("host", "offered", "listens", "answered"),
    [
        ("10.0.0.1", "", True, "sendrecv"),
        ("10.0.0.1", "a=sendonly\r\n", False, "recvonly"),
        ("10.0.0.1", "a=recvonly\r\n", True, "sendonly"),
        ("10.0.0.1", "a=inactive\r\n", False, "inactive"),
        ("0.0.0.0", "", False, "recvonly"),
        ("0.0.0.0", "a=recvonly\r\n", False, "inactive"),
    ],
)
def test_hold_is_answered_with_its_mirror_image(host, offered, listens, answered):
    offer = read_offer(f"v=0\r\nc=IN IP4 {host}\r\nm=audio 4000 RTP/AVP 0\r\n{offered}")
    assert offer.listens == listens
    assert f"a={answered}\r\n" in write_answer(offer, "127.0.0.2", 5000, 1, 1)


def test_no_description_is_no_offer():
    assert read_offer("") is None


def test_messages_state_their_length_in_bytes():
    data = SipMessage("SIP/2.0 200 OK", [("call-id", "x")], "größe").encode()
    assert b"Call-ID: x\r\nContent-Length: 7\r\n" in data
