"""Media streams of phone carriers: base64 G.711 in JSON over a websocket, one dialect each.

Twilio, Telnyx and Plivo send the caller's audio every 20 ms and play what they are sent; audio they
hold but have not played is dropped by `clear` when the agent is interrupted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any, Protocol

from common.errors import ParleyError
from pipelines.phone import g711

_LONGEST_MESSAGE = 1 << 16
_START_LIMIT_S = 10.0


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


async def begin(carrier: str, socket: Socket) -> tuple[Dialect, CallDetails]:
    """Hear out how a carrier begins.

    Raises:
        ParleyError: The carrier is unknown or does not begin as it should.
        TimeoutError: It does not begin at all.
    """
    dialect = DIALECTS.get(carrier)
    if dialect is None:
        raise ParleyError(f"{carrier} is no carrier known here.", f"Known: {', '.join(DIALECTS)}.")
    return dialect, await asyncio.wait_for(_details(dialect, socket), _START_LIMIT_S)


async def _details(dialect: Dialect, socket: Socket) -> CallDetails:
    while (text := await socket.receive()) is not None:
        message = read_message(text)
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


def read_message(text: str) -> dict[str, Any]:
    """A message, or an empty one for what is not JSON: junk must not end a call."""
    if len(text) > _LONGEST_MESSAGE:
        return {}
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
