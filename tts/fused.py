"""The same with fewer operations, for frames, whose cost is their number.

Projections of one input are one product, and norms are shorter. Inference only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional

from backbone.fused import Norm
from backbone.layers import FeedForward, RMSNorm
from backbone.products import product


def together(linears: Sequence[nn.Linear]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """A function that gives what each of the linears gives, without biases."""
    multiply, widths = product(linears), [linear.out_features for linear in linears]

    def project(x: Tensor) -> tuple[Tensor, ...]:
        return multiply(x).split(widths, dim=-1)

    return project


def fused_feed_forward(ffn: FeedForward) -> Callable[[Tensor], Tensor]:
    """A function that gives what the feed-forward gives."""
    gates, down = together([ffn.w1, ffn.w3]), product([ffn.w2])

    def transform(x: Tensor) -> Tensor:
        gate, up = gates(x)
        return down(functional.silu(gate) * up)

    return transform


def fuse_norms(module: nn.Module) -> None:
    """Let every norm inside take fewer operations, for good."""
    for norm in module.modules():
        if isinstance(norm, RMSNorm):
            norm.quick = Norm(norm)
