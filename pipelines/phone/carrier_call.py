"""Calls over carriers' websockets: the sound both ways, and callers who are put through.

A carrier puts a caller through by itself once the websocket is closed: it asks what to do next, is
told whom to dial, and comes back with another websocket when nobody could be reached. Meanwhile the
conversation waits.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import numpy as np

from common.errors import ParleyError
from pipelines.conversation import Conversation
from pipelines.media.pace import Pace
from pipelines.phone import g711
from pipelines.phone.carriers import CallDetails, Dialect, Socket, begin, read_message
from pipelines.phone.line import PhoneLine
from pipelines.tasks import Tasks

_SAID_LAW = "PCMU"  # what the webhook asks every carrier to take
_CARRIER_DELAY_MS = 150.0  # what a carrier buffers and its network takes, when it sends no marks
RINGS_S = 30  # for so long a carrier lets it ring
_NEWS_WITHIN_S = 15.0  # a carrier that has said nothing so long after that has reached somebody

ToScreen = Callable[[Any], None]
Answer = Callable[[str, ToScreen], Awaitable[Conversation]]


class CarrierCalls:
    """Holds carriers' calls, and keeps those that are being put through."""

    def __init__(self, answer: Answer):
        """Create it.

        Args:
            answer: Given the called number and the caller's screen, a conversation that is not started.
        """
        self._answer = answer
        self._away: dict[str, CarrierCall] = {}
        self._tasks = Tasks()

    async def take(self, carrier: str, socket: Socket, called: str = "", key: str = "") -> None:
        """Hold a call over one websocket: until either side hangs up, or it is put through.

        Args:
            carrier: A key of `DIALECTS`.
            socket: Open websocket.
            called: Number that was called, as the webhook heard it, for a carrier that does not repeat it.
            key: What the webhook calls this call; the same when the carrier comes back with it.

        Raises:
            ParleyError: The carrier is unknown or does not begin as it should, or nobody can answer.
        """
        dialect, details = await begin(carrier, socket)
        call = self._away.pop(key, None)
        if call is not None:
            call.waiting.cancel()
        else:
            call = await self._open(dialect, details.called or called)
        try:
            await call.run(details, socket)
        finally:
            if call.to_dial:
                self._away[key] = call
                call.waiting = self._tasks.start(self._wait(key, call), "carrier call put through")
            else:
                await call.conversation.close()

    def to_dial(self, key: str) -> str:
        """Whom the carrier is to dial now for a caller; empty for nobody: the call is over."""
        call = self._away.get(key)
        return call.to_dial if call is not None else ""

    def dialled(self, key: str, *, reached: bool) -> bool:
        """The carrier has dialled; returns whether it is to bring the caller back."""
        call = self._away.get(key)
        if call is None or call.conversation.ended.is_set():
            return False
        call.dialled(reached=reached)
        return not reached

    async def _open(self, dialect: Dialect, called: str) -> CarrierCall:
        call = CarrierCall(dialect)
        call.conversation = conversation = await self._answer(called, call.on_event)
        conversation.set_put_through(call.put_through)
        conversation.set_downstream_ms(_CARRIER_DELAY_MS)
        try:
            await conversation.start()
        except BaseException:
            await conversation.close()
            raise
        conversation.greet()
        return call

    async def _wait(self, key: str, call: CarrierCall) -> None:
        """Close a call when the caller has been put through, or is gone."""
        with suppress(TimeoutError):
            await asyncio.wait_for(call.conversation.ended.wait(), RINGS_S + 2 * _NEWS_WITHIN_S)
        del self._away[key]
        call.conversation.end("the caller hung up")
        await call.conversation.close()


class CarrierCall:
    """One call, over one websocket after the other.

    Attributes:
        conversation: Who talks.
        to_dial: Whom the caller is being put through to; empty while the agent has the call.
        waiting: Ends the call if the carrier does not bring it back.
    """

    conversation: Conversation
    waiting: asyncio.Task[None]
    _details: CallDetails
    _socket: Socket

    def __init__(self, dialect: Dialect):
        self.to_dial = ""
        self._dialect = dialect
        self._leaves = asyncio.Event()
        self._reached: asyncio.Future[bool] = asyncio.Future()
        self._tasks = Tasks()

    def on_event(self, message: Any) -> None:
        """The agent was cut off: what the carrier still holds must not be heard."""
        data = message.get("data") if isinstance(message, dict) else None
        data = data if isinstance(data, dict) else {}
        if (data.get("event"), data.get("by")) == ("agent_cut", "caller"):
            clear = json.dumps(self._dialect.clear(self._details.stream))
            self._tasks.start(self._socket.send(clear), "carrier clear")

    async def put_through(self, address: str) -> None:
        """Leave the line to the carrier, which dials.

        Raises:
            ParleyError: Nobody could be reached; the carrier brings the caller back.
        """
        self.to_dial, self._reached = address, asyncio.Future()
        self._leaves.set()
        with suppress(TimeoutError):  # a failure would have been told of by then
            if not await asyncio.wait_for(self._reached, RINGS_S + _NEWS_WITHIN_S):
                raise ParleyError("The carrier reached nobody.")

    def dialled(self, *, reached: bool) -> None:
        """The carrier tells whether somebody was reached."""
        if not self._reached.done():
            self._reached.set_result(reached)

    async def run(self, details: CallDetails, socket: Socket) -> None:
        """Listen and speak until one side hangs up, or the caller is put through."""
        self._details, self._socket, self.to_dial = details, socket, ""
        self._leaves.clear()
        line = PhoneLine(self.conversation)
        self._tasks.start(self._speak(line), "carrier clock")
        listening = self._tasks.start(self._listen(line), "carrier messages")
        ended = self._tasks.start(self.conversation.ended.wait(), "carrier call")
        leaving = self._tasks.start(self._leaves.wait(), "carrier call put through")
        await asyncio.wait({listening, ended, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():  # the last words are on their way to the caller's ear
            await asyncio.sleep(_CARRIER_DELAY_MS / 1000)
        if not self.to_dial:
            self.conversation.end("the caller hung up")
        await self._tasks.cancel()

    async def _listen(self, line: PhoneLine) -> None:
        while (text := await self._socket.receive()) is not None:
            message = read_message(text)
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


def _digit(message: dict[str, Any]) -> str:
    dtmf = message.get("dtmf")
    return str(dtmf.get("digit", "")) if isinstance(dtmf, dict) else ""
