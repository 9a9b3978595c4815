"""From a hidden state to one frame of codes (Voxtral TTS, arXiv 2603.25551 §2.2).

The semantic code is an argmax. The acoustic codes are drawn by flow matching: a transformer over
exactly three tokens (noisy latent, time, hidden state), without positions or mask, gives a velocity;
a few Euler steps carry noise to a latent, which is rounded to levels.

`velocity` is the plain, differentiable form. `draw` gives the same numbers with less work: the
hidden state's and the time's queries, keys and values in the first layer do not change between steps
(or at all), the unguided branch shares its noisy token with the guided one and has zeros for its
hidden state, and in the last layer only the first token is worth finishing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbone.decoder import rotary_timescale
from backbone.layers import FeedForward, RMSNorm
from tts.config import EMPTY_AUDIO, END_AUDIO, N_SPECIAL_CODES, AcousticConfig, AudioConfig, padded
from tts.fused import fuse_norms, fused_feed_forward, together

Heads = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values, each [rows, tokens, heads, head_dim]."""


class _Layer(nn.Module):
    """A backbone layer without positions or mask, split where `draw` reuses its parts."""

    def __init__(self, config: AcousticConfig):
        super().__init__()
        dim, q_dim = config.dim, config.n_heads * config.head_dim
        kv_dim = config.n_kv_heads * config.head_dim
        self.attention = nn.ModuleDict(
            {
                "wq": nn.Linear(dim, q_dim, bias=False),
                "wk": nn.Linear(dim, kv_dim, bias=False),
                "wv": nn.Linear(dim, kv_dim, bias=False),
                "wo": nn.Linear(q_dim, dim, bias=False),
            }
        )
        self.attention_norm = RMSNorm(dim, config.norm_eps)
        self.ffn_norm = RMSNorm(dim, config.norm_eps)
        self.feed_forward = FeedForward(dim, config.hidden_dim)
        self.head_dim = config.head_dim
        self._project: Callable[[Tensor], tuple[Tensor, ...]] | None = None
        self._transform: Callable[[Tensor], Tensor] | None = None

    def fuse(self) -> None:
        """Make it quicker, for good; inference only."""
        self._project = together(self._linears)
        self._transform = fused_feed_forward(self.feed_forward)

    @property
    def _linears(self) -> list[nn.Linear]:
        return [cast(nn.Linear, self.attention[name]) for name in ("wq", "wk", "wv")]

    def heads(self, x: Tensor) -> Heads:
        """[rows, tokens, dim] to what attention needs of each token."""
        x = self.attention_norm(x)
        parts = self._project(x) if self._project else [linear(x) for linear in self._linears]
        q, k, v = (part.unflatten(-1, (-1, self.head_dim)) for part in parts)
        return q, k, v

    def finish(self, x: Tensor, heads: Heads) -> Tensor:
        """Attend and transform the first `x.shape[1]` tokens, [rows, tokens, dim]."""
        q, k, v = (part.transpose(1, 2) for part in heads)
        grouped = q.shape[1] != k.shape[1]
        mixed = functional.scaled_dot_product_attention(q, k, v, enable_gqa=grouped)
        x = x + self.attention["wo"](mixed.transpose(1, 2).flatten(2))
        transform = self._transform or self.feed_forward
        out: Tensor = x + transform(self.ffn_norm(x))
        return out


