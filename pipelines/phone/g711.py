"""ITU-T G.711: the 8-bit codes of telephone lines, both laws, by table."""

from __future__ import annotations

from functools import cache

import numpy as np

LAWS = ("PCMU", "PCMA")


def decode(payload: bytes, law: str) -> np.ndarray:
    """G.711 → float32 in [-1, 1], shape [samples] at 8 kHz.

    Args:
        payload: One byte per sample.
        law: `PCMU` (μ-law) or `PCMA` (A-law).
    """
    return _expanded(law)[np.frombuffer(payload, np.uint8)]


def encode(pcm: np.ndarray, law: str) -> bytes:
    """float32 in [-1, 1] at 8 kHz → G.711, the nearest code for every sample."""
    levels, codes = _compressing(law)
    nearest = np.searchsorted(levels, np.clip(pcm, -1.0, 1.0))
    return codes[nearest].tobytes()


@cache
def _expanded(law: str) -> np.ndarray:
    """The level of each of the 256 codes (G.711 tables 1 and 2), 13- and 14-bit values scaled to ±1."""
    code = np.arange(256)
    if law == "PCMU":
        code = ~code & 0xFF
        segment, step = code >> 4 & 7, code & 15
        magnitude = (((2 * step + 33) << segment) - 33) / 8192
        sign = np.where(code & 0x80, -1, 1)
    else:
        code = code ^ 0x55
        segment, step = code >> 4 & 7, code & 15
        magnitude = np.where(
            segment == 0, 2 * step + 1, (2 * step + 33) << np.maximum(segment - 1, 0)
        )
        magnitude = magnitude / 4096
        sign = np.where(code & 0x80, 1, -1)
    return (sign * magnitude).astype(np.float32)


@cache
def _compressing(law: str) -> tuple[np.ndarray, np.ndarray]:
    """(decision levels between neighbouring codes [255], codes in order of level [256])."""
    levels = _expanded(law)
    order = np.argsort(levels, kind="stable")
    ascending = levels[order]
    return (ascending[1:] + ascending[:-1]) / 2, order.astype(np.uint8)
