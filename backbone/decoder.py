"""A stack of decoder layers: the body of both speech models and of Mistral's text models."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backbone.cache import KvCache
from backbone.config import DecoderConfig
from backbone.fused import FusedLayers
from backbone.layers import DecoderLayer, Positions, RMSNorm
from backbone.rope import inverse_frequencies, query_temperature, rotations


class Decoder(nn.Module):
    """Causal transformer from embeddings to normed hidden states.

    Without a cache it is a plain differentiable causal (or banded) forward over whole sequences;
    with one it continues each row of the batch where that row stands. Both give the same numbers.

    Attributes:
        watched: Put a layer's index in, and each forward leaves that layer's rotated queries there,
            [B, S, heads, head_dim]: with the cache's keys they tell where a head looks.
    """

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(DecoderLayer(config, i) for i in range(config.n_layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.fused: FusedLayers | None = None
        self.watched: dict[int, Tensor] = {}
        self._frequencies: Tensor | None = None

    def forward(
        self,
        x: Tensor,
        positions: Tensor | None = None,
        cache: KvCache | None = None,
        *,
        ada_scale: Tensor | None = None,
        active: Tensor | None = None,
        extent: int | None = None,
    ) -> Tensor:
        """Run all layers and the final norm.

        Args:
            x: Embeddings, [B, S, dim].
            positions: RoPE positions, int64 [B or 1, S]; None counts each row's tokens.
            cache: Keys and values so far, with B rows; updated in place. None: start of sequence.
            ada_scale: From `ada_scale`, [B or 1, n_layers, dim].
            active: bool [B]; rows that are False leave the cache untouched and their output is
                meaningless. Only with a cache.
            extent: Upper bound of any row's length after this step, when known on the host.

        Returns:
            Hidden states after the final norm, [B, S, dim].
        """
        if self._frequencies is None or self._frequencies.device != x.device:
            self._frequencies = inverse_frequencies(self.config).to(x.device)
        if cache is not None:
            order = cache.order(x.shape[1])
        else:
            order = torch.arange(x.shape[1], device=x.device)[None]
        positions = order if positions is None else positions
        rotation = rotations(self.config, self._frequencies, positions)
        temperature = query_temperature(self.config, positions)
        plans = None if cache is None else cache.plan(order, active, extent)
        at = Positions(rotation, temperature, cache, plans, self.watched)
        if self.fused is not None and cache is not None:
            out = self.fused(x, at, ada_scale)
        else:
            for index, layer in enumerate(self.layers):
                x = layer(x, at, None if ada_scale is None else ada_scale[:, index, None])
            out = self.norm(x)
        if cache is not None:
            cache.advance(x.shape[1], active)
        return out

    def fuse(self) -> None:
        """Make cached forwards quicker, for good: for inference only, after the last move or cast.

        Whole-sequence forwards still go layer by layer. See `backbone.products` for the memory.
        """
        self.fused = FusedLayers(self.layers, self.norm, self.config)

    def ada_scale(self, condition: Tensor) -> Tensor:
        """Per-layer scale of the feed-forward input for a condition vector.

        Args:
            condition: [B, dim].

        Returns:
            1 + the layer's conditioning, [B, n_layers, dim]; constant while the condition is.
        """
        conditioning = [layer.get_submodule("ada_rms_norm_t_cond") for layer in self.layers]
        return torch.stack([1 + each(condition) for each in conditioning], dim=1)


def rotary_timescale(values: Tensor, dim: int, theta: float = 10_000.0) -> Tensor:
    """Sinusoidal embedding of a scalar, cosines first.

    Both models use it: for the delay in tokens (Voxtral Realtime, arXiv 2602.11298) and for the
    time of the flow (Voxtral TTS, arXiv 2603.25551).

    Args:
        values: [B], any floating dtype; the angles are computed in that dtype.
        dim: Width of the embedding, even.
        theta: Longest period divided by 2 pi.

    Returns:
        [B, dim].
    """
    half = dim // 2
    steps = torch.arange(half, device=values.device, dtype=torch.float64)
    frequencies = torch.exp(-math.log(theta) * steps / half)
    angles = values[:, None] * frequencies.to(values.dtype)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)
