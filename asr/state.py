"""Everything a batch of streams remembers between two decisions, as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asr.config import TOKEN_MEL_FRAMES
from asr.encoder import EncoderState
from asr.model import VoxtralRealtime
from backbone.cache import KvCache

BLOCK_TOKENS = 8
"""The most tokens of audio that are encoded at once; the encoder's rings have slack for it."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """State of many streams, one row each, however old.

    Attributes:
        encoder: Convolution tails and the encoder's keys and values.
        decoder: The decoder's keys and values; its lengths are the decoder positions.
        scale: Each row's conditioning on its delay, [B, n_layers, dim].
    """

    encoder: EncoderState
    decoder: KvCache
    scale: Tensor

    @classmethod
    def allocate(
        cls,
        model: VoxtralRealtime,
        rows: int,
        *,
        max_tokens: int | None = None,
        device: torch.device | str | None = None,
    ) -> StreamState:
        """Empty state, beside the model's weights if not told; `max_tokens` caps all rings."""
        weight, config = model.tok_embeddings.weight, model.config.decoder
        device, token_frames = device or weight.device, TOKEN_MEL_FRAMES // 2
        return cls(
            EncoderState.allocate(
                model.whisper_encoder,
                rows,
                step_frames=BLOCK_TOKENS * token_frames,
                max_frames=None if max_tokens is None else max_tokens * token_frames,
                device=device,
            ),
            KvCache.allocate(
                config, rows, max_tokens=max_tokens, device=device, dtype=weight.dtype
            ),
            weight.new_ones(rows, config.n_layers, config.dim, device=device),
        )

    @property
    def row_bytes(self) -> int:
        """Memory that one more stream costs."""
        tails = (self.encoder.mel_tail, self.encoder.conv_tail, self.scale)
        rings = self.encoder.cache.row_bytes + self.decoder.row_bytes
        return rings + sum(tensor[:1].nbytes for tensor in tails)

    def rows(self, start: int, stop: int) -> StreamState:
        """Rows start..stop as views."""
        return StreamState(
            self.encoder.rows(start, stop), self.decoder.rows(start, stop), self.scale[start:stop]
        )

    def copy_row(self, to: int, source: StreamState, row: int) -> None:
        """Overwrite a row with a row of `source`, which may be this state: fork, move or start."""
        self.encoder.copy_row(to, source.encoder, row)
        self.decoder.copy_row(to, source.decoder, row)
        self.scale[to] = source.scale[row]
