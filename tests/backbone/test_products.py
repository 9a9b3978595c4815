from __future__ import annotations

import pytest
import torch
from torch import nn

from backbone.products import HALF_ERROR, gelu, joined, product


def linears(dtype: torch.dtype = torch.float32, bias: bool = True) -> list[nn.Linear]:
    torch.manual_seed(0)
    made = [nn.Linear(24, 16, bias=bias), nn.Linear(24, 40, bias=False)]
    for linear in made:
        linear.to(dtype).float().requires_grad_(False)
    return made


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [1, 4, 33])
@torch.inference_mode()
def test_one_product_gives_what_its_projections_give(dtype, rows, bias):
    separate, together = linears(dtype, bias), linears(dtype, bias)
    x = 3 * torch.randn(rows, 24)
    expected = torch.cat([linear(x) for linear in separate], -1)
    torch.testing.assert_close(product(together)(x), expected, atol=2e-6, rtol=1e-6)
    torch.testing.assert_close(torch.cat([linear(x) for linear in together], -1), expected)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e3])
def test_bfloat16_numbers_are_kept_by_half_floats(scale):
    weight = (scale * torch.randn(1000)).bfloat16().float()
    assert (weight.half().float() - weight).abs().max() <= HALF_ERROR


@torch.inference_mode()
def test_weights_beyond_half_floats_stay_what_they_are():
    (linear,) = linears(bias=False)[1:]
    linear.weight[0, 0] = 1e6
    linear.weight.copy_(linear.weight.bfloat16())
    x = torch.randn(2, 24)
    expected = linear(x)
    torch.testing.assert_close(product([linear])(x), expected)


def test_joined_projections_share_their_weight():
    made = linears()
    weight = joined(made)
    assert made[0].weight.data_ptr() == weight.data_ptr()
    weight.zero_()
    assert not any(linear.weight.any() for linear in made)


def test_gelu_of_a_few_rows_is_exact():
    x = torch.linspace(-12, 12, 4001)
    torch.testing.assert_close(gelu(x), nn.functional.gelu(x), atol=1e-6, rtol=1e-6)
