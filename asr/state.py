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
    """State of many streams, however old: a row each for the encoder, `width` for the decoder.

    Attributes:
        encoder: Convolution tails and the encoder's keys and values.
        decoder: The decoder's keys and values; its lengths are the decoder positions.
        scale: Each decoder row's conditioning on its delay, [B * width, n_layers, dim].
        width: Decoder rows of each stream, for its readings (`asr.beam`).
    """

    encoder: EncoderState
    decoder: KvCache
    scale: Tensor
    width: int = 1

    @classmethod
    def allocate(
        cls,
        model: VoxtralRealtime,
        rows: int,
        *,
        width: int = 1,
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
                config, rows * width, max_tokens=max_tokens, device=device, dtype=weight.dtype
            ),
            weight.new_ones(rows * width, config.n_layers, config.dim, device=device),
            width,
        )

    @property
    def row_bytes(self) -> int:
        """Memory that one more stream costs."""
        tails = (self.encoder.mel_tail, self.encoder.conv_tail)
        encoder = self.encoder.cache.row_bytes + sum(tensor[:1].nbytes for tensor in tails)
        return encoder + self.width * (self.decoder.row_bytes + self.scale[:1].nbytes)

    def rows(self, start: int, stop: int) -> StreamState:
        """Streams start..stop as views."""
        first, last = start * self.width, stop * self.width
        return StreamState(
            self.encoder.rows(start, stop),
            self.decoder.rows(first, last),
            self.scale[first:last],
            self.width,
        )

    def copy_row(self, to: int, source: StreamState, row: int) -> None:
        """Overwrite a stream with one of `source`: of this state, or of one as wide, or of width 1."""
        self.encoder.copy_row(to, source.encoder, row)
        for reading in range(self.width):
            mine = to * self.width + reading
            theirs = row * source.width + reading % source.width
            self.decoder.copy_row(mine, source.decoder, theirs)
            self.scale[mine] = source.scale[theirs]
