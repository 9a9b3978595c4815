from __future__ import annotations

import asyncio
import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
from aiortc import RTCPeerConnection
from aiortc.codecs import get_capabilities

from common.errors import ConfigError, ParleyError
from pipelines.media import microphone as microphone_module
from pipelines.media.conceal import Concealer
from pipelines.media.ice import ice_servers, require_candidates
from pipelines.media.looplag import LoopLag
from pipelines.media.microphone import FRAME_SAMPLES, Microphone, install
from pipelines.media.opus import OpusDecoder, OpusEncoder, silent_payload
from pipelines.media.pace import Pace
from pipelines.media.speaker import Speaker


def tone(n_samples: int, rate_hz: int, hz: float = 220.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(n_samples) / rate_hz)).astype(np.float32)


def opus_packets(seconds: float) -> list[bytes]:
    encoder = OpusEncoder()
    pcm = tone(int(24_000 * seconds), 24_000)
    return [encoder.encode(pcm[i : i + 480]) for i in range(0, len(pcm), 480)]


def rtp(index: int, payload: bytes, ssrc: int = 1) -> SimpleNamespace:
    return SimpleNamespace(
        sequence_number=index & 0xFFFF,
        timestamp=index * 960 & 0xFFFFFFFF,
        payload_type=96,
        ssrc=ssrc,
        _data=payload,
    )


OPUS = SimpleNamespace(name="opus", clockRate=48_000)


async def listen(packets: list[SimpleNamespace]) -> tuple[list[np.ndarray], Microphone]:
    frames: list[np.ndarray] = []
    microphone = Microphone({96: OPUS}, frames.append)
    for packet in packets:
        microphone.add(packet)
    await settle()
    return frames, microphone


