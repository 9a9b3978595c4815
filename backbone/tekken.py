"""Mistral's Tekken tokenizer, read from `tekken.json`.

Byte-pair encoding over raw bytes. Ids below the number of special tokens are specials; a text piece
has its rank plus that number. How many of each there are is the file's to say.
"""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import regex

from common.errors import CheckpointError


class Tekken:
    """Text to token ids and back.

    Attributes:
        vocab_size: Specials and text pieces together.
        n_special: Ids below this are specials.
        audio: The file's `audio` block, empty when it has none.
    """

    def __init__(self, content: dict[str, Any]):
        try:
            config = content["config"]
            self.n_special = int(config["default_num_special_tokens"])
            self.vocab_size = int(config["default_vocab_size"])
            used = content["vocab"][: self.vocab_size - self.n_special]
            self._pieces = [base64.b64decode(entry["token_bytes"]) for entry in used]
            self._pattern = regex.compile(config["pattern"])
            self._specials = {
                entry["token_str"]: int(entry["rank"])
                for entry in content.get("special_tokens") or ()
            }
            self.audio: dict[str, Any] = content.get("audio") or {}
        except (KeyError, TypeError, ValueError, regex.error) as error:
            raise CheckpointError(f"tekken.json is malformed: {error!r}.") from error
        if len(self._pieces) != self.vocab_size - self.n_special:
            raise CheckpointError(
                f"tekken.json lists {len(self._pieces)} text pieces but promises "
                f"{self.vocab_size - self.n_special}."
            )
        self._encode_word = lru_cache(maxsize=65_536)(self._merge)

    @classmethod
    def load(cls, path: str | Path) -> Tekken:
        """Read a `tekken.json`.

        Raises:
            CheckpointError: There is no such file, or it is no Tekken file.
        """
        try:
            return cls(json.loads(Path(path).read_bytes()))
        except OSError as error:
            raise CheckpointError(f"Cannot read {path}: {error.strerror}.") from error
        except ValueError as error:
            raise CheckpointError(f"{path} is not JSON: {error}.") from error

    def must_fit(self, vocab_size: int) -> None:
        """Make sure that this is the tokenizer of a model with so many tokens.

        Raises:
            CheckpointError: It is another one's.
        """
        if self.vocab_size != vocab_size:
            raise CheckpointError(
                f"tekken.json has {self.vocab_size} tokens, the model {vocab_size}.",
                "Check that they belong together.",
            )

    @cached_property
    def _ranks(self) -> dict[bytes, int]:
        return {piece: rank for rank, piece in enumerate(self._pieces)}

    def special(self, name: str, default: int | None = None) -> int:
        """Id of a special token such as `[STREAMING_PAD]`.

        Raises:
            CheckpointError: The file names no such token, and there is no default.
        """
        rank = self._specials.get(name, default)
        if rank is None:
            raise CheckpointError(
                f"tekken.json has no special token {name}.", "Is it the tokenizer of this model?"
            )
        return rank

    def encode(self, text: str) -> list[int]:
        """Ids of the text's pieces; no special token is added or recognised."""
        return [
            rank + self.n_special
            for word in self._pattern.findall(text)
            for rank in self._encode_word(word.encode())
        ]

    def piece(self, token: int) -> bytes:
        """Bytes of a token: empty for specials, and for the zero byte, which models emit as filler."""
        if token < self.n_special:
            return b""
        piece = self._pieces[token - self.n_special]
        return b"" if piece == b"\0" else piece

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of whole token sequences; broken UTF-8 becomes U+FFFD."""
        return b"".join(self.piece(token) for token in tokens).decode(errors="replace")

    def _merge(self, word: bytes) -> Sequence[int]:
        """Join neighbours, lowest rank first, until no join is a known piece."""
        ranks = self._ranks
        if word in ranks:
            return (ranks[word],)
        parts = [word[i : i + 1] for i in range(len(word))]
        while len(parts) > 1:
            joins = [ranks.get(a + b) for a, b in pairwise(parts)]
            known = [rank for rank in joins if rank is not None]
            if not known:
                break
            at = joins.index(min(known))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return tuple(ranks[part] for part in parts)


class PieceDecoder:
    """Text from tokens as they come: a character split over several tokens waits for its last byte."""

    def __init__(self, tekken: Tekken):
        self._tekken = tekken
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """Characters completed by this token, often none."""
        return self._utf8.decode(self._tekken.piece(token))

    def copy(self) -> PieceDecoder:
        """A decoder that goes on from here by itself."""
        twin = PieceDecoder(self._tekken)
        twin._utf8.setstate(self._utf8.getstate())
        return twin
