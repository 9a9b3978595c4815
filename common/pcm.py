"""16-bit integers on the wire, float32 inside: the two conversions, in one place."""

from __future__ import annotations

import numpy as np


def to_float(pcm16: bytes) -> np.ndarray:
    """Little-endian 16-bit PCM → float32 in [-1, 1), shape [samples]."""
    return np.frombuffer(pcm16, dtype="<i2").astype(np.float32) / 32768.0


def to_pcm16(pcm: np.ndarray) -> bytes:
    """float32 in [-1, 1] → little-endian 16-bit PCM; what lies outside is clipped."""
    return np.rint(np.clip(pcm, -1.0, 32767 / 32768) * 32768.0).astype("<i2").tobytes()