async def settle() -> None:
    await asyncio.get_running_loop().run_in_executor(microphone_module.media_thread(), lambda: None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_every_packet_becomes_one_frame_of_20_ms():
    frames, _ = await listen([rtp(i, p) for i, p in enumerate(opus_packets(1.0))])
    assert len(frames) == 50
    assert all(frame.shape == (FRAME_SAMPLES,) and frame.dtype == np.float32 for frame in frames)
    assert np.std(np.concatenate(frames)[3200:]) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


async def test_lost_packets_are_concealed_so_that_time_stays_true():
    payloads = opus_packets(1.0)
    kept = [rtp(i, p) for i, p in enumerate(payloads) if i not in (20, 30, 31)]
    frames, microphone = await listen(kept)
    assert len(frames) == 50
    assert microphone.concealed_samples == 3 * FRAME_SAMPLES
    assert microphone.jitter.lost == 3
    # The tone goes on where packets are missing, and while Opus recovers: no hole.
    assert min(float(np.std(frame)) for frame in frames[18:36]) > 0.05


async def test_junk_in_the_audio_does_not_stop_it():
    payloads = opus_packets(0.4)
    packets = [rtp(i, p) for i, p in enumerate(payloads)]
    packets[5] = rtp(5, b"\xff\xff\xff")
    packets[9] = rtp(9, b"")
    frames, _ = await listen(packets)
    assert len(frames) == len(payloads)


async def test_a_quiet_line_still_tells_the_time_and_is_not_counted_twice():
    frames: list[np.ndarray] = []
    microphone = Microphone({96: OPUS}, frames.append)
    payloads = opus_packets(1.0)
    microphone.add(rtp(0, payloads[0]))
    await settle()
    microphone._last_arrival_s -= 1.0
    for _ in range(10):
        microphone.tick()
    await settle()
    assert len(frames) == 11
    after_pause = rtp(1, payloads[16])  # a sender that pauses skips timestamps, not packets
    after_pause.timestamp = 16 * 960
    microphone.add(after_pause)  # 15 packets of time are missing, 10 have been told
    await settle()
    assert len(frames) == 17


async def test_a_new_sender_on_the_same_line_is_heard():
    payloads = opus_packets(0.2)
    first = [rtp(i + 60_000, p) for i, p in enumerate(payloads)]
    second = [rtp(i, p, ssrc=2) for i, p in enumerate(payloads)]
    frames, _ = await listen(first + second)
    assert len(frames) == 2 * len(payloads)


async def test_the_seam_in_aiortc_is_where_we_think_it_is():
    """Fails when a new aiortc moves its jitter buffer: then media/microphone.py must follow."""
    connection = RTCPeerConnection()
    try:
        receiver = connection.addTransceiver("audio").receiver
        microphone = install(receiver, lambda frame: None)
        assert receiver._RTCRtpReceiver__jitter_buffer is microphone
        assert any(c.mimeType == "audio/opus" for c in get_capabilities("audio").codecs)
    finally:
        await connection.close()


def test_a_receiver_without_the_seam_is_refused_with_a_cure():
    with pytest.raises(ParleyError, match="pyproject"):
        install(object(), lambda frame: None)


def test_concealment_continues_a_voice_and_then_fades_to_silence():
    concealer = Concealer(16_000)
    concealer.heard(tone(1600, 16_000))
    filled = concealer.fill(1600)
    continued = tone(1920, 16_000)[1600:]
    assert np.corrcoef(filled[:320], continued)[0, 1] > 0.95
    assert np.abs(filled[1000:]).max() == 0.0


def test_concealment_in_pieces_fades_as_in_one():
    whole, pieces = Concealer(16_000), Concealer(16_000)
    for concealer in (whole, pieces):
        concealer.heard(tone(1600, 16_000))
    filled = np.concatenate([pieces.fill(320) for _ in range(5)])
    np.testing.assert_allclose(filled, whole.fill(1600), atol=0.02)


def test_a_silent_packet_decodes_to_silence():
    decoder = OpusDecoder()
    pcm = np.concatenate(
        [f.to_ndarray().reshape(-1) for _ in range(5) for f in decoder.decode(silent_payload())]
    )
    assert np.abs(pcm).max() <= 2


async def test_the_speaker_keeps_an_absolute_schedule_and_codes_what_it_pulls():
    pcm = tone(24_000, 24_000)
    ticks = []
    position = 0

    def pull(n_samples: int) -> np.ndarray | None:
        nonlocal position
        position += n_samples
        return pcm[position - n_samples : position] if position <= 4_800 else None

    speaker = Speaker(pull, lambda: ticks.append(asyncio.get_running_loop().time()))
    packets = [await speaker.recv() for _ in range(25)]
    assert [p.pts for p in packets] == [960 * i for i in range(25)]
    assert ticks[-1] - ticks[0] > 24 * 0.020 - 0.012  # later only when the machine was busy
    assert bytes(packets[-1]) == silent_payload()
    decoder = OpusDecoder()
    heard = np.concatenate(
        [f.to_ndarray().reshape(-1) for p in packets for f in decoder.decode(bytes(p))]
    )
    assert np.std(heard[2_000:9_000] / 32768) == pytest.approx(0.3 / np.sqrt(2), rel=0.15)
    assert np.abs(heard[-4_800:]).max() < 50


async def test_a_speaker_that_spares_the_line_says_the_same_in_half_as_many_packets():
    pcm = tone(24_000, 24_000)
    pulls = itertools.count()
    speaker = Speaker(lambda n: pcm[next(pulls) * n :][:n], lambda: None)
    before = [await speaker.recv() for _ in range(5)]
    speaker.spare_the_line()
    after = [await speaker.recv() for _ in range(10)]
    assert [p.pts for p in before + after] == [960 * i for i in [*range(5), *range(5, 25, 2)]]
    decoder = OpusDecoder()
    heard = np.concatenate(
        [f.to_ndarray().reshape(-1) for p in before + after for f in decoder.decode(bytes(p))]
    )
    assert len(heard) == 25 * 960
    assert np.std(heard[7_000:] / 32768) == pytest.approx(0.3 / np.sqrt(2), rel=0.15)


async def test_a_stalled_loop_makes_the_speaker_skip_not_burst():
    speaker = Speaker(lambda n: None, lambda: None)
    await speaker.recv()
    speaker._pace._due_s -= 1.0
    loop = asyncio.get_running_loop()
    before_s = loop.time()
    for _ in range(4):
        await speaker.recv()
    assert loop.time() - before_s > 0.055


async def test_loop_lag_sees_a_blocked_loop():
    lag = LoopLag()
    lag.start()
    await asyncio.sleep(0.05)
    time.sleep(0.12)  # noqa: ASYNC251 - blocking the loop is what is measured
    await asyncio.sleep(0.05)
    lag.stop()
    assert lag.percentile_ms(100) > 80
    assert not lag.known  # a tenth of a second is too little to judge by


def test_ice_servers_are_read_from_words(monkeypatch):
    monkeypatch.setenv("PARLEY_ICE_SERVERS", "stun:s.example:3478 turn:me:se@cret@t.example:3478")
    stun, turn = ice_servers()
    assert (stun.urls, stun.username) == ("stun:s.example:3478", None)
    assert (turn.urls, turn.username, turn.credential) == ("turn:t.example:3478", "me", "se@cret")


@pytest.mark.parametrize("spec", ["example.org:3478", "stun:", "turn:t.example:3478"])
def test_a_wrong_ice_server_is_refused_without_telling_its_secret(spec):
    with pytest.raises(ConfigError):
        ice_servers([spec])


def test_an_answer_without_candidates_is_explained():
    with pytest.raises(ParleyError, match="network address"):
        require_candidates("v=0\r\na=end-of-candidates\r\n")
    require_candidates("a=candidate:1 1 udp 1 10.0.0.1 5000 typ host\r\n")


async def test_a_stall_is_skipped_not_caught_up():
    pace, loop = Pace(), asyncio.get_running_loop()
    for _ in range(3):
        await pace.turn()
    time.sleep(0.3)  # noqa: ASYNC251 - the event loop stalls
    await pace.turn()
    began_s = loop.time()
    for _ in range(5):
        await pace.turn()
    assert loop.time() - began_s > 0.09
