"""A caller on a real WebRTC connection, with an absolute 20 ms schedule and one clock for both sides.

Second 0 is the first sample handed to the sender. What is said is known to the sample, what is
heard is placed by arrival and media time, so reactions can be measured from the caller's chair.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import MediaStreamError

from evals.gate import levels_dbfs
from evals.heard import SAMPLE_RATE_HZ, Arrival, HeardTimeline

FRAME_S = 0.020
FRAME_SAMPLES = int(SAMPLE_RATE_HZ * FRAME_S)
# aiortc lets a frame out when the next one has come, so the caller's ear is this late. It makes up
# for the caller's mouth, which hands a frame over when it begins; a microphone does when it is full.
# Checked by tests against a known agent.
DOWNLINK_S = 0.020
_AUDIBLE_DBFS = -45.0

Offer = Callable[[str, str], Awaitable[dict[str, str]]]


def use_short_buffer(pc: RTCPeerConnection) -> None:
    """Let frames out as they come: aiortc's own jitter buffer would blur what is measured by 80 ms."""
    receiver = pc.getTransceivers()[0].receiver
    setattr(receiver, "_RTCRtpReceiver__jitter_buffer", JitterBuffer(capacity=4, prefetch=0))  # noqa: B010


class Mouth(MediaStreamTrack):
    """The caller's side of the line: silence, and whatever is said, frame by frame on schedule."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.began_s: float | None = None  # monotonic time of sample 0
        self.sent: list[np.ndarray] = []
        self.lateness_s: list[float] = []
        self._pending = np.zeros(0, np.float32)
        self.began = asyncio.Event()

    def say(self, pcm: np.ndarray) -> float:
        """Speak from the next frame on (float32, 48 kHz); returns the second it will begin."""
        begin_s = (len(self.sent) * FRAME_SAMPLES + len(self._pending)) / SAMPLE_RATE_HZ
        self._pending = np.concatenate([self._pending, pcm.astype(np.float32)])
        return begin_s

    def hush(self) -> None:
        """Say nothing of what is still to be said."""
        self._pending = np.zeros(0, np.float32)

    @property
    def speaking(self) -> bool:
        """Whether something is still to be said."""
        return len(self._pending) > 0

    async def recv(self) -> av.AudioFrame:
        """Hand over frame k at t0 + k·20 ms; never relative to the last one, so no drift."""
        index = len(self.sent)
        if self.began_s is None:
            self.began_s = time.monotonic()
            self.began.set()
        due = self.began_s + index * FRAME_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        self.lateness_s.append(max(0.0, time.monotonic() - due))
        pcm = self._pending[:FRAME_SAMPLES]
        self._pending = self._pending[FRAME_SAMPLES:]
        pcm = np.pad(pcm, (0, FRAME_SAMPLES - len(pcm)))
        self.sent.append(pcm)
        frame = av.AudioFrame.from_ndarray(
            (np.clip(pcm, -1, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = index * FRAME_SAMPLES
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE_HZ)
        return frame


@dataclass(frozen=True, slots=True)
class Health:
    """Whether this machine could be trusted during a call.

    Attributes:
        sent_late_p99_ms: How late the caller's own frames left.
        arrived_late_p99_ms: How late the agent's frames came, against the best recent one.
    """

    sent_late_p99_ms: float
    arrived_late_p99_ms: float

    @property
    def ok(self) -> bool:
        """A sick machine measures itself, not the agent: such a run is void."""
        return self.sent_late_p99_ms <= 10 and self.arrived_late_p99_ms <= 60


@dataclass
class Caller:
    """One call. `async with Caller(offer) as caller:` connects and hangs up."""

    offer: Offer
    mouth: Mouth = field(default_factory=Mouth)
    timeline: HeardTimeline = field(default_factory=HeardTimeline)
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    async def __aenter__(self) -> Caller:
        self._pc = RTCPeerConnection()
        self._arrived = asyncio.Condition()
        self._pc.addTransceiver(self.mouth, direction="sendrecv")
        self._channel = self._pc.createDataChannel("chat")
        self._channel.on("message", self._on_message)
        self._channel.on("open", self._on_open)
        self._tasks: list[asyncio.Task[None]] = []
        self._pc.on("track", self._on_track)
        await self._pc.setLocalDescription(await self._pc.createOffer())
        local = self._pc.localDescription
        try:
            answer = await self.offer(local.sdp, local.type)
            use_short_buffer(self._pc)
            remote = RTCSessionDescription(answer["sdp"], answer["type"])
            await self._pc.setRemoteDescription(remote)
            await asyncio.wait_for(self.mouth.began.wait(), 10)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pc.close()

    @property
    def now_s(self) -> float:
        """Seconds on the caller's clock."""
        assert self.mouth.began_s is not None
        return time.monotonic() - self.mouth.began_s

    def send(self, message: dict[str, Any]) -> None:
        """Send an app message over the data channel."""
        self._channel.send(json.dumps(message))

    async def wait_audible(self, audible: bool, *, for_s: float, timeout_s: float) -> bool:
        """Wait until the agent has been heard (or silent) without a break for `for_s`.

        Returns:
            False when that did not happen within `timeout_s`.
        """
        deadline = self.now_s + timeout_s
        run_s = 0.0
        seen = len(self.timeline.arrivals)
        while self.now_s < deadline:
            async with self._arrived:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), max(0.01, deadline - self.now_s))
            for arrival in self.timeline.arrivals[seen:]:
                seen += 1
                level = levels_dbfs(arrival.pcm, SAMPLE_RATE_HZ).max(initial=-120)
                run_s = run_s + FRAME_S if (level >= _AUDIBLE_DBFS) == audible else 0.0
                if run_s >= for_s:
                    return True
        return False

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def recording(self) -> tuple[np.ndarray, np.ndarray]:
        """(what was said, what was heard), float32 at 48 kHz on one clock, equally long."""
        said = np.concatenate(self.mouth.sent) if self.mouth.sent else np.zeros(0, np.float32)
        return said, self.timeline.render(len(said) / SAMPLE_RATE_HZ)

    def health(self) -> Health:
        """Judge the machine over the whole call; the first second is connection set-up."""
        sent = np.array(self.mouth.lateness_s[50:] or [0.0])
        heard = self.timeline.lateness_s()[50:] if len(self.timeline.arrivals) > 50 else np.zeros(1)
        return Health(1000 * float(np.percentile(sent, 99)), 1000 * float(np.percentile(heard, 99)))

    def _on_message(self, message: str) -> None:
        with suppress(ValueError):
            self.events.append((self.now_s, json.loads(message)))

    def _on_open(self) -> None:
        self._tasks.append(asyncio.create_task(self._ping()))

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.create_task(self._listen(track)))

    async def _ping(self) -> None:
        while self._channel.readyState == "open":
            self._channel.send(f"ping: {time.time()}")
            await asyncio.sleep(1)

    async def _listen(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                arrived = time.monotonic()
                if self.mouth.began_s is None:
                    continue
                assert isinstance(frame, av.AudioFrame)
                assert frame.pts is not None
                assert frame.time_base is not None
                channels = len(frame.layout.channels)
                pcm = frame.to_ndarray().reshape(-1, channels).mean(1) / 32768
                at_s = arrived - self.mouth.began_s
                self.timeline.add(
                    Arrival(at_s, float(frame.pts * frame.time_base), pcm.astype(np.float32))
                )
                async with self._arrived:
                    self._arrived.notify_all()
