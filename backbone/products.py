"""Products with constant weights, as quick as a few rows at a time allow.

With so few rows a product costs what it takes to read the weight. On a CPU a weight is therefore
read as half floats where that loses nothing, which is so for any checkpoint stored in bfloat16;
inputs, sums and outputs stay float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Product = Callable[[Tensor], Tensor]

HALF_ERROR = 2.0**-25
"""A bfloat16 number in the range of half floats is never further than this from one."""


def product(linears: Sequence[nn.Linear]) -> Product:
    """A function that gives what all the linears give, side by side, for [rows, in]. Inference only.

    Their weights are rearranged; where half floats will do, those are held besides.
    """
    bias = None
    if any(linear.bias is not None for linear in linears):
        bias = torch.cat([_bias(linear) for linear in linears])
    return weight_product(joined(linears), bias)


def weight_product(weight: Tensor, bias: Tensor | None = None) -> Product:
    """As `product`, for a weight [out, in] and a bias [out]."""
    weight = weight.detach()
    if _fits_halves(weight):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch means to move these two to another package
            halves = torch.fbgemm_pack_gemm_matrix_fp16(weight)
            multiply = torch.fbgemm_linear_fp16_weight_fp32_activation
            multiply(weight.new_zeros(1, weight.shape[1]), halves, bias)
        return lambda x: multiply(x, halves, bias)
    return lambda x: F.linear(x, weight, bias)


def joined(linears: Sequence[nn.Linear]) -> Tensor:
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


def gelu(x: Tensor) -> Tensor:
    """Exact GELU of a few rows; on a CPU torch's own takes longer to begin than to compute."""
    return F.gelu(x) if x.is_cuda else torch.special.ndtr(x).mul_(x)


def _fits_halves(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return False
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return False
    return bool(((weight.half().float() - weight).abs() <= HALF_ERROR).all())


def _bias(linear: nn.Linear) -> Tensor:
    if linear.bias is None:
        return linear.weight.new_zeros(linear.out_features)
    return linear.bias.detach()
