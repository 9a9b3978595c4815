"""Keys of servers, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from common.errors import ParleyError


def read_key(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The key of that name; "" when there is none.

    Raises:
        ParleyError: It could not be sent. An HTTP client's own message would quote it.
    """
    key = environ.get(name, "").strip()  # a file that held it may have ended its line
    if not key.isascii() or not key.isprintable():
        raise ParleyError(f"{name} holds characters that no key has.", "Set it again.")
    return key
