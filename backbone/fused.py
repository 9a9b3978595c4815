"""The same layers with fewer and larger operations, for stepping.

A decision of 80 ms is so little work that the number of operations, not their size, is what it
costs. Queries, keys and values come from one product and are rotated in one multiplication, keys
and values are written in one go, and the two halves of the gate share a product. `layers.py` is
the readable form; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.config import DecoderConfig
from backbone.layers import DecoderLayer, FeedForward, Positions


@dataclass(frozen=True, slots=True)
class _Layer:
    attention_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    wo: nn.Linear
    ffn_norm: Tensor
    w13: Tensor | None
    w2: nn.Linear | None
    experts: nn.Module


class FusedLayers:
    """All layers of a decoder, without the final norm. Takes over the memory of their weights."""

    def __init__(self, layers: Iterable[nn.Module], config: DecoderConfig):
        self._heads, self._kv_heads = config.n_heads, config.n_kv_heads
        self._eps = config.norm_eps
        self._layers = [_fuse(layer) for layer in layers if isinstance(layer, DecoderLayer)]

    def __call__(self, x: Tensor, at: Positions, ada_scale: Tensor | None) -> Tensor:
        """Run a cached step, [B, S, dim] -> [B, S, dim]; arguments as for `DecoderLayer`."""
        assert at.cache is not None
        assert at.plans is not None
        batch, new, dim = x.shape
        rows, heads = batch * new, self._heads
        rotation = self._rotation(at, batch, new)
        scale = None if ada_scale is None else ada_scale.expand(batch, -1, -1)
        if scale is not None and new > 1:
            scale = scale.repeat_interleave(new, 0)
        x = x.reshape(rows, dim)
        for index, layer in enumerate(self._layers):
            plan = at.plans[index]
            normed = F.rms_norm(x, (dim,), layer.attention_norm, self._eps)
            qkv = F.linear(normed, layer.qkv, layer.qkv_bias).float()
            pairs = torch.view_as_complex(qkv.view(rows, rotation.shape[1], -1, 2))
            turned = torch.view_as_real(pairs * rotation).flatten(2).to(x.dtype)
            kv = turned[:, heads:].unflatten(1, (2, self._kv_heads))
            k, v = at.cache.update(index, kv, plan)
            q = turned[:, :heads].unflatten(0, (batch, new))
            if index in at.watched:
                at.watched[index] = q
            out = F.scaled_dot_product_attention(
                q.transpose(1, 2),
                k.transpose(1, 2),
                v.transpose(1, 2),
                attn_mask=plan.mask,
                enable_gqa=heads != self._kv_heads,
            )
            x = x + F.linear(out.transpose(1, 2).reshape(rows, -1), layer.wo.weight, layer.wo.bias)
            inner = F.rms_norm(x, (dim,), layer.ffn_norm, self._eps)
            if scale is not None:
                inner = inner * scale[:, index]
            if layer.w13 is None or layer.w2 is None:
                x = x + layer.experts(inner)
            else:
                gate, up = F.linear(inner, layer.w13).chunk(2, -1)
                x = x + F.linear(F.silu(gate) * up, layer.w2.weight, layer.w2.bias)
        return x.view(batch, new, dim)

    def _rotation(self, at: Positions, batch: int, new: int) -> Tensor:
        """One complex factor per head and pair, 1 for the values: [B * S, all heads, pairs]."""
        keys = at.rotation
        queries = keys if at.temperature is None else keys * at.temperature
        shape = (batch, new, self._kv_heads, -1)
        parts = (keys.expand(shape), torch.ones_like(keys).expand(shape))
        queries = queries.expand(batch, new, self._heads, -1)
        return torch.cat((queries, *parts), 2).flatten(0, 1)


def _fuse(layer: DecoderLayer) -> _Layer:
    attention, ffn = layer.attention, layer.feed_forward
    projections = [attention.wq, attention.wk, attention.wv]
    biases = None if attention.wq.bias is None else torch.cat([_bias(each) for each in projections])
    swiglu = ffn if isinstance(ffn, FeedForward) else None
    for linear in (attention.wo, swiglu.w2) if swiglu else (attention.wo,):
        joined([linear])
    return _Layer(
        attention_norm=layer.attention_norm.weight,
        qkv=joined(projections),
        qkv_bias=biases,
        wo=attention.wo,
        ffn_norm=layer.ffn_norm.weight,
        w13=joined([swiglu.w1, swiglu.w3]) if swiglu else None,
        w2=swiglu.w2 if swiglu else None,
        experts=ffn,
    )


def _bias(linear: nn.Linear) -> Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias


def joined(linears: list[nn.Linear]) -> Tensor:
    """One weight [out, in] for several projections, of which theirs become views.

    On a CPU it is stored input-major, which for a single row is half again as fast.
    """
    weight = torch.cat([linear.weight.detach() for linear in linears])
    if weight.device.type == "cpu":
        weight = weight.t().contiguous().t()
    parts = weight.split([linear.out_features for linear in linears])
    for linear, part in zip(linears, parts, strict=True):
        linear.weight = nn.Parameter(part, requires_grad=False)
    return weight