class AcousticTransformer(nn.Module):
    """Semantic head and flow-matching head, under the published names."""

    def __init__(self, config: AcousticConfig, audio: AudioConfig):
        super().__init__()
        self.config, self.audio = config, audio
        dim, codes = config.dim, audio.n_acoustic_codebook
        self.input_projection = nn.Linear(codes, dim, bias=False)
        self.time_projection = nn.Linear(dim, dim, bias=False)
        self.llm_projection = nn.Linear(config.input_dim, dim, bias=False)
        self.semantic_codebook_output = nn.Linear(
            config.input_dim, padded(audio.semantic_rows), bias=False
        )
        self.acoustic_codebook_output = nn.Linear(dim, codes, bias=False)
        self.norm = RMSNorm(dim, config.norm_eps)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.n_layers))
        self._times: list[tuple[Tensor, Heads]] = []

    @property
    def _blocks(self) -> list[_Layer]:
        return cast(list[_Layer], list(self.layers))

    def fuse(self) -> None:
        """Make `draw` quicker, for good; inference only, after the last move or cast."""
        for layer in self._blocks:
            layer.fuse()
        fuse_norms(self)

    def semantic_logits(self, h: Tensor) -> Tensor:
        """[..., input_dim] to fp32 [..., rows]; rows that are no code or END are -inf."""
        logits: Tensor = self.semantic_codebook_output(h).float()
        row = torch.arange(logits.shape[-1], device=h.device)
        never = (row == EMPTY_AUDIO) | (row >= self.audio.semantic_rows)
        return logits.masked_fill(never, -torch.inf)

    def velocity(self, x_t: Tensor, t: Tensor, h: Tensor) -> Tensor:
        """Velocity of the flow; differentiable.

        Args:
            x_t: [N, acoustic codes] latent at time t; noise at 0, data at 1.
            t: [N] in [0, 1].
            h: [N, input_dim] hidden states; zeros for the unconditioned branch.

        Returns:
            [N, acoustic codes].
        """
        tokens = torch.stack(
            [self.input_projection(x_t), self._time(t, h.dtype), self.llm_projection(h)], dim=1
        )
        for layer in self._blocks:
            tokens = layer.finish(tokens, layer.heads(tokens))
        out: Tensor = self.acoustic_codebook_output(self.norm(tokens[:, 0]))
        return out

    def draw(self, h: Tensor, noise: Tensor) -> Tensor:
        """Acoustic latents by Euler steps from noise.

        Args:
            h: [B, input_dim] hidden states.
            noise: [B, acoustic codes] fp32, already scaled.

        Returns:
            fp32 [B, acoustic codes] at t = 1, not clamped.
        """
        alpha = self.config.cfg_alpha
        steps = self.config.n_decoding_steps
        # The published grid is computed in the model's dtype; in bf16 it is not quite uniform.
        grid = torch.linspace(0, 1, steps + 1, dtype=h.dtype).tolist()
        llm = self.llm_projection(h)[:, None]
        llm_heads = self._blocks[0].heads(llm)
        if alpha != 1:
            llm, *rest = (_with_zeros(part) for part in (llm, *llm_heads))
            llm_heads = (rest[0], rest[1], rest[2])
        rows, x = llm.shape[0], noise
        for step, (time, time_heads) in enumerate(self.times(h)):
            latent = self.input_projection(x.to(h.dtype))[:, None]
            latent_heads = self._blocks[0].heads(latent)
            parts = zip(latent_heads, time_heads, llm_heads, strict=True)
            q, k, v = (_three(a, b, c, rows) for a, b, c in parts)
            v_t = self._finish(_three(latent, time, llm, rows), (q, k, v)).float()
            if alpha != 1:
                guided, unguided = v_t.chunk(2)
                v_t = unguided + alpha * (guided - unguided)
            x = x + v_t * (grid[step + 1] - grid[step])
        return x

    def times(self, like: Tensor) -> list[tuple[Tensor, Heads]]:
        """Per Euler step, the time token [1, 1, dim] and its first-layer heads; computed once."""
        if not self._times or self._times[0][0].dtype != like.dtype:
            grid = torch.linspace(0, 1, self.config.n_decoding_steps + 1, dtype=like.dtype)
            tokens = self._time(grid[:-1].to(like.device), like.dtype)[:, None]
            self._times = [(t[None], self._blocks[0].heads(t[None])) for t in tokens]
        return self._times

    def train(self, mode: bool = True) -> AcousticTransformer:
        """Forget what was computed from weights that are about to change."""
        self._times = []
        return super().train(mode)

    def levels(self, x: Tensor) -> Tensor:
        """fp32 latents [..., codes] to int64 raw acoustic codes, half to even as published."""
        top = self.audio.acoustic_codebook_size - 1
        return ((x.clamp(-1, 1) + 1) / 2 * top).round().long()

    def next_frame(self, h: Tensor, noise: Tensor, may_end: Tensor) -> Tensor:
        """One frame for each stream.

        Args:
            h: [B, input_dim] hidden states.
            noise: [B, acoustic codes] fp32, each stream's own.
            may_end: [B] bool; False forbids END (the first frame of an utterance).

        Returns:
            [B, 1 + acoustic codes] int64 raw codes; a semantic code of -1 is END.
        """
        logits = self.semantic_logits(h)
        logits[:, END_AUDIO].masked_fill_(~may_end, -torch.inf)
        semantic = logits.argmax(-1, keepdim=True) - N_SPECIAL_CODES
        return torch.cat([semantic, self.levels(self.draw(h, noise))], dim=-1)

    def _time(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        embedding = rotary_timescale(t.float(), self.config.dim)
        out: Tensor = self.time_projection(embedding.to(dtype))
        return out

    def _finish(self, tokens: Tensor, heads: Heads) -> Tensor:
        """The rest of `velocity`, given the first layer's heads."""
        last = len(self.layers) - 1
        for index, layer in enumerate(self._blocks):
            if index:
                heads = layer.heads(tokens)
            if index == last:
                tokens, heads = tokens[:, :1], (heads[0][:, :1], heads[1], heads[2])
            tokens = layer.finish(tokens, heads)
        out: Tensor = self.acoustic_codebook_output(self.norm(tokens[:, 0]))
        return out


def _with_zeros(guided: Tensor) -> Tensor:
    """Append the unguided rows: every projection of a zero hidden state is zero."""
    return torch.cat([guided, torch.zeros_like(guided)])


def _three(latent: Tensor, time: Tensor, llm: Tensor, rows: int) -> Tensor:
    """Three tokens for `rows` rows, of which the latent may be shared by two branches."""
    latent = torch.cat([latent, latent]) if len(latent) < rows else latent
    return torch.cat([latent, time.expand(rows, *time.shape[1:]), llm], dim=1)
