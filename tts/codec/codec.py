"""The speech codec: 24 kHz waveform, 12.5 latent frames a second, and back (arXiv 2603.25551 §2.1).

Everything is causal: the 1920 samples of a frame are final as soon as its codes exist. Offline calls
take whole utterances and are differentiable; streaming calls take an explicit `Past` and give, frame
by frame, the same numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.errors import CheckpointError
from tts.codec.convs import CausalConv, CausalConvTranspose
from tts.codec.heads import IstftHead, PatchHead
from tts.codec.magnitudes import LogMagnitudes
from tts.codec.past import Past
from tts.codec.quantizer import Quantizer
from tts.codec.transformer import WindowedTransformer
from tts.config import CodecConfig


class Codec(nn.Module):
    """Encoder, quantiser and decoder under the published names.

    Args:
        config: Sizes.
        encoder: Whether to build the encoder; published weights hold none.

    Attributes:
        encoder_values: Values a stream's encoder memory holds (`Past`).
        decoder_values: The same for the decoder.
    """

    def __init__(self, config: CodecConfig, *, encoder: bool = True):
        super().__init__()
        self.config = config
        self.quantizer = Quantizer(config)
        self.decoder_blocks = _decoder_blocks(config)
        self.output_head = (
            PatchHead(config.pretransform_patch_size)
            if config.output_head == "patch"
            else IstftHead(config.pretransform_patch_size, config.istft_n_fft)
        )
        last, wn = config.decoder[-1].dim, config.conv_weight_norm
        kernel, patch = config.patch_proj_kernel_size, config.pretransform_patch_size
        self.output_proj = CausalConv(
            last, self.output_head.channels, kernel, pad="reflect", weight_norm=wn
        )
        decoder = [*self.decoder_blocks, self.output_proj, self.output_head]
        self.decoder_values = sum(layer.past_values for layer in decoder)
        self.encoder_values = 0
        if encoder:
            first = config.encoder[0].dim
            self.input_proj = CausalConv(patch, first, kernel, pad="reflect", weight_norm=wn)
            self.encoder_blocks = _encoder_blocks(config)
            layers = [self.input_proj, *self.encoder_blocks]
            if config.encoder_input == "patch+magnitudes":
                self.magnitudes = LogMagnitudes(patch)
                self.magnitude_proj = CausalConv(self.magnitudes.bins, first, 1, weight_norm=wn)
                layers.append(self.magnitudes)
            self.encoder_values = sum(layer.past_values for layer in layers)

    @property
    def has_encoder(self) -> bool:
        """Whether waveforms can be turned into codes."""
        return self.encoder_values > 0

    def latents(self, wave: Tensor, past: Past | None = None) -> Tensor:
        """[B, samples] waveform to [B, frames, latent]; zeros complete the last frame.

        Raises:
            CheckpointError: The checkpoint holds no encoder.
        """
        if not self.has_encoder:
            raise CheckpointError(
                "This checkpoint's codec has no encoder: it cannot turn recordings into codes.",
                "Use one of its preset voices, or the nano checkpoint, whose codec has one.",
            )
        wave = functional.pad(wave, (0, -wave.shape[-1] % self.config.frame_samples))
        x = self.project(wave.to(self.dtype), past)
        for block in self.encoder_blocks:
            x = block(x, past)
        return x

    def project(self, wave: Tensor, past: Past | None = None) -> Tensor:
        """[B, samples] in whole frames to [B, steps, first width]: what the first stage is given."""
        patches = wave.unflatten(1, (-1, self.config.pretransform_patch_size))
        x: Tensor = self.input_proj(patches * self.config.pretransform_gain, past)
        if self.config.encoder_input == "patch":
            return x
        return x + self.magnitude_proj(self.magnitudes(patches, past).to(x.dtype))

    def waveform(self, latents: Tensor, past: Past | None = None) -> Tensor:
        """[B, frames, latent] to [B, frames * 1920] samples, unclipped."""
        x = latents
        for block in self.decoder_blocks:
            x = block(x, past)
        y: Tensor = self.output_head(self.output_proj(x, past), past)
        return y

    def encode(self, wave: Tensor, past: Past | None = None) -> Tensor:
        """[B, samples] to [B, frames, codebooks] int64 raw codes (no special-code offset)."""
        return self.quantizer.encode(self.latents(wave, past))

    def decode(self, codes: Tensor, past: Past | None = None) -> Tensor:
        """[B, frames, codebooks] raw codes to [B, frames * 1920] samples, unclipped."""
        return self.waveform(self.quantizer.decode(codes).to(self.dtype), past)

    def decode_next(self, codes: Tensor, memory: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        """Continue streams: codes [B, n, codebooks], memory [B, decoder_values], age [B] frames.

        Returns:
            [B, n * 1920] samples and the memory for the next call (the age grows by n).
        """
        past = Past(memory, age, codes.shape[1])
        return self.decode(codes, past), past.next()

    def encode_next(self, wave: Tensor, memory: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        """Continue streams with [B, n * 1920] samples; memory [B, encoder_values], age [B] frames."""
        past = Past(memory, age, wave.shape[1] // self.config.frame_samples)
        return self.encode(wave, past), past.next()

    @property
    def dtype(self) -> torch.dtype:
        """What the decoder computes in."""
        return self.output_proj.dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.quantizer.semantic_codebook.embedding_sum.device

    def fold(self) -> Codec:
        """Convolutions become matrices, codebook statistics a table, projections join; returns self.

        For inference only, after the last move or cast.
        """
        self.quantizer.semantic_codebook.freeze()
        for module in self.modules():
            if isinstance(module, CausalConv | CausalConvTranspose):
                module.fold()
            elif isinstance(module, WindowedTransformer):
                module.fuse()
        return self.eval()

    @torch.no_grad()
    def fold_semantic_norm(self) -> None:
        """Move the training-time norm into encoder and codebook: same codes, same waveform."""
        scale = self.quantizer.semantic_codebook.fold_norm()
        last: Any = self.encoder_blocks[-1].conv
        if self.config.conv_weight_norm:
            last.parametrizations.weight.original0[: len(scale)] *= scale[:, None, None]
        else:
            last.weight[: len(scale)] *= scale[:, None, None]


def _decoder_blocks(config: CodecConfig) -> nn.ModuleList:
    blocks, width, wn = nn.ModuleList(), config.latent_dim, config.conv_weight_norm
    for stage in config.decoder:
        if stage.stride == 1:
            conv: nn.Module = CausalConv(width, stage.dim, stage.kernel, weight_norm=wn)
        else:
            conv = CausalConvTranspose(width, stage.dim, stage.kernel, stage.stride, weight_norm=wn)
        blocks += [conv, WindowedTransformer(config, stage)]
        width = stage.dim
    return blocks


def _encoder_blocks(config: CodecConfig) -> nn.ModuleList:
    blocks, stages, wn = nn.ModuleList(), config.encoder, config.conv_weight_norm
    widths = [*(stage.dim for stage in stages[1:]), config.latent_dim]
    for stage, width in zip(stages, widths, strict=True):
        conv = CausalConv(stage.dim, width, stage.kernel, stage.stride, weight_norm=wn)
        blocks += [WindowedTransformer(config, stage), conv]
    return blocks
