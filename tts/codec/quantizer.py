"""Latents to codes and back: one vector-quantised semantic code, many scalar acoustic ones.

Voxtral TTS, arXiv 2603.25551 §2.1: the semantic channels go to the nearest of a codebook that
follows them by moving averages; each acoustic channel is rounded to one of L uniform levels in
[-1, 1]. In training some utterances pass unquantised, so the decoder learns both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tts.config import CodecConfig

MIN_USAGE = 1e-5
EMA_DECAY = 0.99
DEAD_USAGE = 0.03
"""A code used less than this per step, on average, is given the place of a random input."""
NORM_MOMENTUM = 0.05


@dataclass(frozen=True)
class Quantized:
    """What a training pass through the quantiser gives.

    Attributes:
        latent: [B, T, semantic + acoustic] for the decoder: a mix of quantised, dithered and plain.
        semantic: [B, T, semantic] always quantised (straight-through), for distillation losses.
        codes: [B, T, 1 + acoustic] int64 raw codes.
        commitment: Scalar, mean squared distance of semantic channels to their codeword.
    """

    latent: Tensor
    semantic: Tensor
    codes: Tensor
    commitment: Tensor


class SemanticCodebook(nn.Module):
    """Vector quantiser stored as the statistics it is learnt from: sums and usage, in fp32.

    The codeword is sum / usage, computed in fp32 whatever the model's dtype: a bf16 table is
    audibly worse.
    """

    cluster_usage: Tensor
    embedding_sum: Tensor
    scale: Tensor | None
    mean: Tensor | None
    frozen: Tensor | None

    def __init__(self, size: int, dim: int, *, norm: bool = False):
        super().__init__()
        self.register_buffer("cluster_usage", torch.ones(size))
        self.register_buffer("embedding_sum", torch.randn(size, dim))
        # Present only while training with a norm; `fold_norm` moves both into what is shipped.
        self.register_buffer("scale", torch.ones(dim) if norm else None)
        self.register_buffer("mean", torch.zeros(dim) if norm else None)
        self.register_buffer("frozen", None, persistent=False)

    @property
    def table(self) -> Tensor:
        """[size, dim] fp32 codewords."""
        if self.frozen is not None:
            return self.frozen
        usage = self.cluster_usage.float().clamp(min=MIN_USAGE)
        table = self.embedding_sum.float() / usage[:, None]
        return table if self.mean is None else table + self.mean

    def freeze(self) -> None:
        """Compute the table once. For inference only, after the module's last move or cast."""
        self.frozen = self.table

    def normalise(self, x: Tensor) -> Tensor:
        """[B, T, dim] fp32 latents, scaled to unit variance if the codebook has a norm."""
        x = x.float()
        if self.scale is None or self.mean is None:
            return x
        if not self.training:
            return x * self.scale
        scale = (x.var(dim=(0, 1), unbiased=False) + 1e-5).rsqrt()
        with torch.no_grad():
            self.scale.lerp_(scale, NORM_MOMENTUM)
            self.mean.lerp_(x.mean(dim=(0, 1)) * scale, NORM_MOMENTUM)
        return x * scale

    def nearest(self, x: Tensor) -> Tensor:
        """[..., dim] fp32 to [...] int64: the codeword at the least Euclidean distance."""
        table = self.table
        return (table.square().sum(1) - 2 * x @ table.T).argmin(-1)

    @torch.no_grad()
    def learn(self, x: Tensor, codes: Tensor) -> None:
        """Move codewords towards the [N, dim] inputs assigned to them; restart the unused."""
        x = x if self.mean is None else x - self.mean
        counts = torch.bincount(codes, minlength=len(self.cluster_usage)).to(x.dtype)
        sums = torch.zeros_like(self.embedding_sum).index_add_(0, codes, x)
        self.cluster_usage.lerp_(counts, 1 - EMA_DECAY)
        self.embedding_sum.lerp_(sums, 1 - EMA_DECAY)
        dead = (self.cluster_usage < DEAD_USAGE).nonzero()[:, 0]
        fresh = x[torch.randint(len(x), (len(dead),), device=x.device)]
        self.cluster_usage[dead] = 1.0
        self.embedding_sum[dead] = fresh

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Begin training with [N, dim] normalised inputs as codewords."""
        x = x if self.mean is None else x - self.mean
        picks = torch.randint(len(x), (len(self.cluster_usage),), device=x.device)
        self.embedding_sum.copy_(x[picks])
        self.cluster_usage.fill_(1.0)

    @torch.no_grad()
    def fold_norm(self) -> Tensor:
        """Drop the norm for good; returns the [dim] scale its input channels must take on."""
        if self.scale is None or self.mean is None:
            return torch.ones_like(self.embedding_sum[0])
        self.embedding_sum += self.mean * self.cluster_usage[:, None]
        scale = self.scale
        self.scale = self.mean = None
        return scale


class Quantizer(nn.Module):
    """Both quantisers over one latent frame: semantic channels first, then acoustic."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.semantic_codebook = SemanticCodebook(
            config.semantic_codebook_size, config.semantic_dim, norm=config.semantic_norm
        )
        self.split = (config.semantic_dim, config.acoustic_dim)
        self.top_level = config.acoustic_codebook_size - 1

    def encode(self, latent: Tensor) -> Tensor:
        """[B, T, latent] to [B, T, 1 + acoustic] int64 raw codes."""
        semantic, acoustic = latent.float().split(self.split, dim=-1)
        first = self.semantic_codebook.nearest(self.semantic_codebook.normalise(semantic))
        return torch.cat([first[..., None], self._levels(acoustic.tanh()).long()], dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """[B, T, 1 + acoustic] raw codes to [B, T, latent] fp32."""
        semantic = functional.embedding(codes[..., 0], self.semantic_codebook.table)
        return torch.cat([semantic, codes[..., 1:].float() * (2 / self.top_level) - 1], dim=-1)

    def forward(self, latent: Tensor) -> Quantized:
        """Training pass over [B, T, latent]; updates the codebook when in training mode.

        Per utterance: semantic 50 % quantised, 50 % as is; acoustic 50 % quantised
        (straight-through), 25 % with uniform noise of magnitude 1 / L, 25 % as is. In eval mode
        everything is quantised.
        """
        semantic, acoustic = latent.float().split(self.split, dim=-1)
        semantic, acoustic = self.semantic_codebook.normalise(semantic), acoustic.tanh()
        first = self.semantic_codebook.nearest(semantic.detach())
        codeword = functional.embedding(first, self.semantic_codebook.table)
        if self.training:
            self.semantic_codebook.learn(semantic.detach().flatten(0, 1), first.flatten())
        quantized = semantic + (codeword - semantic).detach()
        levels = self._levels(acoustic)
        rounded = acoustic + (levels * (2 / self.top_level) - 1 - acoustic).detach()
        if self.training:
            vq, fsq = torch.rand(2, len(latent), 1, 1, device=latent.device)
            noise = (torch.rand_like(acoustic) * 2 - 1) / (self.top_level + 1)
            into_semantic = quantized.where(vq < 0.5, semantic)
            into_acoustic = rounded.where(fsq < 0.5, (acoustic + noise).where(fsq < 0.75, acoustic))
        else:
            into_semantic, into_acoustic = quantized, rounded
        return Quantized(
            latent=torch.cat([into_semantic, into_acoustic], dim=-1),
            semantic=quantized,
            codes=torch.cat([first[..., None], levels.detach().long()], dim=-1),
            commitment=functional.mse_loss(semantic, codeword.detach()),
        )

    def _levels(self, acoustic: Tensor) -> Tensor:
        """Levels 0..L-1 of values in [-1, 1], rounding half to even as published."""
        return ((acoustic + 1) * (self.top_level / 2)).round()
