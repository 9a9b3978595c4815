"""One browser's WebRTC connection: an audio line both ways and a channel for messages.

The wire is that of pipecat's SmallWebRTC transport, so its stock clients connect as well; offers are
answered on aiortc directly, which keeps what people type out of the log and audio off the event loop.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pipecat.transports.smallwebrtc.connection  # noqa: F401 - keeps SCTP packets inside small MTUs
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpCodecCapability,
    RTCRtpSender,
    RTCSessionDescription,
    rtcsctptransport,
)
from aiortc.sdp import candidate_from_sdp
from loguru import logger

from common.errors import ParleyError
from pipelines.media.ice import require_candidates
from pipelines.media.microphone import Microphone, install
from pipelines.media.opus import ask_for_speech
from pipelines.media.speaker import Speaker

_MOST_QUEUED = 200
_LONGEST_MESSAGE = 64_000
_MOST_MESSAGES_PER_S = 100
_CONNECT_S = 30.0
_GONE_S = 20.0  # browsers notice a dead line within ten, and a page tries again for as long
_STALLED_S = 1.5  # a live line brings sound every 20 ms, or at least the page's ping every second

# One lost message holds up all that follow: aiortc would send it again after three seconds at first,
# later after one. These are RFC 9260's first guess, and the least that Chromium waits for.
rtcsctptransport.SCTP_RTO_INITIAL = 1.0
# More than a receiver may hold an acknowledgement back.
rtcsctptransport.SCTP_RTO_MIN = 0.4  # type: ignore[assignment]


class PeerUser(Protocol):
    """Who is on our end of the line."""

    def hear(self, pcm: np.ndarray) -> None:
        """20 ms from the caller: float32 [320] at 16 kHz."""

    def pull(self, n_samples: int) -> np.ndarray | None:
        """The next samples for the caller: float32 at 24 kHz, or None."""

    def on_connected(self) -> None:
        """Audio flows; may be told again after a reconnection."""

    def on_message(self, message: dict[str, Any]) -> None:
        """A JSON object came over the data channel."""

    def on_lost(self, reason: str) -> None:
        """The caller is gone for good."""


class Peer:
    """A connection that a browser offered.

    Attributes:
        id: What the browser calls it in later requests.
        microphone: The caller's incoming audio; None before the first offer.
        junk: Messages that were ignored: not JSON, too long, too many.
    """

    def __init__(self, user: PeerUser, ice_servers: Sequence[RTCIceServer] = ()):
        """Create it inside a running event loop.

        Args:
            user: Our end of the line.
            ice_servers: STUN and TURN servers.
        """
        self.id = uuid.uuid4().hex
        self.microphone: Microphone | None = None
        self.junk = 0
        self._user = user
        self._ice_servers = list(ice_servers)
        self._pc: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._speaker: Speaker | None = None
        self._answering = asyncio.Lock()
        self._queue: deque[str] = deque(maxlen=_MOST_QUEUED)
        self._loop = asyncio.get_running_loop()
        self._last_message_s = self._loop.time()
        self._second = (0, 0)
        self._counted = (0, 0)
        self._give_up: asyncio.TimerHandle | None = None

    async def answer(self, sdp: str, kind: str, *, restart: bool = False) -> dict[str, str]:
        """Answer an offer: the first, a later one on the same connection, or one that starts anew.

        Returns:
            `sdp`, `type` and `pc_id`.

        Raises:
            ParleyError: The offer is no SDP offer, has no Opus, names no address that can be
                reached, or no path to us exists.
        """
        async with self._answering:  # offers on one id are answered one after the other
            return await self._answer(sdp, kind, restart)

    async def _answer(self, sdp: str, kind: str, restart: bool) -> dict[str, str]:
        if self._pc is None or restart:
            await self._replace_connection()
        pc = self._pc
        assert pc is not None
        try:
            await pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type=kind))
            _keep_audio_alone(pc)
            _require_remote_candidates(pc, sdp)
            await pc.setLocalDescription(await pc.createAnswer())
        except ParleyError:
            raise
        except Exception as error:  # aiortc raises whatever its parser stumbled over
            raise ParleyError(
                f"The offer cannot be answered: {type(error).__name__}.",
                "Send the SDP offer of a browser with an audio track, Opus among its codecs.",
            ) from error
        require_candidates(pc.localDescription.sdp)
        answer = ask_for_speech(pc.localDescription.sdp)
        return {"sdp": answer, "type": "answer", "pc_id": self.id}

    async def add_candidates(self, candidates: Sequence[dict[str, Any]]) -> None:
        """Take in candidates that trickle: `candidate`, `sdpMid`, `sdpMLineIndex` each.

        Raises:
            ParleyError: One of them is malformed, or the connection is closed.
        """
        async with self._answering:  # while an offer is answered the connection may be replaced
            pc = self._pc
        if pc is None:
            raise ParleyError("The call is over.", "Start a new one.")
        for told in candidates:
            await _add_candidate(pc, told)

    def send(self, message: Any) -> None:
        """Send a JSON message, or keep it until the channel opens."""
        text = json.dumps(message, separators=(",", ":"))
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(text)
        else:
            self._queue.append(text)

    def spare_the_line(self) -> None:
        """Send less sound over this connection from now on."""
        if self._speaker is not None:
            self._speaker.spare_the_line()

    async def quality(self) -> dict[str, float]:
        """Jitter and round trip (ms) of the line and its loss (percent) since last asked, if known.

        `sent_loss_percent` is the loss of what was sent, as the other side last reported it.
        """
        found: dict[str, float] = {}
        if self._pc is not None:
            for entry in (await self._pc.getStats()).values():
                if entry.type == "inbound-rtp":
                    loss = self._lost_since(entry.packetsReceived, entry.packetsLost)
                    found["loss_percent"] = 100.0 * loss
                    found["jitter_ms"] = entry.jitter / 48.0
                elif entry.type == "remote-inbound-rtp" and entry.roundTripTime is not None:
                    found["rtt_ms"] = 1000.0 * entry.roundTripTime
                    found["sent_loss_percent"] = 100.0 * entry.fractionLost / 256
        return {name: round(value, 1) for name, value in found.items()}

    def _lost_since(self, received: int, lost: int) -> float:
        """The share of the packets due since last asked that did not come; late ones even it out."""
        before, self._counted = self._counted, (received, lost)
        due = received + lost - sum(before)
        return max(0, lost - before[1]) / max(1, due)

    async def close(self) -> None:
        """Hang up. Idempotent."""
        pc, self._pc = self._pc, None
        self._cancel_giving_up()
        if pc is not None:
            pc.remove_all_listeners()
            await pc.close()

    async def _replace_connection(self) -> None:
        await self.close()
        config = RTCConfiguration(self._ice_servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self._pc = pc = RTCPeerConnection(config)
        self._channel = None
        self._counted = (0, 0)
        # Before the offer is read: what is agreed on then is what stays.
        self._speaker = Speaker(self._pull, self._on_tick)
        audio = pc.addTransceiver(self._speaker)
        audio.setCodecPreferences(_opus())
        self.microphone = install(audio.receiver, self._user.hear)
        pc.on("datachannel", self._on_channel)
        pc.on("connectionstatechange", lambda: self._on_state(pc))
        self._give_up = self._loop.call_later(
            _CONNECT_S, self._user.on_lost, "the connection was never made"
        )

    @property
    def _silent_s(self) -> float:
        """How long nothing at all has come from the caller."""
        assert self.microphone is not None
        return min(self._loop.time() - self._last_message_s, self.microphone.quiet_s)

    def _on_tick(self) -> None:
        if self._silent_s > _GONE_S:
            self._user.on_lost("the caller vanished")
        elif self._silent_s <= _STALLED_S and self.microphone is not None:
            self.microphone.tick()

    def _pull(self, n_samples: int) -> np.ndarray | None:
        """What the caller is to hear. On a dead line the conversation stands still: nobody would."""
        return self._user.pull(n_samples) if self._silent_s <= _STALLED_S else None

    def _on_state(self, pc: RTCPeerConnection) -> None:
        if pc is not self._pc:
            return
        if pc.connectionState == "connected":
            self._cancel_giving_up()
            self._user.on_connected()
        elif pc.connectionState in ("failed", "closed"):
            hung_up = pc.connectionState == "closed"
            self._user.on_lost("the caller hung up" if hung_up else "the connection failed")

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._on_message)
        while self._queue:
            channel.send(self._queue.popleft())

    def _on_message(self, raw: str | bytes) -> None:
        self._last_message_s = self._loop.time()
        if isinstance(raw, str) and raw.startswith("ping"):
            return
        message = None if self._too_much(raw) else _json_object(raw)
        if message is None:
            self.junk += 1
            return
        try:
            self._user.on_message(message)
        except Exception as error:  # whatever a client sends concerns its own call only
            logger.warning(f"A client's message could not be handled: {type(error).__name__}")

    def _too_much(self, raw: str | bytes) -> bool:
        second = int(self._last_message_s)
        count = self._second[1] + 1 if self._second[0] == second else 1
        self._second = (second, count)
        return len(raw) > _LONGEST_MESSAGE or count > _MOST_MESSAGES_PER_S

    def _cancel_giving_up(self) -> None:
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None


async def _add_candidate(pc: RTCPeerConnection, told: dict[str, Any]) -> None:
    line = str(told.get("candidate") or "").removeprefix("candidate:")
    try:
        candidate = candidate_from_sdp(line) if line else None
        if candidate is not None:
            candidate.sdpMid = told.get("sdpMid", told.get("sdp_mid"))
            candidate.sdpMLineIndex = told.get("sdpMLineIndex", told.get("sdp_mline_index"))
        await pc.addIceCandidate(candidate)
    except Exception as error:
        raise ParleyError("A candidate is malformed.", "Send it as browsers do.") from error


def _require_remote_candidates(pc: RTCPeerConnection, sdp: str) -> None:
    """Tell a caller without usable addresses so: aiortc would look for none of ours either."""
    lines = (line.receiver.transport.transport for line in pc.getTransceivers())
    if "a=end-of-candidates" in sdp and not any(ice.getRemoteCandidates() for ice in lines):
        raise ParleyError(
            "The offer names no network address that could be reached.",
            "Send the candidates that the browser found, or trickle them.",
        )


def _keep_audio_alone(pc: RTCPeerConnection) -> None:
    audio, *others = pc.getTransceivers()
    if audio.mid is None:
        raise ParleyError("The offer has no audio.", "Allow the microphone and call again.")
    for transceiver in others:
        transceiver.direction = "inactive"


def _opus() -> list[RTCRtpCodecCapability]:
    """All that our speaker speaks."""
    codecs = RTCRtpSender.getCapabilities("audio").codecs
    return [codec for codec in codecs if codec.mimeType.lower() == "audio/opus"]


def _json_object(raw: str | bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
