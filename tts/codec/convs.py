"""Causal convolutions as matrix products over [B, T, C].

Parameters keep the shapes and names of `torch.nn` convolutions under weight norm, so checkpoints
load as published; the arithmetic is a GEMM over windows, which in bf16 on a CPU is several times
faster than `conv1d` and needs no transposes between convolution and transformer.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm as with_weight_norm

from common.errors import CheckpointError
from tts.codec.past import Past


class _CausalGemm(nn.Module):
    """Windows of `taps` inputs, `stride` apart, times one matrix; nothing ahead is ever seen."""

    conv: Any  # holds the parameters; torch does not type parametrisations
    folded: Tensor | None

    def __init__(self, conv: nn.Module, in_dim: int, taps: int, stride: int, weight_norm: bool):
        super().__init__()
        self.conv = with_weight_norm(conv) if weight_norm else conv
        self.in_dim, self.taps, self.stride = in_dim, taps, stride
        self.past_steps = taps - stride
        self.register_buffer("folded", None, persistent=False)

    @property
    def past_values(self) -> int:
        """Values per stream that a streaming call remembers."""
        return self.past_steps * self.in_dim

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are stored in."""
        weight = next(self.conv.parameters()) if self.folded is None else self.folded
        return weight.dtype

    def fold(self) -> None:
        """Replace weight norm and layout by the matrix they amount to. For inference only."""
        self.folded = self._matrix().detach().contiguous()
        del self.conv

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """[B, T, in] to [B, T / stride, out]; T is a multiple of the stride."""
        before = self._before(x)
        if past is not None:
            before = torch.where(past.fresh, before, past.take(self.past_steps, self.in_dim))
        x = torch.cat([before.to(x.dtype), x], dim=1)
        if past is not None:
            past.leave(x[:, x.shape[1] - self.past_steps :])
        matrix = self._matrix() if self.folded is None else self.folded
        return functional.linear(x.unfold(1, self.taps, self.stride).flatten(2), matrix)

    def _matrix(self) -> Tensor:
        raise NotImplementedError

    def _before(self, x: Tensor) -> Tensor:
        """[B, past_steps, in] that stand before the first input of a stream."""
        raise NotImplementedError


class CausalConv(_CausalGemm):
    """`Conv1d` without bias, padded on the left by kernel - stride inputs.

    Args:
        pad: What stands before the first input: its copies ("replicate") or, without repeating it,
            the mirror image of the inputs that follow it ("reflect").
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        kernel: int,
        stride: int = 1,
        *,
        pad: Literal["replicate", "reflect"] = "replicate",
        weight_norm: bool = True,
    ):
        conv = nn.Conv1d(in_dim, out_dim, kernel, stride, bias=False)
        super().__init__(conv, in_dim, kernel, stride, weight_norm)
        self.pad = pad

    def _matrix(self) -> Tensor:
        weight: Tensor = self.conv.weight
        return weight.flatten(1)

    def _before(self, x: Tensor) -> Tensor:
        if self.pad == "reflect":
            return x[:, 1 : self.past_steps + 1].flip(1)
        return x[:, :1].expand(-1, self.past_steps, -1)


class CausalConvTranspose(_CausalGemm):
    """`ConvTranspose1d` without bias whose last kernel - stride outputs are dropped.

    Output stride·t + r sees inputs t, t-1, … through kernel slices r, r + stride, …: a causal
    convolution of kernel / stride taps that makes `stride` outputs a step. Zeros stand before t = 0.
    """

    def __init__(
        self, in_dim: int, out_dim: int, kernel: int, stride: int, *, weight_norm: bool = True
    ):
        if kernel % stride:
            raise CheckpointError(
                f"A transposed convolution of kernel {kernel} and stride {stride} cannot stream: "
                "the kernel must be a multiple of the stride."
            )
        conv = nn.ConvTranspose1d(in_dim, out_dim, kernel, stride, bias=False)
        super().__init__(conv, in_dim, kernel // stride, 1, weight_norm)
        self.up = stride

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """[B, T, in] to [B, T * stride, out]."""
        return super().forward(x, past).unflatten(2, (self.up, -1)).flatten(1, 2)

    def _matrix(self) -> Tensor:
        slices: Tensor = self.conv.weight.unflatten(2, (self.taps, self.up)).flip(2)
        return slices.permute(3, 1, 0, 2).flatten(0, 1).flatten(1)

    def _before(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[0], self.past_steps, self.in_dim)
