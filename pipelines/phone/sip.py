"""A SIP endpoint (RFC 3261, UDP) that answers calls: point a trunk, a PBX extension or a softphone at it.

It takes calls, hands them over and hangs up; registration and TLS belong to the PBX or provider in front.
Whom it answers is decided by address: there are no passwords here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from ipaddress import IPv4Network, ip_address
from socket import socket

from loguru import logger

from common.errors import ConfigError, EngineFull, ParleyError
from pipelines.conversation import Conversation
from pipelines.phone.sip_call import SipCall
from pipelines.phone.sip_message import (
    MediaOffer,
    SipMessage,
    read_key,
    read_offer,
    tag_of,
    user_of,
    way_back,
)
from pipelines.phone.sip_wire import Address, SipWire
from pipelines.tasks import Tasks

Answer = Callable[[str], Awaitable[Conversation]]

_ALLOW = "INVITE, ACK, BYE, CANCEL, INFO, NOTIFY, OPTIONS"


class SipServer:
    """Answers INVITEs with conversations.

    Attributes:
        calls: Calls under way, by Call-ID.
        wire: Where they come in.
    """

    def __init__(
        self,
        answer: Answer,
        allowed: Sequence[IPv4Network] = (),
        admit: Callable[[], None] = lambda: None,
    ):
        """Create it; `listen` makes it reachable.

        Args:
            answer: Given the called number, a conversation that is not started.
                May raise EngineFull (busy) or ConfigError (nobody answers that number).
            allowed: Networks that may call; empty for any.
            admit: Raises EngineFull when one more call would not be taken.
        """
        self._answer = answer
        self._allowed = allowed
        self._admit = admit
        self._answers: dict[str, bytes] = {}  # by transaction
        self._unacknowledged: dict[str, asyncio.Event] = {}  # refusals and answers within calls
        self._starting: dict[str, asyncio.Task[SipCall]] = {}  # by Call-ID
        self._tasks = Tasks()
        self.calls: dict[str, SipCall] = {}
        self.wire = SipWire(self._on_message)

    async def listen(self, port: socket) -> None:
        """Answer what comes in on a UDP port, and close it in the end."""
        await self.wire.listen(port)

    async def close(self) -> None:
        """Hang up everywhere and close the port. Idempotent."""
        await asyncio.gather(*(call.hang_up() for call in list(self.calls.values())))
        await self._tasks.cancel()
        self.wire.close()

    def _on_message(self, message: SipMessage, addr: Address) -> None:
        """One message; strangers get no answer."""
        if not self._may_call(addr):
            return
        if message.is_response:
            call = self.calls.get(message.get("call-id"))
            if call is not None:
                call.hear_answer(message)
            return
        self._tasks.start(self._handle(message, way_back(message, addr)), "SIP request")

    def _may_call(self, addr: Address) -> bool:
        return not self._allowed or any(ip_address(addr[0]) in network for network in self._allowed)

    def _call_of(self, request: SipMessage) -> SipCall | None:
        """The call that a request belongs to (RFC 3261 12.2.2)."""
        call = self.calls.get(request.get("call-id"))
        return call if call is not None and call.tag == tag_of(request.get("to")) else None

    async def _handle(self, request: SipMessage, addr: Address) -> None:
        call = self._call_of(request)
        known = self._answers.get(_transaction(request))
        match request.method:
            case "INVITE" | "INFO" if known is not None:  # a retransmission
                self.wire.send(known, addr)
            case "INVITE":
                await self._invite(request, addr, call)
            case "ACK":
                waiting = self._unacknowledged.pop(_invite_of(request), None)
                if waiting is not None:
                    waiting.set()
                if call is not None:
                    call.acknowledge(request.body)
            case "BYE":
                self._reply(request, addr, 200 if call else 481)
                if call is not None:
                    await call.hear_goodbye()
            case "CANCEL":
                self._reply(request, addr, 200 if known else 481)
                if known is not None:
                    await self._cancel(request.get("call-id"))
            case "INFO":
                key = read_key(request)
                understood = 200 if key or not request.body.strip() else 415
                self._remember(request, self._reply(request, addr, understood if call else 481))
                if call is not None and key:
                    call.press(key)
            case "NOTIFY":
                self._reply(request, addr, 200 if call else 481)
                if call is not None:
                    call.hear_news(request)
            case "OPTIONS" if call is None:  # RFC 3261 11.2: as an INVITE would be answered now
                try:
                    self._admit()
                except EngineFull as full:
                    self._turn_away(request, addr, full)
                else:
                    self._reply(request, addr, 200)
            case "OPTIONS":
                self._reply(request, addr, 200)
            case _:
                self._reply(request, addr, 405)

    async def _invite(self, request: SipMessage, addr: Address, call: SipCall | None) -> None:
        call_id = request.get("call-id")
        within = bool(tag_of(request.get("to")))
        offer = read_offer(request.body)
        if within and call is None:  # of a call that is over, or from before we were started
            answer = self._reply(request, addr, 481)
        elif not within and (call_id in self.calls or call_id in self._starting):
            answer = self._reply(request, addr, 482)  # it came by two ways, 8.2.2.2
        elif extensions := request.all("require"):  # we know none, 8.2.2.3
            unsupported = "unsupported", ", ".join(extensions)
            answer = self._reply(request, addr, 420, extra=[unsupported])
        elif offer is None and request.body.strip():
            answer = self._reply(request, addr, 488)
        elif call is not None:  # hold, resume, another codec or place, or a session timer
            answer = self._reply(request, addr, 200, call.describe(offer))
        else:
            self._remember(request, self._reply(request, addr, 100))
            answer = await self._take_call(request, addr, offer)
        self._remember(request, answer)
        if call_id not in self.calls or within:  # a new call repeats its answer itself
            acknowledged = self._unacknowledged[_invite_of(request)] = asyncio.Event()
            await self.wire.repeat(answer, addr, acknowledged)
            self._unacknowledged.pop(_invite_of(request), None)

    async def _cancel(self, call_id: str) -> None:
        """Give up a call that is not set up or not acknowledged yet; afterwards it is too late."""
        starting, call = self._starting.pop(call_id, None), self.calls.get(call_id)
        if starting is not None:
            starting.cancel()
        elif call is not None and not call.acknowledged.is_set():
            await call.hear_goodbye()

    def _remember(self, request: SipMessage, answer: bytes) -> None:
        """Remember what a retransmission of the request is answered with."""
        self._answers[_transaction(request)] = answer
        if len(self._answers) > 1000:
            self._answers.pop(next(iter(self._answers)))

    async def _take_call(
        self, request: SipMessage, addr: Address, offer: MediaOffer | None
    ) -> bytes:
        call_id = request.get("call-id")
        starting = asyncio.create_task(self._open_call(request, addr, offer))
        self._starting[call_id] = starting
        try:
            call = self.calls[call_id] = await starting
        except asyncio.CancelledError:
            if call_id in self._starting:  # not by the caller: we are closing
                raise
            return self._reply(request, addr, 487)
        except ParleyError as error:
            return self._refuse(request, addr, error)
        except Exception:
            logger.exception("a phone call could not be taken")
            return self._reply(request, addr, 500)
        finally:
            self._starting.pop(call_id, None)
        answer = self._reply(request, addr, 200, call.description, call.tag)
        self._tasks.start(call.run(answer), "phone call")
        return answer

    async def _open_call(
        self, request: SipMessage, addr: Address, offer: MediaOffer | None
    ) -> SipCall:
        conversation = await self._answer(user_of(request.start))
        try:
            await conversation.start()
            over = partial(self.calls.pop, request.get("call-id"), None)
            call = SipCall(self.wire, request, addr, conversation, over)
            await call.open(offer)
        except BaseException:
            await conversation.close()
            raise
        return call

    def _refuse(self, request: SipMessage, addr: Address, error: ParleyError) -> bytes:
        logger.warning("a phone call was refused: {}", error)
        if isinstance(error, EngineFull):
            return self._turn_away(request, addr, error)
        return self._reply(request, addr, 404 if isinstance(error, ConfigError) else 500)

    def _turn_away(self, request: SipMessage, addr: Address, full: EngineFull) -> bytes:
        wait = "retry-after", f"{full.retry_after_s:.0f}"
        return self._reply(request, addr, 503, extra=[wait])

    def _reply(
        self,
        request: SipMessage,
        addr: Address,
        status: int,
        body: str = "",
        tag: str = "",
        extra: Sequence[tuple[str, str]] = (),
    ) -> bytes:
        to = request.get("to")
        if not tag_of(to) and status != 100:
            to += f";tag={tag or 'parley'}"
        first, *others = request.all("via") or [""]
        first = first.replace(";rport", f";rport={addr[1]};received={addr[0]}", 1)
        headers = [("via", via) for via in (first, *others)]
        headers += [("record-route", route) for route in request.all("record-route")]
        headers += [
            ("from", request.get("from")),
            ("to", to),
            ("call-id", request.get("call-id")),
            ("cseq", request.get("cseq")),
            ("contact", self.wire.contact_towards(addr)),
            ("allow", _ALLOW),
            *extra,
        ]
        if body:
            headers.append(("content-type", "application/sdp"))
        data = SipMessage(f"SIP/2.0 {status} {_REASONS[status]}", headers, body).encode()
        self.wire.send(data, addr)
        return data


_REASONS = {
    100: "Trying",
    200: "OK",
    404: "Not Found",
    405: "Method Not Allowed",
    415: "Unsupported Media Type",
    420: "Bad Extension",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    500: "Server Internal Error",
    503: "Service Unavailable",
}


def _transaction(request: SipMessage) -> str:
    """What an INVITE, its repetitions and its CANCEL have in common (RFC 3261 17.2.3)."""
    branch = re.search(r"branch=([^;,\s]+)", request.get("via"))
    return f"{_invite_of(request)} {branch[1] if branch else ''}"


def _invite_of(request: SipMessage) -> str:
    """What an INVITE and its ACK have in common."""
    return f"{request.get('call-id')} {request.get('cseq').split()[0]}"
