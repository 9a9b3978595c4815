"""Who may enter: page tokens, the shared secret, an identity verifier, and same-origin checks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import Request

from web.errors import Refused
from web.settings import WebSettings, is_loopback

Verifier = Callable[[str], Awaitable[str | None]]
"""Given a bearer token (an OIDC access token, say), who it belongs to, or None to refuse it."""

_STAMP = struct.Struct(">Q8s")


class TokenMint:
    """Short-lived tokens that a page shows when it places its call.

    They are signed with a key that lives and dies with the process, so nothing is stored and a
    restart invalidates them all.
    """

    def __init__(self, ttl_s: float, clock: Callable[[], float] = time.time):
        self._ttl_s = ttl_s
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def mint(self) -> str:
        """A token that is valid for `ttl_s` from now."""
        stamp = _STAMP.pack(int((self._clock() + self._ttl_s) * 1000), secrets.token_bytes(8))
        return base64.urlsafe_b64encode(stamp + self._sign(stamp)).decode()

    def is_valid(self, token: str) -> bool:
        """Whether this process minted `token` and it has not expired."""
        try:
            raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        except ValueError:
            return False
        stamp, signature = raw[: _STAMP.size], raw[_STAMP.size :]
        if len(stamp) != _STAMP.size or not hmac.compare_digest(signature, self._sign(stamp)):
            return False
        return self._clock() * 1000 < _STAMP.unpack(stamp)[0]

    def _sign(self, stamp: bytes) -> bytes:
        return hmac.new(self._key, stamp, hashlib.sha256).digest()[:20]


class Guard:
    """Decides over every request that hands out a token or opens a call."""

    def __init__(self, settings: WebSettings, verify: Verifier | None = None):
        self._settings = settings
        self._verify = verify
        self.mint = TokenMint(settings.token_ttl_s)

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for anything."""
        return self._settings.secret is None and self._verify is None

    async def admit_visitor(self, request: Request) -> None:
        """Let a page have its token.

        Raises:
            Refused: 401 without the right key, 403 from a foreign site.
        """
        self._check_site(request)
        if self.is_open:
            return
        bearer = _bearer(request)
        if bearer is None:
            raise Refused(401, "This Parley asks for a key.", "Its operator can give you one.")
        if not await self._knows(bearer):
            raise Refused(401, "That key does not fit.", "Check it with the operator.")

    async def admit_caller(self, request: Request) -> None:
        """Let a request place a call: with the page's token, or as a visitor with a key.

        Raises:
            Refused: 401 without either, 403 from a foreign site.
        """
        self._check_site(request)
        if self.is_open or self.mint.is_valid(_bearer(request) or ""):
            return
        bearer = _bearer(request)
        if bearer is None:
            raise Refused(401, "This Parley asks for a key.", "Send it as a bearer token.")
        if not await self._knows(bearer):
            raise Refused(401, "The page has been open too long.", "Reload it and call again.")

    async def _knows(self, bearer: str) -> bool:
        secret = self._settings.secret
        # Headers arrive as Latin-1, whatever bytes were sent.
        if secret is not None and hmac.compare_digest(bearer.encode("latin-1"), secret.encode()):
            return True
        return self._verify is not None and await self._verify(bearer) is not None

    def _check_site(self, request: Request) -> None:
        """Refuse other sites' pages, and names that were rebound to this machine."""
        settings = self._settings
        host = request.url.hostname or ""
        known = {settings.host, urlsplit(settings.public_url or "").hostname}
        if self.is_open and not settings.open_to_all and not (is_loopback(host) or host in known):
            raise Refused(
                403, f"This Parley does not answer to the name {host}.", f"Use {settings.address}."
            )
        origin = request.headers.get("origin")
        if origin is None or origin in settings.allowed_origins:
            return
        own = {request.url.netloc, urlsplit(settings.public_url or "").netloc}
        if _site(origin) not in own - {""}:
            raise Refused(
                403, f"Pages from {origin} may not call here.", "Add it with --allow-origin."
            )


def _site(origin: str) -> str:
    """Host and port; empty where `origin` names none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _bearer(request: Request) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None
