"""What the operator decides about the front door."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiortc import RTCIceServer

from common.errors import ConfigError

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Options of the web server.

    Attributes:
        host: Address to listen on.
        port: TCP port to listen on.
        public_url: Where visitors reach it, when a proxy stands in front.
        secret: Shared key that visitors must hold; None leaves the door to `verify` or open.
        open_to_all: The operator said aloud that strangers may call.
        allowed_origins: Other sites whose pages may place calls here and show ours in a frame, as
            browsers write them.
        ice_servers: STUN and TURN, told to the page. A TURN credential is told to every visitor.
        max_body_bytes: Largest request body; a browser's offer is 2 to 10 kB.
        token_ttl_s: How long a page may wait before its first call.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    public_url: str | None = None
    secret: str | None = None
    open_to_all: bool = False
    allowed_origins: tuple[str, ...] = ()
    ice_servers: tuple[RTCIceServer, ...] = ()
    max_body_bytes: int = 65_536
    token_ttl_s: float = 600.0

    @property
    def is_public(self) -> bool:
        """Whether anyone but this machine's own users can reach the door."""
        if self.public_url and not is_loopback(urlsplit(self.public_url).hostname or ""):
            return True
        return not is_loopback(self.host)

    @property
    def address(self) -> str:
        """The address to tell people."""
        if self.public_url:
            return self.public_url
        host = (
            "localhost" if is_loopback(self.host) or self.host in {"0.0.0.0", "::"} else self.host
        )
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def check(self, *, has_verifier: bool = False) -> None:
        """Refuse to be open to strangers by accident.

        Raises:
            ConfigError: A public address without a secret, a verifier or `open_to_all`.
        """
        if self.is_public and not (self.secret or has_verifier or self.open_to_all):
            raise ConfigError(
                f"{self.address} can be reached by strangers and nothing asks them for a key.",
                "Set PARLEY_SECRET, or pass --open if anyone at all may call.",
            )


def read_public_url(text: str) -> str:
    """The address that visitors use, as browsers name it.

    Raises:
        ConfigError: It is none that a browser could open, or has a path: the page needs the root.
    """
    origin = _origin(text)
    if origin is None or not origin.startswith(("http://", "https://")):
        raise ConfigError(
            f"--public-url {text} is no address that browsers can open the page at.",
            "Give scheme and host without a path, for example https://talk.example.org.",
        )
    return origin


def read_origin(text: str) -> str:
    """Another site, as browsers name it.

    Raises:
        ConfigError: It is no origin, so it would never match one.
    """
    origin = _origin(text)
    if origin is None:
        raise ConfigError(
            f"--allow-origin {text} is no origin of a site.",
            "Give its scheme and host without a path, for example https://shop.example.org.",
        )
    return origin


def _origin(text: str) -> str | None:
    """`text` in small letters, without a slash and a default port; None where it is no origin."""
    origin = text.lower().removesuffix("/")
    found = _ORIGIN.fullmatch(origin)
    return origin.removesuffix(_DEFAULT_PORTS.get(found[1], "")) if found else None


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) means this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
