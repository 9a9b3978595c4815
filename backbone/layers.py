"""The blocks of a Mistral-family decoder, with Mistral's parameter names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.cache import KvCache, RingPlan
from backbone.config import DecoderConfig, MoE
from backbone.rope import rotate


class RMSNorm(nn.Module):
    """Root-mean-square norm; statistics in float32, output in the input's dtype.

    Attributes:
        quick: What a fused model computes instead.
    """

    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps
        self.quick: Callable[[Tensor], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        if self.quick is not None:
            return self.quick(x)
        weight = self.weight if self.weight.dtype == x.dtype else self.weight.to(x.dtype)
        return F.rms_norm(x, weight.shape, weight, self.eps)


@dataclass(frozen=True, slots=True)
class Positions:
    """What attention needs to know about the tokens of one forward, the same in every layer.

    Attributes:
        rotation: complex64 [B, S, 1, head_dim / 2].
        temperature: Scale of the queries, float32 [B, S, 1, 1], or None.
        cache: Keys and values so far, or None for a plain causal forward.
        plans: Where to write and what to see, one per layer; None without a cache.
        watched: Layers that leave their queries here, [B, S, heads, head_dim].
    """

    rotation: Tensor
    temperature: Tensor | None = None
    cache: KvCache | None = None
    plans: tuple[RingPlan, ...] | None = None
    watched: dict[int, Tensor] = field(default_factory=dict)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions and an optional sliding window."""

    def __init__(self, config: DecoderConfig, layer: int):
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.window = config.window(layer)
        q_dim, kv_dim = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
        self.wq = nn.Linear(config.dim, q_dim, bias=config.use_biases)
        self.wk = nn.Linear(config.dim, kv_dim, bias=False)
        self.wv = nn.Linear(config.dim, kv_dim, bias=config.use_biases)
        self.wo = nn.Linear(q_dim, config.dim, bias=config.use_biases)

    def forward(self, x: Tensor, at: Positions) -> Tensor:
        """Attend, [B, S, dim] -> [B, S, dim]."""
        q = rotate(self.wq(x).unflatten(-1, (-1, self.head_dim)), at.rotation)
        k = rotate(self.wk(x).unflatten(-1, (-1, self.head_dim)), at.rotation)
        v = self.wv(x).unflatten(-1, (-1, self.head_dim))
        if at.temperature is not None:
            q = q * at.temperature.type_as(q)
        if self.layer in at.watched:
            at.watched[self.layer] = q
        if at.cache is not None and at.plans is not None:
            plan = at.plans[self.layer]
            k, v = at.cache.update(self.layer, torch.cat((k, v), 2).flatten(0, 1), plan)
            out = attend(q, k.transpose(1, 2), v.transpose(1, 2), mask=plan.mask)
        elif (window := self.window or x.shape[1]) < x.shape[1] or q.requires_grad:
            out = attend_band(q, k, v, window)
        else:
            out = attend(q, k, v)
        return self.wo(out.flatten(2))


def attend(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Softmax attention over [B, S, heads, head_dim]; causal unless a mask says otherwise."""
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=q.shape[2] != k.shape[2],
    )
    return out.transpose(1, 2)


def attend_band(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Causal attention to the last `window` keys, itself included, in time linear in the length.

    Cut into blocks as long as the window, a query needs only its own block and the one before.
    Written out, because on a CPU the fused kernel's backward is four times slower on lengths this
    short: this is also how training attends without a window.
    """
    length, groups = q.shape[1], q.shape[2] // k.shape[2]
    window = min(window, length)
    blocks = -(-length // window)
    pad = (0, 0, 0, 0, 0, blocks * window - length)
    q, k, v = (F.pad(each, pad).unflatten(1, (blocks, window)) for each in (q, k, v))
    if blocks > 1:
        k, v = (torch.cat((F.pad(each[:, :-1], (0,) * 6 + (1, 0)), each), 2) for each in (k, v))
    query = torch.arange(window, device=q.device)[:, None]
    key = torch.arange(window - k.shape[2], window, device=q.device)
    hidden = ((key > query) | (key <= query - window)).repeat(blocks, 1, 1)
    hidden[0] |= key < 0

    q = q.unflatten(3, (-1, groups)) * q.shape[-1] ** -0.5
    scores = torch.einsum("bnqhgd,bnkhd->bhgnqk", q, k)
    weights = scores.float().masked_fill(hidden, float("-inf")).softmax(-1).type_as(v)
    out = torch.einsum("bhgnqk,bnkhd->bnqhgd", weights, v)
    return out.flatten(3, 4).flatten(1, 2)[:, :length]


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x)."""

    def __init__(self, dim: int, hidden_dim: int, *, bias: bool = False):
        super().__init__()
        self.w1 = nn.Linear(dim, hidden_dim, bias=False)
        self.w2 = nn.Linear(hidden_dim, dim, bias=bias)
        self.w3 = nn.Linear(dim, hidden_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position by itself."""
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class ExpertFeedForward(nn.Module):
    """Mixture of experts: each token goes to its best few (Mixtral, arXiv 2401.04088 §2.1)."""

    def __init__(self, dim: int, hidden_dim: int, moe: MoE):
        super().__init__()
        self.per_token = moe.num_experts_per_tok
        self.gate = nn.Linear(dim, moe.num_experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(dim, hidden_dim) for _ in range(moe.num_experts))

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the chosen experts' outputs by the softmax over their gate values."""
        tokens = x.flatten(0, -2)
        scores, chosen = self.gate(tokens).float().topk(self.per_token, dim=-1)
        weights = scores.softmax(dim=-1).type_as(x)
        out = torch.zeros_like(tokens)
        for index, expert in enumerate(self.experts):
            rows, place = torch.where(chosen == index)
            if len(rows):
                out.index_add_(0, rows, expert(tokens[rows]) * weights[rows, place, None])
        return out.view_as(x)


class DecoderLayer(nn.Module):
    """Pre-norm attention and feed-forward, the latter optionally scaled by a condition."""

    def __init__(self, config: DecoderConfig, layer: int):
        super().__init__()
        self.attention = Attention(config, layer)
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)
        self.feed_forward: nn.Module = (
            ExpertFeedForward(config.dim, config.hidden_dim, config.moe)
            if config.moe
            else FeedForward(config.dim, config.hidden_dim, bias=config.use_biases)
        )
        if config.ada_rms_norm_t_cond:
            inner = config.ada_rms_norm_t_cond_dim
            self.ada_rms_norm_t_cond = nn.Sequential(
                nn.Linear(config.dim, inner, bias=False),
                nn.GELU(),
                nn.Linear(inner, config.dim, bias=False),
            )

    def forward(self, x: Tensor, at: Positions, ada_scale: Tensor | None = None) -> Tensor:
        """One layer, [B, S, dim] -> [B, S, dim]; `ada_scale` is [B or 1, 1, dim]."""
        x = x + self.attention(self.attention_norm(x), at)
        inner = self.ffn_norm(x)
        if ada_scale is not None:
            inner = inner * ada_scale
        return x + self.feed_forward(inner)
