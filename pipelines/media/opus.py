"""Opus as Parley uses it: mono speech, straight from and to the rates the models work at.

aiortc codes 48 kHz stereo at 96 kbit/s. Speech needs neither: mono at 32 kbit/s with in-band FEC
sounds the same, survives loss better and costs a third. Where even that is too much for the line,
24 kbit/s in packets of 40 ms save another third: half of what goes over the wire was their headers.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from asr.interface import SAMPLE_RATE_HZ

RTP_CLOCK_HZ = 48_000
SPEECH_RATE_HZ = 24_000
FRAME_SAMPLES = 480  # 20 ms at SPEECH_RATE_HZ
_FRAME_TICKS = 960
_BIT_RATE = 32_000
_SPARING_BIT_RATE = 24_000
_SPARING_FRAMES = 2  # a packet
_OPUS_LINE = re.compile(r"a=rtpmap:(\d+) opus/48000/2\r\n")


class OpusEncoder:
    """Turns 20 ms of float32 at 24 kHz into one packet, or 40 ms when it spares the line.

    Attributes:
        frames: How many frames of 20 ms make a packet.
    """

    def __init__(self, *, sparing: bool = False) -> None:
        self.frames = _SPARING_FRAMES if sparing else 1
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, AudioCodecContext)
        codec.bit_rate = _SPARING_BIT_RATE if sparing else _BIT_RATE
        codec.format = av.AudioFormat("s16")
        codec.layout = av.AudioLayout("mono")
        codec.sample_rate = SPEECH_RATE_HZ
        codec.time_base = Fraction(1, SPEECH_RATE_HZ)
        codec.options = {
            "application": "voip",
            "frame_duration": str(20 * self.frames),
            "fec": "1",
            "packet_loss": "10" if sparing else "5",  # at this rate 5 would leave FEC out
            "compression_level": "5",  # indistinguishable from 10 at this rate, half the time
        }
        self._codec = codec
        self._samples = 0

    def encode(self, pcm: np.ndarray) -> bytes:
        """float32 [480 * frames] in [-1, 1] → the payload of one RTP packet."""
        pcm16 = np.clip(pcm * 32768.0, -32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm16[None], format="s16", layout="mono")
        frame.sample_rate = SPEECH_RATE_HZ
        frame.pts = self._samples
        self._samples += len(pcm)
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


class OpusDecoder:
    """Turns packets into mono audio frames at 48 kHz, whatever the sender's channel count."""

    def __init__(self) -> None:
        codec = av.CodecContext.create("libopus", "r")
        assert isinstance(codec, AudioCodecContext)
        codec.format = av.AudioFormat("s16")
        codec.layout = av.AudioLayout("mono")
        codec.sample_rate = RTP_CLOCK_HZ
        self._codec = codec

    def decode(self, payload: bytes) -> list[av.AudioFrame]:
        """One packet's audio.

        Raises:
            av.FFmpegError: The payload is not Opus.
        """
        # An empty packet would tell FFmpeg that the stream is over.
        return self._codec.decode(av.Packet(payload)) if payload else []


@cache
def silent_payload(*, sparing: bool = False) -> bytes:
    """A packet of silence, encoded once per process: an idle call costs no encoding at all."""
    encoder = OpusEncoder(sparing=sparing)
    silence = np.zeros(FRAME_SAMPLES * encoder.frames, np.float32)
    return [encoder.encode(silence) for _ in range(5)][-1]


def ask_for_speech(sdp: str) -> str:
    """Our answer, telling the caller's encoder that sound above 8 kHz would not be listened to.

    Chromium then sends 20 kbit/s instead of 32 (RFC 7587, `maxplaybackrate`).
    """
    return _OPUS_LINE.sub(rf"\g<0>a=fmtp:\1 maxplaybackrate={SAMPLE_RATE_HZ}\r\n", sdp)


def rtp_packet(payload: bytes, index: int) -> av.Packet:
    """A packet that begins with the `index`-th 20 ms of a track, as aiortc's sender takes it."""
    packet = av.Packet(payload)
    packet.pts = index * _FRAME_TICKS
    packet.time_base = Fraction(1, RTP_CLOCK_HZ)
    return packet
