"""A SIP endpoint (RFC 3261, UDP) that answers calls: point a trunk, a PBX extension or a softphone at it.

It takes calls and hangs up; registration, TLS and transfers belong to the PBX or provider in front.
Whom it answers is decided by address: there are no passwords here.
"""

from __future__ import annotations

import asyncio
import errno
import random
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, ip_address

from loguru import logger

from common.errors import ConfigError, EngineFull, ParleyError
from pipelines.conversation import Conversation
from pipelines.phone.line import PhoneLine
from pipelines.phone.rtp import RtpSession
from pipelines.phone.sip_message import (
    MediaOffer,
    SipMessage,
    address_of,
    parse,
    read_key,
    read_offer,
    user_of,
    write_answer,
    write_offer,
)
from pipelines.tasks import Tasks

Answer = Callable[[str], Awaitable[Conversation]]
Address = tuple[str, int]

_T1_S, _T2_S = 0.5, 4.0  # RFC 3261 17.1.1.1
_LINE_DELAY_MS = 60.0  # a phone's own jitter buffer
_ALLOW = "INVITE, ACK, BYE, CANCEL, INFO, OPTIONS"
_EVERYWHERE = "0.0.0.0"


def take_port(host: str, port: int) -> socket.socket:
    """Take a UDP port, before anything slow is loaded that could not be reached.

    Raises:
        ParleyError: It cannot be listened on.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise ParleyError(
            f"SIP cannot listen on {host}:{port}: {error.strerror}.",
            "Choose another port for --sip."
            if error.errno in (errno.EADDRINUSE, errno.EACCES)
            else "Check --sip: it must be an IPv4 address of this machine.",
        ) from error
    return held


class SipServer(asyncio.DatagramProtocol):
    """Answers INVITEs with conversations.

    Attributes:
        calls: Calls under way, by Call-ID.
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
        self._transport: asyncio.DatagramTransport | None = None
        self._answers: dict[str, bytes] = {}  # by transaction
        self._unacknowledged: dict[str, asyncio.Event] = {}  # refusals and answers within calls
        self._starting: dict[str, asyncio.Task[SipCall]] = {}  # by Call-ID
        self._tasks = Tasks()
        self.calls: dict[str, SipCall] = {}
        self.host, self.port = "", 0

    async def listen(self, port: socket.socket) -> None:
        """Answer what comes in on a UDP port, and close it in the end."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=port)
        self._transport = transport
        self.host, self.port = transport.get_extra_info("sockname")[:2]

    async def close(self) -> None:
        """Hang up everywhere and close the port. Idempotent."""
        await asyncio.gather(*(call.hang_up() for call in list(self.calls.values())))
        await self._tasks.cancel()
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """One message; junk and strangers get no answer."""
        message = parse(data)
        if message is None or not self._may_call(addr):
            return
        if message.is_response:
            call = self.calls.get(message.get("call-id"))
            if call is not None and message.get("cseq").endswith("BYE"):
                call.goodbye_heard.set()
            return
        self._tasks.start(self._handle(message, addr), "SIP request")

    def send(self, data: bytes, to: Address) -> None:
        """Put a datagram on the wire."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, to)

    async def repeat(self, answer: bytes, to: Address, acknowledged: asyncio.Event) -> None:
        """Send a final answer again until it is acknowledged, or 32 s (RFC 3261 13.3.1.4, 17.2.1)."""
        wait_s, waited_s = _T1_S, 0.0
        while not acknowledged.is_set() and waited_s < 64 * _T1_S:
            if waited_s:
                self.send(answer, to)
            with suppress(TimeoutError):
                await asyncio.wait_for(acknowledged.wait(), wait_s)
            waited_s += wait_s
            wait_s = min(2 * wait_s, _T2_S)

    def host_towards(self, addr: Address) -> str:
        """Our address for the other side: of all those we listen on, the one its route begins at."""
        if self.host != _EVERYWHERE:
            return self.host
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(addr)  # sends nothing
            return str(probe.getsockname()[0])

    def _may_call(self, addr: Address) -> bool:
        return not self._allowed or any(ip_address(addr[0]) in network for network in self._allowed)

    async def _handle(self, request: SipMessage, addr: Address) -> None:
        call = self.calls.get(request.get("call-id"))
        known = self._answers.get(_transaction(request))
        match request.method:
            case "INVITE" | "INFO" if known is not None:  # a retransmission
                self.send(known, addr)
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
        within = ";tag=" in request.get("to")
        offer = read_offer(request.body)
        if within and call is None:  # of a call that is over, or from before we were started
            answer = self._reply(request, addr, 481)
        elif not within and (call or call_id in self._starting):  # it came by two ways, 8.2.2.2
            answer = self._reply(request, addr, 482)
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
            await self.repeat(answer, addr, acknowledged)
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
            call = SipCall(self, request, addr, conversation)
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
        if ";tag=" not in to and status != 100:
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
            ("contact", f"<sip:parley@{self.host_towards(addr)}:{self.port}>"),
            ("allow", _ALLOW),
            *extra,
        ]
        if body:
            headers.append(("content-type", "application/sdp"))
        data = SipMessage(f"SIP/2.0 {status} {_REASONS[status]}", headers, body).encode()
        self.send(data, addr)
        return data


