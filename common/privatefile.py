"""Files about calls: what people said is nobody else's to read."""

from __future__ import annotations

import os


def only_ours(path: str, flags: int) -> int:
    """An `opener` for `open`: a file that is made is readable by its owner alone."""
    return os.open(path, flags, 0o600)
