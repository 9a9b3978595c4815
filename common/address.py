"""Addresses of servers, as people type them."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from common.errors import RemoteError


def split_address(url: str) -> SplitResult:
    """The parts of an address.

    Raises:
        RemoteError: It is none: no host, or a port that cannot be.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no port
        why = "" if parts.hostname else "it names no host"
    except ValueError as error:
        why = str(error)
    if why:
        raise RemoteError(f"{url} is no address of a server ({why}).", "Give SCHEME://HOST:PORT.")
    return parts
