"""Sliding-window transformer layers of the codec (Voxtral TTS, arXiv 2603.25551 §2.1).

Causal, ALiBi, qk-norm over all channels before the head split, layer scale. A position sees itself
and the `window` positions before it. Offline, queries are cut into blocks that each see `window`
keys further back, so cost grows with length, and a streaming call is simply one more such block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbone.layers import FeedForward, RMSNorm
from tts.codec.past import Past
from tts.config import CodecConfig, CodecStage
from tts.fused import fuse_norms, fused_feed_forward, together

BLOCK_STEPS = 32
"""Queries per offline block: wider wastes keys, narrower wastes launches."""


class _Attention(nn.Module):
    def __init__(self, config: CodecConfig, dim: int):
        super().__init__()
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.q_norm = RMSNorm(dim, config.qk_norm_eps)
        self.k_norm = RMSNorm(dim, config.qk_norm_eps)
        self.head_dim = config.head_dim
        self.project: Callable[[Tensor], tuple[Tensor, ...]] | None = None

    def forward(self, x: Tensor, bias: Tensor, past: Past | None) -> Tensor:
        """[B, T, D]; bias is [blocks or B, 1 or blocks, H, queries, keys]."""
        q, k, v = self.project(x) if self.project else (self.wq(x), self.wk(x), self.wv(x))
        q, k = self.q_norm(q), self.k_norm(k)
        queries, keys = bias.shape[-2:]
        window, dim = keys - queries, x.shape[2]
        if past is None:
            k, v = (functional.pad(y, (0, 0, window, 0)) for y in (k, v))
        else:
            k = torch.cat([past.take(window, dim).to(k.dtype), k], dim=1)
            v = torch.cat([past.take(window, dim).to(v.dtype), v], dim=1)
            past.leave(k[:, queries:])
            past.leave(v[:, queries:])
        # [B, blocks, H, head_dim, keys]
        k, v = (y.unfold(1, keys, queries).unflatten(2, (-1, self.head_dim)) for y in (k, v))
        q = q.unflatten(1, (-1, queries)).unflatten(3, (-1, self.head_dim)).transpose(2, 3)
        weights = (q @ k * self.head_dim**-0.5 + bias).softmax(dim=-1)
        mixed = weights.to(v.dtype) @ v.transpose(3, 4)
        return self.wo(mixed.transpose(2, 3).flatten(3).flatten(1, 2))


class _Layer(nn.Module):
    def __init__(self, config: CodecConfig, stage: CodecStage):
        super().__init__()
        dim, init = stage.dim, config.layer_scale_init
        self.attention = _Attention(config, dim)
        self.feed_forward = FeedForward(dim, stage.hidden_dim)
        self.attention_norm = RMSNorm(dim, config.norm_eps)
        self.ffn_norm = RMSNorm(dim, config.norm_eps)
        self.attention_scale = nn.Parameter(torch.full((dim,), init))
        self.ffn_scale = nn.Parameter(torch.full((dim,), init))
        self._transform: Callable[[Tensor], Tensor] | None = None

    def fuse(self) -> None:
        """Make it quicker, for good; inference only."""
        attention = self.attention
        attention.project = together([attention.wq, attention.wk, attention.wv])
        self._transform = fused_feed_forward(self.feed_forward)

    def forward(self, x: Tensor, bias: Tensor, past: Past | None) -> Tensor:
        x = x + self.attention_scale * self.attention(self.attention_norm(x), bias, past)
        transform = self._transform or self.feed_forward
        return x + self.ffn_scale * transform(self.ffn_norm(x))


class WindowedTransformer(nn.Module):
    """The layers of one codec stage; [B, T, D] to [B, T, D]."""

    def __init__(self, config: CodecConfig, stage: CodecStage):
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config, stage) for _ in range(stage.n_layers))
        self.window = stage.window
        self.n_heads = stage.dim // config.head_dim
        self.past_values = 2 * stage.n_layers * stage.window * stage.dim
        self._kept: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """Offline without `past`; with it, `x` continues what `past` remembers."""
        steps = x.shape[1]
        if past is None:
            queries = min(steps, BLOCK_STEPS)
            x = functional.pad(x, (0, 0, 0, -steps % queries))
            blocks = x.shape[1] // queries
            # The first block has nothing behind it, the others have everything.
            known = torch.arange(blocks, device=x.device) * queries
            bias = self._bias(queries, known)
        else:
            known = past.age_frames * (steps // past.frames)
            bias = self._bias(steps, known)[:, None]
        for layer in self.layers:
            x = layer(x, bias, past)
        return x[:, :steps]

    def fuse(self) -> None:
        """Make the layers quicker, for good; inference only."""
        for layer in cast(list[_Layer], list(self.layers)):
            layer.fuse()
        fuse_norms(self)

    def _bias(self, queries: int, known: Tensor) -> Tensor:
        """[N, H, queries, window + queries] ALiBi and mask, where `known` [N] steps came before."""
        alibi, key = self._alibi(queries, known.device)
        exists = key >= -known[:, None]
        return alibi.where(exists[:, None, None], -torch.inf)

    def _alibi(self, queries: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """ALiBi within the window [H, queries, keys], and where each key lies [keys]; kept."""
        if (queries, device) not in self._kept:
            key = torch.arange(self.window + queries, device=device) - self.window
            distance = torch.arange(queries, device=device)[:, None] - key
            slopes = 2.0 ** (-8.0 / self.n_heads * torch.arange(self.n_heads, device=device))
            seen = (distance >= 0) & (distance <= self.window)
            alibi = (-slopes[:, None, None] * distance).where(seen, -torch.inf)
            self._kept[queries, device] = (alibi, key)
        return self._kept[queries, device]
