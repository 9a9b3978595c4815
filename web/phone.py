"""Where phone carriers come in: a webhook that says where to stream, and the stream itself."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.sax.saxutils import quoteattr

from fastapi import APIRouter, Request, Response, WebSocket
from loguru import logger
from starlette.websockets import WebSocketDisconnect

from common.errors import ParleyError
from web.errors import Refused
from web.settings import WebSettings

TakeCall = Callable[[str, "CarrierSocket", str], Awaitable[None]]
"""Given the carrier's name, its open websocket and the called number, holds the call to its end."""

_STREAM = {
    "twilio": "<Connect><Stream url={url}>{parameters}</Stream></Connect>",
    "telnyx": '<Connect><Stream url={url} codec="PCMU" bidirectionalMode="rtp" '
    'bidirectionalCodec="PCMU">{parameters}</Stream></Connect>',
    "plivo": '<Stream bidirectional="true" keepCallAlive="true" '
    'contentType="audio/x-mulaw;rate=8000">{plain_url}?{query}</Stream>',
}
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


def phone_routes(take_call: TakeCall, token: str, settings: WebSettings) -> APIRouter:
    """Build the router.

    Args:
        take_call: Holds a call.
        token: Part of every address here: carriers cannot log in, so the address is the key.
        settings: Knows the address that carriers reach.
    """
    router = APIRouter()

    def check(given: str) -> None:
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise Refused(
                403, "This phone address is not valid.", "Take it from what serve prints first."
            )

    @router.api_route("/phone/{carrier}/{given}", methods=["GET", "POST"])
    async def webhook(carrier: str, given: str, request: Request) -> Response:
        """Answer a carrier's "somebody is calling": stream it to us, with its number."""
        check(given)
        if carrier not in _STREAM:
            raise Refused(
                404, f"{carrier} is no carrier known here.", f"Known: {', '.join(_STREAM)}."
            )
        told = parse_qs((await request.body()).decode(errors="replace") or request.url.query)
        called = told.get("To", [""])[0]
        parameters = f'<Parameter name="to" value={quoteattr(called)}/>'
        base = urlsplit(settings.public_url or str(request.base_url))
        scheme = "wss" if base.scheme == "https" else "ws"
        url = f"{scheme}://{base.netloc}/phone/{carrier}/{given}/stream"
        body = _STREAM[carrier].format(
            url=quoteattr(url),
            parameters=parameters,
            plain_url=url,
            query=urlencode({"to": called}),
        )
        return Response(
            f'<?xml version="1.0" encoding="UTF-8"?><Response>{body}</Response>',
            media_type="application/xml",
        )

    @router.websocket("/phone/{carrier}/{given}/stream")
    async def stream(carrier: str, given: str, socket: WebSocket) -> None:
        """One call."""
        try:
            check(given)
        except Refused:
            await socket.close(_POLICY_VIOLATION)
            return
        await socket.accept()
        code = _OVER
        try:
            await take_call(carrier, CarrierSocket(socket), socket.query_params.get("to", ""))
        except (ParleyError, TimeoutError) as error:
            logger.warning("a carrier's call was refused: {}", error)
            code = _TRY_LATER
        with suppress(RuntimeError, WebSocketDisconnect):  # hung up before we could
            await socket.close(code)

    return router
