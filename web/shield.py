"""ASGI middleware around everything: body size limit and security headers."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.errors import refusal

# No host but our own, and no inline script or style: the page works without the internet and an
# injected tag does nothing.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; media-src 'self' blob: mediastream:; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors "
)
_EMBED = "/static/embed.js"  # which other sites' pages load
_HEADERS = [
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


class SecurityHeaders:
    """Adds the headers above to every response."""

    def __init__(self, app: ASGIApp, framed_by: Sequence[str] = ()):
        """Wrap `app`; `framed_by`: origins whose pages may frame ours, and so get at clicks on it."""
        self.app = app
        policy = _POLICY + (" ".join(framed_by) or "'none'")
        self._headers = [*_HEADERS, (b"content-security-policy", policy.encode())]
        self._lent = {_EMBED} if framed_by else set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the response out with the headers."""
        loaded_by = b"cross-origin" if scope.get("path") in self._lent else b"same-origin"
        headers = [*self._headers, (b"cross-origin-resource-policy", loaded_by)]

        async def send_shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self.app(scope, receive, send_shielded if scope["type"] == "http" else send)


class BodyLimit:
    """Refuses a larger body with 413 before anything reads or parses it."""

    def __init__(self, app: ASGIApp, max_bytes: int):
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the whole body in, up to the limit, then hand it on in one piece."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self.app(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.max_bytes:
                error = f"The request is larger than {self.max_bytes} bytes."
                await refusal(413, error, "A call offer is 2 to 10 kB.")(scope, receive, send)
                return

        handed_on = False

        async def receive_body() -> Message:
            nonlocal handed_on
            if handed_on:
                return await receive()
            handed_on = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receive_body, send)
