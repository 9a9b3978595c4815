"""Media streams of phone carriers: base64 G.711 in JSON over a websocket, one dialect each.

Twilio, Telnyx and Plivo send the caller's audio every 20 ms and play what they are sent; audio they
hold but have not played is dropped by `clear` when the agent is interrupted.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass
from typing import Any, Protocol

import numpy as np

from common.errors import ParleyError
from pipelines.conversation import Conversation
from pipelines.media.pace import Pace
from pipelines.phone import g711
from pipelines.phone.line import PhoneLine
from pipelines.tasks import Tasks

_SAID_LAW = "PCMU"  # what the webhook asks every carrier to take
_CARRIER_DELAY_MS = 150.0  # what a carrier buffers and its network takes, when it sends no marks
_LONGEST_MESSAGE = 1 << 16
_START_LIMIT_S = 10.0

ToScreen = Callable[[Any], None]
Answer = Callable[[str, ToScreen], Awaitable[Conversation]]


class Socket(Protocol):
    """The part of a websocket that a call needs."""

    async def receive(self) -> str | None:
        """The next text message; None when the other side hung up."""

    async def send(self, text: str) -> None:
        """Send a text message."""


@dataclass(frozen=True, slots=True)
class CallDetails:
    """What the carrier says of a call.

    Attributes:
        stream: The carrier's name for the stream.
        called: Number that was called; empty when the carrier does not say.
        law: `PCMU` or `PCMA`, of the caller's audio: what the caller's own network speaks.
    """

    stream: str
    called: str
    law: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one carrier words its messages.

    Attributes:
        read_start: From its `start` message, what it says of the call.
        media: A message that plays a payload.
        clear: A message that drops what has not been played.
    """

    read_start: Callable[[dict[str, Any]], CallDetails]
    media: Callable[[str, str], dict[str, Any]]
    clear: Callable[[str], dict[str, Any]]


def _twilio_start(message: dict[str, Any]) -> CallDetails:
    start = message["start"]
    wished = start.get("customParameters", {})
    return CallDetails(start["streamSid"], wished.get("to") or "", "PCMU")


def _telnyx_start(message: dict[str, Any]) -> CallDetails:
    start = message["start"]
    law = start.get("media_format", {}).get("encoding", "PCMU")
    return CallDetails(message["stream_id"], start.get("to") or "", law)


def _plivo_start(message: dict[str, Any]) -> CallDetails:
    start = message["start"]
    return CallDetails(start["streamId"], "", "PCMU")


DIALECTS = {
    "twilio": Dialect(
        _twilio_start,
        lambda stream, payload: {
            "event": "media",
            "streamSid": stream,
            "media": {"payload": payload},
        },
        lambda stream: {"event": "clear", "streamSid": stream},
    ),
    "telnyx": Dialect(
        _telnyx_start,
        lambda _stream, payload: {"event": "media", "media": {"payload": payload}},
        lambda _stream: {"event": "clear"},
    ),
    "plivo": Dialect(
        _plivo_start,
        lambda _stream, payload: {
            "event": "playAudio",
            "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": payload},
        },
        lambda stream: {"event": "clearAudio", "streamId": stream},
    ),
}


async def take_carrier_call(carrier: str, socket: Socket, answer: Answer, called: str = "") -> None:
    """Hold one call over a carrier's websocket until either side hangs up.

    Args:
        carrier: A key of `DIALECTS`.
        socket: Open websocket.
        answer: Given the called number and the caller's screen, a conversation that is not started.
        called: Number that was called, as the webhook heard it, for a carrier that does not repeat it.

    Raises:
        ParleyError: The carrier is unknown or does not begin as it should, or nobody can answer.
    """
    dialect = DIALECTS.get(carrier)
    if dialect is None:
        raise ParleyError(f"{carrier} is no carrier known here.", f"Known: {', '.join(DIALECTS)}.")
    details = await asyncio.wait_for(_details(dialect, socket), _START_LIMIT_S)
    call = _CarrierCall(dialect, details, socket)
    call.conversation = conversation = await answer(details.called or called, call.on_event)
    try:
        await conversation.start()
        await call.run()
    finally:
        await conversation.close()


async def _details(dialect: Dialect, socket: Socket) -> CallDetails:
    while (text := await socket.receive()) is not None:
        message = _message(text)
        if message.get("event") == "start":
            return _read_start(dialect, message)
    raise ParleyError("The carrier hung up before the call began.")


def _read_start(dialect: Dialect, message: dict[str, Any]) -> CallDetails:
    cure = "Is it the carrier in the URL?"
    try:
        details = dialect.read_start(message)
    except KeyError as error:
        raise ParleyError(f"The carrier's start message lacks {error}.", cure) from error
    except (TypeError, AttributeError) as error:  # a text where an object should be
        raise ParleyError("The carrier's start message is malformed.", cure) from error
    if not all(isinstance(told, str) for told in astuple(details)):
        raise ParleyError("The carrier's start message is malformed.", cure)
    if details.law not in g711.LAWS:
        raise ParleyError(
            f"The carrier sends {details.law}, which is not spoken here.",
            f"Let that number use {' and '.join(g711.LAWS)} only.",
        )
    return details


def _message(text: str) -> dict[str, Any]:
    """A message, or an empty one for what is not JSON: junk must not end a call."""
    if len(text) > _LONGEST_MESSAGE:
        return {}
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _digit(message: dict[str, Any]) -> str:
    dtmf = message.get("dtmf")
    return str(dtmf.get("digit", "")) if isinstance(dtmf, dict) else ""


class _CarrierCall:
    conversation: Conversation

    def __init__(self, dialect: Dialect, details: CallDetails, socket: Socket):
        self._dialect = dialect
        self._details = details
        self._socket = socket
        self._tasks = Tasks()

    def on_event(self, message: Any) -> None:
        """The agent was cut off: what the carrier still holds must not be heard."""
        data = message.get("data") if isinstance(message, dict) else None
        data = data if isinstance(data, dict) else {}
        if (data.get("event"), data.get("by")) == ("agent_cut", "caller"):
            clear = json.dumps(self._dialect.clear(self._details.stream))
            self._tasks.start(self._socket.send(clear), "carrier clear")

    async def run(self) -> None:
        """Listen and speak until one side hangs up."""
        line = PhoneLine(self.conversation)
        self.conversation.set_downstream_ms(_CARRIER_DELAY_MS)
        self.conversation.greet()
        self._tasks.start(self._speak(line), "carrier clock")
        listening = self._tasks.start(self._listen(line), "carrier messages")
        ended = self._tasks.start(self.conversation.ended.wait(), "carrier call")
        await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
        self.conversation.end("the caller hung up")
        await self._tasks.cancel()

    async def _listen(self, line: PhoneLine) -> None:
        while (text := await self._socket.receive()) is not None:
            message = _message(text)
            match message.get("event"):
                case "media":
                    line.hear(self._pcm(message))
                case "dtmf":
                    line.key(_digit(message))
                case "stop":
                    return

    def _pcm(self, message: dict[str, Any]) -> np.ndarray:
        try:
            payload = base64.b64decode(message["media"]["payload"], validate=True)
        except (KeyError, TypeError, ValueError):
            return np.zeros(0, np.float32)
        return g711.decode(payload, self._details.law)

    async def _speak(self, line: PhoneLine) -> None:
        """One message every 20 ms: the carrier plays them in order, so nothing may pile up there."""
        pace = Pace()
        while True:
            await pace.turn()
            payload = base64.b64encode(g711.encode(line.pull(), _SAID_LAW)).decode()
            await self._socket.send(json.dumps(self._dialect.media(self._details.stream, payload)))
