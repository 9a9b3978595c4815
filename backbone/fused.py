"""The same layers with fewer, larger and lighter operations, for stepping.

A decision of 80 ms is so little work that the number of operations and the bytes of the weights are
what it costs. Queries, keys and values come from one product and are turned where they lie, and the
two halves of the gate share a product. `layers.py` is the readable form; a test holds the two
together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.config import DecoderConfig
from backbone.layers import DecoderLayer, FeedForward, Positions, RMSNorm
from backbone.products import Product, product


@dataclass(frozen=True, slots=True)
class _Layer:
    attention_norm: Norm
    qkv: Product
    wo: Product
    ffn_norm: Norm
    w13: Product | None
    w2: Product | None
    experts: nn.Module


class FusedLayers:
    """All layers of a decoder and its final norm."""

    def __init__(self, layers: Iterable[nn.Module], norm: RMSNorm, config: DecoderConfig):
        self._heads, self._kv_heads = config.n_heads, config.n_kv_heads
        self._layers = [_fuse(layer) for layer in layers if isinstance(layer, DecoderLayer)]
        self._norm = Norm(norm)
        self._ffn_norms = torch.stack([layer.ffn_norm.weight for layer in self._layers])

    def __call__(self, x: Tensor, at: Positions, ada_scale: Tensor | None) -> Tensor:
        """Run a cached step, [B, S, dim] -> [B, S, dim]; arguments as for `DecoderLayer`."""
        assert at.cache is not None
        assert at.plans is not None
        batch, new, dim = x.shape
        rows, heads, kv_heads = batch * new, self._heads, self._kv_heads
        rotation = self._rotation(at, batch, new)
        turning = 2 * rotation.shape[1]
        ffn_weights = self._ffn_weights(ada_scale, batch, new)
        x = x.reshape(rows, dim).clone()
        for index, layer in enumerate(self._layers):
            plan = at.plans[index]
            qkv = layer.qkv(layer.attention_norm(x))
            if qkv.dtype != torch.float32:
                qkv = qkv.float()
            qkv[:, :turning].view(torch.complex64).mul_(rotation)
            if qkv.dtype != x.dtype:
                qkv = qkv.to(x.dtype)
            q, kv = qkv.view(rows, heads + 2 * kv_heads, -1).split((heads, 2 * kv_heads), 1)
            k, v = at.cache.update(index, kv, plan)
            if index in at.watched:
                at.watched[index] = q.unflatten(0, (batch, new))
            x += layer.wo(self._attend(q, k, v, plan.mask))
            inner = layer.ffn_norm(x, ffn_weights[index])
            if layer.w13 is None or layer.w2 is None:
                x += layer.experts(inner)
            else:
                gate, up = layer.w13(inner).chunk(2, -1)
                x += layer.w2(F.silu(gate) * up)
        return self._norm(x).view(batch, new, dim)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Attention of q [B * S, heads, head_dim] to k and v [B, kv_heads, extent, head_dim].

        Queries that share keys stand below one another, as if they were later tokens.
        """
        rows, new, groups = len(q), mask.shape[2], self._heads // self._kv_heads
        if new == 1:
            q = q.view(rows, self._kv_heads, groups, -1)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).reshape(rows, -1)
        if groups > 1:
            mask = mask.repeat(1, 1, groups, 1)
        q = q.view(-1, new, self._kv_heads, groups, q.shape[-1]).permute(0, 2, 3, 1, 4)
        out = F.scaled_dot_product_attention(q.flatten(2, 3), k, v, attn_mask=mask)
        return out.unflatten(2, (groups, new)).permute(0, 3, 1, 2, 4).reshape(rows, -1)

    def _ffn_weights(
        self, ada_scale: Tensor | None, batch: int, new: int
    ) -> Sequence[Tensor | None]:
        """Weights of each layer's second norm where they differ between rows, [B * S, dim]."""
        if ada_scale is None:
            return (None,) * len(self._layers)
        weights = (ada_scale * self._ffn_norms).expand(batch, -1, -1)
        return (weights if new == 1 else weights.repeat_interleave(new, 0)).unbind(1)

    def _rotation(self, at: Positions, batch: int, new: int) -> Tensor:
        """One complex factor per query or key head and pair, [B * S, heads * pairs]."""
        heads = (self._heads, self._kv_heads)
        if at.temperature is None:
            return at.rotation.expand(batch, new, sum(heads), -1).reshape(batch * new, -1)
        parts = at.rotation * at.temperature, at.rotation
        each = [part.expand(batch, new, n, -1) for part, n in zip(parts, heads, strict=True)]
        return torch.cat(each, 2).flatten(0, 1).flatten(1)


class Norm:
    """RMSNorm of [rows, dim]; in float32 on a CPU with half as many operations as torch's own."""

    def __init__(self, norm: RMSNorm):
        self.weight, self._eps = norm.weight.detach(), norm.eps
        self._least: Tensor | None = None
        if self.weight.device.type == "cpu" and self.weight.dtype == torch.float32:
            # x / sqrt(|x|^2 / dim + eps) is sqrt(dim) x / hypot(|x|, sqrt(dim eps)).
            self._least = torch.tensor((len(self.weight) * norm.eps) ** 0.5)
            self.weight = self.weight * len(self.weight) ** 0.5

    def __call__(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Normalise each row; `weight` [rows, dim] takes the place of the norm's own."""
        if self._least is None:
            normed = F.rms_norm(
                x, self.weight.shape, self.weight if weight is None else None, self._eps
            )
            return normed if weight is None else normed * weight
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scaled = x * (self.weight if weight is None else weight)
        return scaled.div_(torch.hypot(length, self._least))


def _fuse(layer: DecoderLayer) -> _Layer:
    attention, ffn = layer.attention, layer.feed_forward
    swiglu = ffn if isinstance(ffn, FeedForward) else None
    return _Layer(
        attention_norm=Norm(layer.attention_norm),
        qkv=product([attention.wq, attention.wk, attention.wv]),
        wo=product([attention.wo]),
        ffn_norm=Norm(layer.ffn_norm),
        w13=product([swiglu.w1, swiglu.w3]) if swiglu else None,
        w2=product([swiglu.w2]) if swiglu else None,
        experts=ffn,
    )
