"""Voxtral Realtime: what was heard and what was said so far, to the next piece of text.

Every 80 ms the audio embedding of the moment is added to the embedding of the previous token, and
the decoder says the next one: nothing, a word boundary, or a piece of text (Voxtral Realtime,
arXiv 2602.11298; Delayed Streams Modeling, arXiv 2509.08753).
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from asr.config import AsrConfig
from asr.encoder import AudioEncoder, EncoderState
from asr.language_model import LanguageModel
from backbone.cache import KvCache
from backbone.decoder import Decoder, rotary_timescale
from backbone.products import Product, gelu, product, weight_product


class VoxtralRealtime(nn.Module):
    """Encoder, adapter and decoder.

    `forward` sees whole clips and trains; `encode` and `decode` with states go token by token and
    give the same numbers.

    Attributes:
        config: Its numbers.
        language: What is likely to be said, if the checkpoint knows.
    """

    language: LanguageModel | None = None

    def __init__(self, config: AsrConfig):
        super().__init__()
        self.config = config
        dim = config.decoder.dim
        self.tok_embeddings = nn.Embedding(config.decoder.vocab_size, dim)
        self.whisper_encoder = AudioEncoder(config)
        self.audio_language_projection = nn.Sequential(
            nn.Linear(config.encoder.dim * config.downsample_factor, dim, bias=False),
            nn.GELU(),
            nn.Linear(dim, dim, bias=False),
        )
        self.decoder = Decoder(config.decoder)
        self._products: tuple[Product, Product, Product] | None = None

    def fuse(self) -> None:
        """Make streaming quicker, for good: for inference only, after the last move or cast."""
        self.whisper_encoder.fuse()
        self.decoder.fuse()
        first, second = (
            product([cast(nn.Linear, self.audio_language_projection[index])]) for index in (0, 2)
        )
        self._products = first, second, weight_product(self.tok_embeddings.weight)

    def forward(self, mel: Tensor, tokens: Tensor, delay: Tensor) -> Tensor:
        """Logits for whole clips with known text (teacher forcing).

        Args:
            mel: [B, num_mel_bins, 8 S], of audio that begins with the left padding.
            tokens: Input tokens, the prompt included, int64 [B, S].
            delay: In tokens of 80 ms, [B] or [1].

        Returns:
            Logits of the token after each position, [B, S, vocab].
        """
        return self.decode(self.encode(mel), tokens, self.delay_scale(delay))

    def encode(
        self,
        mel: Tensor,
        state: EncoderState | None = None,
        *,
        active: Tensor | None = None,
        extent: int | None = None,
    ) -> Tensor:
        """Audio embeddings, one per 80 ms: [B, num_mel_bins, 8 S] -> [B, S, dim].

        See `AudioEncoder.forward` for the other arguments.
        """
        frames = self.whisper_encoder(mel, state, active=active, extent=extent)
        grouped = frames.unflatten(1, (-1, self.config.downsample_factor)).flatten(2)
        if self._products is None:
            return self.audio_language_projection(grouped)
        first, second, _ = self._products
        return second(gelu(first(grouped)))

    def decode(
        self,
        audio: Tensor,
        tokens: Tensor,
        scale: Tensor,
        cache: KvCache | None = None,
        *,
        active: Tensor | None = None,
        extent: int | None = None,
    ) -> Tensor:
        """Logits of the token after each position.

        Args:
            audio: Audio embeddings, [B, S, dim].
            tokens: The token before each position, int64 [B, S].
            scale: From `delay_scale`, [B or 1, n_layers, dim].
            cache: Where each row stands, moved on in place; its lengths are the positions.
            active: bool [B]; rows that are False keep their state.
            extent: See `Decoder.forward`.

        Returns:
            [B, S, vocab], in the model's dtype.
        """
        x = audio + self.tok_embeddings(tokens)
        hidden = self.decoder(x, cache=cache, ada_scale=scale, active=active, extent=extent)
        if self._products is None:
            return F.linear(hidden, self.tok_embeddings.weight)
        return self._products[2](hidden)

    def delay_scale(self, delay: Tensor) -> Tensor:
        """The decoder's conditioning on the delay, constant while it does not change.

        Args:
            delay: In tokens (6 for 480 ms, not milliseconds), [B].

        Returns:
            [B, n_layers, dim].
        """
        dim = self.config.decoder.dim
        embedding = rotary_timescale(delay.float(), dim)
        return self.decoder.ada_scale(embedding.to(self.tok_embeddings.weight.dtype))
