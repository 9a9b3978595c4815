"""Reaching the caller: STUN and TURN servers, and saying plainly why no path exists."""

from __future__ import annotations

import os
from collections.abc import Sequence

from aiortc import RTCIceServer

from common.errors import ConfigError, ParleyError

ENVIRONMENT = "PARLEY_ICE_SERVERS"
_SCHEMES = ("stun:", "stuns:", "turn:", "turns:")


def ice_servers(specs: Sequence[str] | None = None) -> list[RTCIceServer]:
    """Read servers from `specs`, or from PARLEY_ICE_SERVERS (separated by blanks) when None.

    A spec is a URL, with credentials in front of the host for TURN:
    `stun:stun.example.org:3478`, `turn:user:secret@turn.example.org:3478?transport=udp`.

    Raises:
        ConfigError: A spec has no known scheme, or a TURN server no credentials.
    """
    if specs is None:
        specs = os.environ.get(ENVIRONMENT, "").split()
    return [_server(spec) for spec in specs]


def _server(spec: str) -> RTCIceServer:
    scheme, _, rest = spec.partition(":")
    if f"{scheme}:" not in _SCHEMES or not rest:
        raise ConfigError(
            f"{spec.split('@')[-1]!r} is not an ICE server.",
            "Write stun:HOST:PORT or turn:USER:SECRET@HOST:PORT.",
        )
    credentials, at, host = rest.rpartition("@")
    if scheme.startswith("turn") and not (at and ":" in credentials):
        raise ConfigError(
            f"The TURN server {host!r} has no credentials.", "Write turn:USER:SECRET@HOST:PORT."
        )
    if not at:
        return RTCIceServer(urls=spec)
    user, _, secret = credentials.partition(":")
    return RTCIceServer(urls=f"{scheme}:{host}", username=user, credential=secret)


def require_candidates(sdp: str) -> None:
    """Check that our answer names at least one address the caller could reach.

    aiortc leaves loopback addresses out and then answers without any; the call would stay
    "connecting" for ever and nobody would know why.

    Raises:
        ParleyError: There is none.
    """
    if "a=candidate:" not in sdp:
        raise ParleyError(
            "This machine has no network address a caller could reach (only loopback).",
            "Connect it to a network; in a container or a network namespace add an interface "
            "with an address of its own.",
        )