_REASONS = {
    100: "Trying",
    200: "OK",
    404: "Not Found",
    405: "Method Not Allowed",
    415: "Unsupported Media Type",
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


class SipCall:
    """One call, from its 200 to its BYE.

    Attributes:
        tag: Our tag in the dialog.
        description: Our session description.
        acknowledged: The caller knows that we answered.
        goodbye_heard: The other side hung up, or knows that we did.
    """

    def __init__(
        self, server: SipServer, invite: SipMessage, addr: Address, conversation: Conversation
    ):
        self.tag = f"{random.randrange(1 << 32):08x}"
        self.description = ""
        self._session, self._version = random.randrange(1 << 30), 0
        self._agreed: MediaOffer | None = None
        self._proposes = False
        self.acknowledged = asyncio.Event()
        self.goodbye_heard = asyncio.Event()
        self._server = server
        self._invite = invite
        self._addr = addr
        self._host = server.host_towards(addr)
        self._conversation = conversation
        self._rtp = RtpSession()
        self._line = PhoneLine(conversation)
        self._tasks = Tasks()

    async def open(self, offer: MediaOffer | None) -> None:
        """Bind the media port and describe it."""
        await self._rtp.open(self._host, self._addr[0])
        self.describe(offer)

    def describe(self, offer: MediaOffer | None) -> str:
        """Take an offer, or make one where there is none (RFC 3261 14.1); returns our description."""
        self._version += 1  # RFC 3264 8: of the same session
        place = self._host, self._rtp.port, self._session, self._version
        self._proposes = offer is None
        if offer is None:
            self.description = write_offer(self._agreed, *place)
        else:
            self._agree(offer)
            self.description = write_answer(offer, *place)
        return self.description

    def acknowledge(self, description: str) -> None:
        """The caller knows that we answered; what we proposed it answers only now."""
        answer = read_offer(description) if self._proposes else None
        if answer is not None:
            self._proposes = False
            self._agree(answer)
        elif self._agreed is None:
            self._conversation.end("the phone speaks none of our codecs")
        self.acknowledged.set()

    def _agree(self, offer: MediaOffer) -> None:
        self._agreed = offer
        self._rtp.send_to(offer)

    def press(self, keys: str) -> None:
        """The caller pressed keys, and tells so beside the sound (RFC 6086)."""
        self._line.key(keys)

    async def hear_goodbye(self) -> None:
        """The other side hung up; it waits for no answer any more, acknowledged or not."""
        self.goodbye_heard.set()
        self.acknowledged.set()
        await self.hang_up()

    async def run(self, answer: bytes) -> None:
        """Repeat the answer until it is acknowledged, talk, and say goodbye."""
        await self._server.repeat(answer, self._addr, self.acknowledged)
        if not self.acknowledged.is_set():
            self._conversation.end("the answer was never acknowledged")
        if not self._conversation.ended.is_set():
            await self._talk()
        await self._say_bye()
        await self.hang_up()

    async def hang_up(self) -> None:
        """Free everything. Idempotent."""
        self._conversation.end("the caller hung up")
        await self._tasks.cancel()
        self._rtp.close()
        await self._conversation.close()
        self._server.calls.pop(self._invite.get("call-id"), None)

    async def _talk(self) -> None:
        conversation = self._conversation
        conversation.set_downstream_ms(_LINE_DELAY_MS)
        talk = self._tasks.start(self._rtp.talk(self._line), "phone line")
        talk.add_done_callback(lambda _: conversation.end("the line was lost"))
        conversation.greet()
        await conversation.ended.wait()

    async def _say_bye(self) -> None:
        """Tell the other side, repeating until it answers (RFC 3261 15.1.1)."""
        if self.goodbye_heard.is_set():
            return
        routes, hop = self._invite.all("record-route"), self._addr
        contact = self._invite.get("contact")
        target = contact[contact.find("<") + 1 : contact.find(">")] if "<" in contact else contact
        if not routes and len(self._invite.all("via")) > 1:  # a proxy that is for INVITEs alone
            hop = address_of(target) or hop
        headers = [
            (
                "via",
                f"SIP/2.0/UDP {self._host}:{self._server.port};branch=z9hG4bK{self.tag}",
            ),
            ("max-forwards", "70"),
            *(("route", route) for route in routes),
            ("from", f"{self._invite.get('to')};tag={self.tag}"),
            ("to", self._invite.get("from")),
            ("call-id", self._invite.get("call-id")),
            ("cseq", "1 BYE"),
        ]
        bye = SipMessage(f"BYE {target} SIP/2.0", headers).encode()
        wait_s = _T1_S
        while not self.goodbye_heard.is_set() and wait_s <= _T2_S:
            self._server.send(bye, hop)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.goodbye_heard.wait(), wait_s)
            wait_s *= 2
