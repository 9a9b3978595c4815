"""Where phone carriers come in: webhooks that say where to stream and whom to dial, and the stream itself."""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress
from typing import Protocol
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.sax.saxutils import escape, quoteattr

from fastapi import APIRouter, Request, Response, WebSocket
from loguru import logger
from starlette.websockets import WebSocketDisconnect

from common.errors import ParleyError
from pipelines.phone.carrier_call import RINGS_S, CarrierCalls
from web.errors import Refused
from web.settings import WebSettings

_STREAM = {
    "twilio": "<Connect><Stream url={url}>{parameters}</Stream></Connect>",
    "telnyx": '<Connect><Stream url={url} codec="PCMU" bidirectionalMode="rtp" '
    'bidirectionalCodec="PCMU">{parameters}</Stream></Connect>',
    "plivo": '<Stream bidirectional="true" keepCallAlive="true" '
    'contentType="audio/x-mulaw;rate=8000">{plain_url}?{query}</Stream>',
}
_DIAL = '<Dial action={dialled} timeout="{rings_s}"><{noun}>{address}</{noun}></Dial>'
_SIP_NOUNS = {"twilio": "Sip", "telnyx": "Sip", "plivo": "User"}
# Of `DialCallStatus` (Twilio, Telnyx) and `DialStatus` (Plivo).
_REACHED = ("completed", "answered")
_OVER = 1000
_POLICY_VIOLATION = 1008
_TRY_LATER = 1013


class CarrierSocket:
    """A websocket as a call needs it."""

    def __init__(self, socket: WebSocket):
        self._socket = socket

    async def receive(self) -> str | None:
        """The next text message; None when the carrier hung up."""
        try:
            return await self._socket.receive_text()
        except (WebSocketDisconnect, RuntimeError, KeyError):
            return None  # RuntimeError: `send` noticed it first; KeyError: a binary message

    async def send(self, text: str) -> None:
        """Send a text message; a carrier that is gone is noticed by `receive`."""
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.send_text(text)


class Phones(Protocol):
    """Who answers."""

    carriers: CarrierCalls

    def puts_through(self, called: str) -> bool:
        """Whether who answers that number may put callers through."""


def phone_routes(phones: Phones, token: str, settings: WebSettings) -> APIRouter:
    """Build the router.

    Args:
        phones: Hold the calls.
        token: Part of every address here: carriers cannot log in, so the address is the key.
        settings: Knows the address that carriers reach.
    """
    router = APIRouter()

    def check(carrier: str, given: str) -> None:
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise Refused(
                403, "This phone address is not valid.", "Take it from what serve prints first."
            )
        if carrier not in _STREAM:
            raise Refused(
                404, f"{carrier} is no carrier known here.", f"Known: {', '.join(_STREAM)}."
            )

    def home(request: Request, carrier: str, given: str) -> str:
        """Where this carrier comes in, as it reaches us."""
        base = urlsplit(settings.public_url or str(request.base_url))
        return f"{base.scheme}://{base.netloc}/phone/{carrier}/{given}"

    def stream_to(home: str, carrier: str, key: str, called: str, *, then_ask: bool) -> Response:
        """Stream a call to us, with its number, and ask what is next when the stream is over."""
        url = f"{home.replace('http', 'ws', 1)}/stream/{key}"
        body = _STREAM[carrier].format(
            url=quoteattr(url),
            parameters=f'<Parameter name="to" value={quoteattr(called)}/>',
            plain_url=url,
            query=urlencode({"to": called}),
        )
        if then_ask:
            body += f"<Redirect>{home}/next/{key}</Redirect>"
        return _document(body)

    @router.api_route("/phone/{carrier}/{given}", methods=["GET", "POST"])
    async def webhook(carrier: str, given: str, request: Request) -> Response:
        """Answer a carrier's "somebody is calling"."""
        check(carrier, given)
        called = await _told(request, "To")
        then_ask = phones.puts_through(called)
        address, key = home(request, carrier, given), secrets.token_hex(8)
        return stream_to(address, carrier, key, called, then_ask=then_ask)

    @router.api_route("/phone/{carrier}/{given}/next/{key}", methods=["GET", "POST"])
    async def next_step(carrier: str, given: str, key: str, request: Request) -> Response:
        """Answer a carrier's "the stream is over": whom to dial, if anybody."""
        check(carrier, given)
        address = phones.carriers.to_dial(key)
        if not address:
            return _document("<Hangup/>")
        dial = _DIAL.format(
            dialled=quoteattr(f"{home(request, carrier, given)}/dialled/{key}"),
            rings_s=RINGS_S,
            noun="Number" if address.startswith("+") else _SIP_NOUNS[carrier],
            address=escape(address),
        )
        return _document(dial)

    @router.api_route("/phone/{carrier}/{given}/dialled/{key}", methods=["GET", "POST"])
    async def dialled(carrier: str, given: str, key: str, request: Request) -> Response:
        """Answer a carrier's "that call is over": the agent goes on, if nobody could be reached."""
        check(carrier, given)
        status = await _told(request, "DialCallStatus", "DialStatus")
        if not phones.carriers.dialled(key, reached=status in _REACHED):
            return _document("<Hangup/>")
        return stream_to(home(request, carrier, given), carrier, key, "", then_ask=True)

    @router.websocket("/phone/{carrier}/{given}/stream/{key}")
    async def stream(carrier: str, given: str, key: str, socket: WebSocket) -> None:
        """One call, or as much of it as the agent has."""
        try:
            check(carrier, given)
        except Refused:
            await socket.close(_POLICY_VIOLATION)
            return
        await socket.accept()
        code, called = _OVER, socket.query_params.get("to", "")
        try:
            await phones.carriers.take(carrier, CarrierSocket(socket), called, key)
        except (ParleyError, TimeoutError) as error:
            logger.warning("a carrier's call was refused: {}", error)
            code = _TRY_LATER
        with suppress(RuntimeError, WebSocketDisconnect):  # hung up before we could
            await socket.close(code)

    return router


async def _told(request: Request, *names: str) -> str:
    """What a carrier says under one of these names; empty for nothing."""
    said = parse_qs((await request.body()).decode(errors="replace") or request.url.query)
    return next((said[name][0] for name in names if name in said), "")


def _document(body: str) -> Response:
    return Response(
        f'<?xml version="1.0" encoding="UTF-8"?><Response>{body}</Response>',
        media_type="application/xml",
    )
