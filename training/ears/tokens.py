"""A small Tekken tokenizer for the nano ears, and the token a listener should say every 80 ms."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from backbone.tekken import Tekken

SPECIALS = ("<unk>", "<s>", "</s>", "[STREAMING_PAD]", "[STREAMING_WORD]")
LEFT_PAD_TOKENS = 8  # of silence before the caller; the 4B model has 32
_PATTERN = r" ?\S+|\s+"
TOKEN_S = 0.08


def learn_pieces(words: Counter[str], count: int) -> list[bytes]:
    """Byte-pair encoding of words with their leading space: the 256 bytes, then the merges.

    Counts are damped to their square root, so that rare words shape the pieces too.
    """
    spelled = {word: [bytes([b]) for b in f" {word}".encode()] for word in words}
    weights = {word: count**0.5 for word, count in words.items()}
    pieces = [bytes([b]) for b in range(256)]
    while len(pieces) < count:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, parts in spelled.items():
            for pair in pairwise(parts):
                pairs[pair] += weights[word]
        (left, right), _ = max(pairs.items(), key=lambda item: (item[1], item[0]))
        pieces.append(left + right)
        for parts in spelled.values():
            i = 0
            while i < len(parts) - 1:
                if parts[i] == left and parts[i + 1] == right:
                    parts[i : i + 2] = [left + right]
                i += 1
    return pieces


def write_tekken(path: Path, pieces: Sequence[bytes], delay_ms: int) -> None:
    """Write a `tekken.json` in the published layout."""
    vocabulary: list[dict[str, Any]] = [
        {
            "rank": rank,
            "token_bytes": base64.b64encode(piece).decode(),
            "token_str": piece.decode() if piece.isascii() else None,
        }
        for rank, piece in enumerate(pieces)
    ]
    specials = [
        {"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(SPECIALS)
    ]
    audio = {
        "sampling_rate": 16_000,
        "frame_rate": 12.5,
        "audio_encoding_config": {"num_mel_bins": 80, "hop_length": 160, "window_size": 400},
        "transcription_format": "streaming",
        "transcription_delay_ms": delay_ms,
        "streaming_look_ahead_ms": 2.5,
        "streaming_look_back_ms": 52.5,
        "streaming_n_left_pad_tokens": LEFT_PAD_TOKENS,
    }
    config = {
        "pattern": _PATTERN,
        "num_vocab_tokens": len(pieces),
        "default_vocab_size": len(pieces) + len(SPECIALS),
        "default_num_special_tokens": len(SPECIALS),
        "version": "v7",
    }
    content = {"config": config, "vocab": vocabulary, "special_tokens": specials, "audio": audio}
    path.write_text(json.dumps(content))


def stream_tokens(
    tekken: Tekken, words: Iterable[tuple[str, float]], delay: int, tokens: int
) -> np.ndarray:
    """The token at every position of a clip: the prompt, then what should be said when.

    A word that ended within frame r is due once frame r + delay was heard: a boundary, then its
    pieces. A word that is due while pieces are still being said follows without a boundary
    (Voxtral Realtime, arXiv 2602.11298).

    Args:
        tekken: Its tokenizer.
        words: Each with the time its sound ends, seconds from the start of the caller's audio.
        delay: In tokens.
        tokens: Of the caller's audio.

    Returns:
        int64 [LEFT_PAD_TOKENS + tokens + 1]; position 0 is the start token.
    """
    pad, boundary = tekken.special("[STREAMING_PAD]"), tekken.special("[STREAMING_WORD]")
    row = np.full(LEFT_PAD_TOKENS + tokens + 1, pad, np.int64)
    row[0] = tekken.special("<s>")
    prompt = LEFT_PAD_TOKENS + 1 + delay
    free = prompt
    for word, end_s in words:
        due = prompt + int(end_s / TOKEN_S)
        pieces = tekken.encode(" " + word)
        if due >= free:
            pieces, free = [boundary, *pieces], due
        row[free : free + len(pieces)] = pieces[: max(0, len(row) - free)]
        free += len(pieces)
    return row
