"""Rotary positions: interleaved pairs, angles in float64, computed on the fly.

No table, so no cap on the length of a call. At position 2^20 a float32 angle is off by 0.06 rad;
a float64 one by 1e-10.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backbone.config import DecoderConfig


def inverse_frequencies(config: DecoderConfig) -> Tensor:
    """Turns per position of each pair of dimensions, float64 [head_dim / 2], YaRN included."""
    pairs = torch.arange(config.head_dim // 2, dtype=torch.float64)
    frequencies = config.rope_theta ** (-2.0 * pairs / config.head_dim)
    if config.yarn is None:
        return frequencies
    yarn, d = config.yarn, config.head_dim

    def dimension_that_turns(times: float) -> float:
        turns = yarn.original_max_position_embeddings / (2 * math.pi * times)
        return d * math.log(turns) / (2 * math.log(config.rope_theta))

    low = max(math.floor(dimension_that_turns(yarn.beta)), 0)
    high = min(math.ceil(dimension_that_turns(yarn.alpha)), d - 1)
    stretched = ((pairs - low) / max(high - low, 1e-3)).clamp(0, 1)
    return frequencies * (1 - stretched) + frequencies / yarn.factor * stretched


def rotations(config: DecoderConfig, frequencies: Tensor, positions: Tensor) -> Tensor:
    """Unit complex numbers that turn each pair of dimensions to its position.

    Args:
        config: Gives YaRN's attention factor, when there is one.
        frequencies: From `inverse_frequencies`, float64 [head_dim / 2].
        positions: int64 [B, S].

    Returns:
        complex64 [B, S, 1, head_dim / 2].
    """
    angles = positions[..., None, None] * frequencies
    length = torch.ones_like(angles)
    if config.yarn is not None and config.yarn.apply_scale:
        length = length * (0.1 * math.log(config.yarn.factor) + 1.0)
    return torch.polar(length, angles).to(torch.complex64)


def query_temperature(config: DecoderConfig, positions: Tensor) -> Tensor | None:
    """Llama-4 scaling of the queries, float32 [B, S, 1, 1], or None when the model has none."""
    scaling = config.llama_4_scaling
    if scaling is None:
        return None
    ages = torch.floor(positions.double() / scaling.original_max_position_embeddings)
    return (1 + scaling.beta * torch.log1p(ages)).float()[..., None, None]


def rotate(x: Tensor, by: Tensor) -> Tensor:
    """Turn the pairs (2j, 2j + 1) of x, [B, S, heads, head_dim]; keeps its dtype."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * by).flatten(-2).type_as(x)


def halves_to_pairs(weight: Tensor, n_heads: int) -> Tensor:
    """Reorder the rows of a query or key projection from half-split to interleaved rotation.

    Hugging Face files store dimension j next to j + head_dim / 2; the published Mistral files store
    the two dimensions of a pair side by side. Works on weights [heads * head_dim, in] and biases.
    """
    heads = weight.unflatten(0, (n_heads, 2, -1))
    return heads.transpose(1, 2).reshape(weight.shape)


def pairs_to_halves(weight: Tensor, n_heads: int) -> Tensor:
    """Inverse of `halves_to_pairs`."""
    heads = weight.unflatten(0, (n_heads, -1, 2))
    return heads.transpose(1, 2).reshape(weight.shape)
