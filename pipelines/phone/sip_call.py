"""One SIP call (RFC 3261): its dialog, its session descriptions, its sound and its conversation."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

from pipelines.conversation import Conversation
from pipelines.phone.line import PhoneLine
from pipelines.phone.rtp import RtpSession
from pipelines.phone.sip_message import (
    MediaOffer,
    SipMessage,
    address_of,
    domain_of,
    read_offer,
    write_answer,
    write_offer,
)
from pipelines.phone.sip_referral import Referral
from pipelines.phone.sip_wire import Address, SipWire
from pipelines.tasks import Tasks

_LINE_DELAY_MS = 60.0  # a phone's own jitter buffer
_ANSWERED_T1 = 15  # after four times; whoever has not heard by then is gone
_NOWHERE = ".invalid"  # the domain of callers who withhold their number (RFC 3323)


class SipCall:
    """One call, from its 200 to its BYE.

    Attributes:
        tag: Our tag in the dialog.
        description: Our session description.
        acknowledged: The caller knows that we answered.
        goodbye_heard: The other side hung up, or knows that we did.
    """

    def __init__(
        self,
        wire: SipWire,
        invite: SipMessage,
        addr: Address,
        conversation: Conversation,
        over: Callable[[], object],
    ):
        """Create it.

        Args:
            wire: Where it goes over.
            invite: What asked for it.
            addr: Where that came from.
            conversation: Who talks.
            over: Called when nothing of it is left.
        """
        self.tag = f"{random.randrange(1 << 32):08x}"
        self.description = ""
        self._session, self._version = random.randrange(1 << 30), 0
        self._agreed: MediaOffer | None = None
        self._proposes = False
        self.acknowledged = asyncio.Event()
        self.goodbye_heard = asyncio.Event()
        self._wire = wire
        self._invite = invite
        self._addr = addr
        self._host = wire.host_towards(addr)
        self._contact = wire.contact_towards(addr)
        self._conversation = conversation
        self._over = over
        self._rtp = RtpSession()
        self._line = PhoneLine(conversation)
        self._cseq = 0
        self._referral = Referral()
        self._tasks = Tasks()
        conversation.set_put_through(self._refer)

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
        await self._wire.repeat(answer, self._addr, self.acknowledged)
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
        self._over()

    async def _talk(self) -> None:
        conversation = self._conversation
        conversation.set_downstream_ms(_LINE_DELAY_MS)
        talk = self._tasks.start(self._rtp.talk(self._line), "phone line")
        talk.add_done_callback(lambda _: conversation.end("the line was lost"))
        conversation.greet()
        await conversation.ended.wait()

    def hear_answer(self, answer: SipMessage) -> None:
        """The other side answers a request of ours."""
        status = int(answer.start.split()[1])
        if answer.get("cseq").endswith("BYE"):
            self.goodbye_heard.set()
        elif answer.get("cseq") == f"{self._cseq} REFER" and status >= 200:
            self._referral.answer(status)

    def hear_news(self, notify: SipMessage) -> None:
        """The other side tells how it fares with whom we asked it to call (RFC 3515 2.4.4)."""
        self._referral.hear(notify.body)

    async def _refer(self, address: str) -> None:
        """Ask the other side to call somebody else instead, and wait for what comes of it (RFC 3515).

        Raises:
            ParleyError: It will not, or could not.
        """
        if address.startswith("+"):
            address = f"sip:{address}@{self._domain}"
        referral = self._referral = Referral()
        self._line.still = True
        try:
            to = ("refer-to", f"<{address}>"), ("referred-by", self._contact)
            await self._ask("REFER", referral.answered, to)
            await referral.outcome()
        finally:
            self._line.still = False

    @property
    def _domain(self) -> str:
        """Where numbers mean something: where the caller belongs, or else where the call came from."""
        caller = domain_of(self._invite.get("from"))
        if caller and not caller.endswith(_NOWHERE):
            return caller
        return domain_of(self._invite.get("contact"))

    async def _say_bye(self) -> None:
        """Tell the other side that the call is over (RFC 3261 15.1.1)."""
        if not self.goodbye_heard.is_set():
            await self._ask("BYE", self.goodbye_heard)

    async def _ask(
        self, method: str, answered: asyncio.Event, extra: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send a request within the call, repeating it until it is answered or in vain."""
        self._cseq += 1
        routes, hop = self._invite.all("record-route"), self._addr
        contact = self._invite.get("contact")
        target = contact[contact.find("<") + 1 : contact.find(">")] if "<" in contact else contact
        if not routes and len(self._invite.all("via")) > 1:  # a proxy that is for INVITEs alone
            hop = address_of(target) or hop
        branch = f"z9hG4bK{self.tag}{self._cseq}"
        headers = [
            ("via", f"SIP/2.0/UDP {self._host}:{self._wire.port};branch={branch}"),
            ("max-forwards", "70"),
            *(("route", route) for route in routes),
            ("from", f"{self._invite.get('to')};tag={self.tag}"),
            ("to", self._invite.get("from")),
            ("call-id", self._invite.get("call-id")),
            ("cseq", f"{self._cseq} {method}"),
            ("contact", self._contact),
            *extra,
        ]
        request = SipMessage(f"{method} {target} SIP/2.0", headers).encode()
        self._wire.send(request, hop)
        await self._wire.repeat(request, hop, answered, most_t1=_ANSWERED_T1)
