"""The caller's microphone: RTP packets in, 20 ms of 16 kHz mono out, every 20 ms accounted for.

It takes the place of aiortc's jitter buffer on a receiver, and decodes on the media thread instead
of a thread per call. That place is a private attribute (aiortc offers no other, its issue 543), so
`install` checks that it is there and a test fails when it moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import av
import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.codecs import get_decoder
from aiortc.jitterbuffer import JitterFrame
from loguru import logger

from asr.interface import SAMPLE_RATE_HZ
from common.errors import ParleyError
from pipelines.media.conceal import Concealer
from pipelines.media.jitter import AudioPacket, JitterBuffer, signed_distance
from pipelines.media.opus import OpusDecoder
from pipelines.media.threads import media_thread

FRAME_SAMPLES = SAMPLE_RATE_HZ // 50
_BUFFER_SEAM = "_RTCRtpReceiver__jitter_buffer"
_CODECS_SEAM = "_RTCRtpReceiver__codecs"
_LONGEST_FILL_S = 2.0
_QUIET_LINE_S = 0.2

Deliver = Callable[[np.ndarray], None]


class RtpLike(Protocol):
    """What the receiver hands over: aiortc's `RtpPacket` with the depayloaded data."""

    sequence_number: int
    timestamp: int
    payload_type: int
    ssrc: int
    _data: bytes


class Microphone:
    """One caller's incoming audio.

    Attributes:
        jitter: The jitter buffer, for its counters.
        concealed_samples: Samples at 16 kHz that were made up because nothing came.
    """

    def __init__(self, codecs: dict[int, Any], deliver: Deliver):
        """Create it inside a running event loop.

        Args:
            codecs: aiortc's negotiated codecs by payload type.
            deliver: Called on the event loop with each 20 ms: float32 [320] at 16 kHz.
        """
        self.jitter = JitterBuffer()
        self.concealed_samples = 0
        self._codecs = codecs
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._ssrc: int | None = None
        self._last_arrival_s = self._loop.time()
        self._decoding = _Decoding()

    def add(self, packet: RtpLike) -> tuple[bool, None]:
        """Aiortc's jitter buffer interface; always answers "no frame for you": we decode ourselves."""
        self._last_arrival_s = self._loop.time()
        if packet.ssrc != self._ssrc:
            self._ssrc, self.jitter = packet.ssrc, JitterBuffer()
        due = self.jitter.add(
            AudioPacket(packet.sequence_number, packet.timestamp, packet._data, packet.payload_type)
        )
        if due:
            codec = self._codecs[packet.payload_type]
            media_thread().submit(self._decode, due, codec)
        return False, None

    @property
    def quiet_s(self) -> float:
        """How long no packet has come."""
        return self._loop.time() - self._last_arrival_s

    def tick(self) -> None:
        """Keep time while nothing arrives (a muted line, a dead network); call every 20 ms."""
        if self.quiet_s > _QUIET_LINE_S:
            media_thread().submit(self._fill_quiet_line)

    def _decode(self, due: list[AudioPacket], codec: Any) -> None:
        try:
            self._hand_over(self._decoding.decode(due, codec))
        except Exception as error:  # a packet of junk must not silence the call
            logger.warning(f"An audio packet could not be decoded: {error}")

    def _fill_quiet_line(self) -> None:
        self._hand_over(self._decoding.silence(FRAME_SAMPLES))

    def _hand_over(self, frames: list[np.ndarray]) -> None:
        self.concealed_samples = self._decoding.concealed_samples
        if frames and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver_all, frames)

    def _deliver_all(self, frames: list[np.ndarray]) -> None:
        for frame in frames:
            self._deliver(frame)


class _Decoding:
    """The part that lives on the media thread: decode, resample, conceal, cut into 20 ms."""

    def __init__(self) -> None:
        self.concealed_samples = 0
        self._decoder: Any = None
        self._codec_name = ""
        self._swr = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        self._concealer = Concealer(SAMPLE_RATE_HZ)
        self._expected_ticks: int | None = None
        self._fill_credit_samples = 0
        self._pending: np.ndarray | None = None

    def decode(self, packets: list[AudioPacket], codec: Any) -> list[np.ndarray]:
        if codec.name != self._codec_name:
            self._codec_name = codec.name
            self._decoder = OpusDecoder() if codec.name.lower() == "opus" else get_decoder(codec)
        for packet in packets:
            self._conceal_gap(packet, codec.clockRate)
            self._take(self._audio_of(packet), codec.clockRate, packet.timestamp)
        return self._whole_frames()

    def silence(self, n_samples: int) -> list[np.ndarray]:
        """Time that passed with nothing on the line; a gap found later is shorter by it."""
        self._fill_credit_samples += n_samples
        self._append(self._concealer.fill(n_samples))
        self.concealed_samples += n_samples
        return self._whole_frames()

    def _audio_of(self, packet: AudioPacket) -> list[av.AudioFrame]:
        if isinstance(self._decoder, OpusDecoder):
            return self._decoder.decode(packet.payload)
        return self._decoder.decode(JitterFrame(data=packet.payload, timestamp=packet.timestamp))

    def _conceal_gap(self, packet: AudioPacket, clock_hz: int) -> None:
        if self._expected_ticks is not None:
            gap_ticks = signed_distance(packet.timestamp, self._expected_ticks, bits=32)
            missing = gap_ticks * SAMPLE_RATE_HZ // clock_hz - self._fill_credit_samples
            if 0 < missing <= _LONGEST_FILL_S * SAMPLE_RATE_HZ:
                self._append(self._concealer.fill(missing))
                self.concealed_samples += missing
        self._fill_credit_samples = 0

    def _take(self, frames: list[av.AudioFrame], clock_hz: int, timestamp: int) -> None:
        self._expected_ticks = timestamp
        for frame in frames:
            self._expected_ticks += frame.samples * clock_hz // frame.sample_rate
            frame.pts = None
            for resampled in self._swr.resample(frame):
                pcm = resampled.to_ndarray().reshape(-1)
                self._concealer.heard(pcm)
                self._append(pcm)

    def _append(self, pcm: np.ndarray) -> None:
        if self._pending is None:
            # The filter's first output is a little short; without this every later frame would
            # have to wait for its successor, 20 ms for the rest of the call.
            self._pending = np.zeros(-len(pcm) % FRAME_SAMPLES, np.float32)
        self._pending = np.concatenate([self._pending, pcm])

    def _whole_frames(self) -> list[np.ndarray]:
        if self._pending is None:
            return []
        count = len(self._pending) // FRAME_SAMPLES
        whole = self._pending[: count * FRAME_SAMPLES]
        self._pending = self._pending[count * FRAME_SAMPLES :]
        return list(whole.reshape(count, FRAME_SAMPLES))


def install(receiver: RTCRtpReceiver, deliver: Deliver) -> Microphone:
    """Put a `Microphone` where the receiver's jitter buffer is; before media flows.

    Raises:
        ParleyError: This aiortc keeps its jitter buffer elsewhere.
    """
    if not hasattr(receiver, _BUFFER_SEAM) or not hasattr(receiver, _CODECS_SEAM):
        raise ParleyError(
            "This version of aiortc keeps its jitter buffer elsewhere.",
            "Install the version that pyproject.toml names.",
        )
    microphone = Microphone(getattr(receiver, _CODECS_SEAM), deliver)
    setattr(receiver, _BUFFER_SEAM, microphone)
    return microphone
