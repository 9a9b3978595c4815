"""Train the codec: waveforms through encoder, quantiser and decoder, judged by their spectra.

A training-only probe must read the phone of every 10 ms from the semantic codeword: where the
published codec distils a recogniser (arXiv 2603.25551 §2.1), our teacher knows its phones.

Most of a step's time goes into the waveform's spectra. An iSTFT head states its magnitudes outright,
so for the first part of a run they are compared with the target's directly, which is several times
cheaper, and only some steps look at the waveform; at the end all do.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional

from training.learner import best_device
from training.optimise import Schedule, optimisers
from training.voice.data import LABELS_PER_FRAME, PHONES, SpokenCorpus
from training.voice.losses import RESOLUTIONS, mel_bands, periodicity, spectral_distance
from training.voice.timed_run import TimedRun, mean_terms
from tts.codec import Codec
from tts.codec.convs import CausalConv, CausalConvTranspose
from tts.codec.heads import MAX_LOG_MAGNITUDE, IstftHead
from tts.config import CodecConfig

# Hann-windowed analysis and synthesis overlap to 3/4 of the waveform on average.
_OVERLAP_GAIN = 4 / 3
_FLOOR = 1e-3
_MEL_BANDS, _MEL_FLOOR = 40, 0.06
_PLAIN = ("probes.", "input_proj", "output_proj", "encoder_blocks.7.conv")
_HEAD_LEVEL = 0.5
_INPUT_LEVEL = 0.7  # of samples and of magnitudes, which add up
_UNSATURATED = 1.5  # before tanh; further out the gradient is gone


@dataclass(frozen=True, slots=True)
class CodecRun:
    """How the codec is trained.

    Attributes:
        core_minutes: Processor time; a resumed run goes on counting.
        batch: Pieces per step.
        frames: 80 ms frames per piece.
        resolutions: Spectral resolutions drawn per step.
        matrix_lr: Muon's rate.
        other_lr: AdamW's rate for gains and small matrices.
        plain_lr: AdamW's rate for the first and last layers.
        decay_share: Last part of the budget over which the rates fall to zero.
        wave_share: Part of the steps that look at the waveform, at first.
        wave_from: Part of the budget after which every step does.
        periodicity_weight: Of the waveform's autocorrelation against the target's.
        phone_weight: Of the phone probe.
        magnitude_weight: Of the head's log magnitudes against the target's (iSTFT head only).
        saturation_weight: Of acoustic latents beyond what tanh can tell apart.
        commitment_weight: Of the encoder's distance to its codewords (0.1 as published).
        decoder_only: Train only what comes after the codes, on codes as they will be at run time; a
            speech model trained on the codes meanwhile stays valid.
        jitter_levels: Standard deviation by which acoustic codes are moved before the decoder hears them,
            as a speech model moves them.
        delay_samples: How much later than it came in the waveform is asked for.
        seed: Of weights and batches.
    """

    core_minutes: float = 60.0
    batch: int = 20
    frames: int = 16
    resolutions: int = 2
    matrix_lr: float = 0.02
    other_lr: float = 2e-3
    plain_lr: float = 4e-4
    decay_share: float = 0.5
    wave_share: float = 0.25
    wave_from: float = 0.6
    periodicity_weight: float = 1.0
    phone_weight: float = 0.3
    magnitude_weight: float = 0.5
    saturation_weight: float = 0.1
    commitment_weight: float = 0.1
    decoder_only: bool = False
    jitter_levels: float = 0.0
    delay_samples: int = 0
    seed: int = 0


class Probes(nn.Module):
    """Training-only readers of the latents."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.phones = nn.Sequential(
            nn.Linear(config.semantic_dim, 128),
            nn.GELU(),
            nn.Linear(128, LABELS_PER_FRAME * len(PHONES)),
        )


class CodecTrainer(nn.Module):
    """Codec and probes with one differentiable training pass."""

    def __init__(self, config: CodecConfig, run: CodecRun):
        super().__init__()
        torch.manual_seed(run.seed)
        self.run = run
        self.codec = Codec(config)
        self.probes = Probes(config)
        self._begun = False

    @torch.no_grad()
    def level(self, wave: Tensor) -> None:
        """Scale every convolution of a new codec so that real speech comes out of it at unit level.

        The residual stream has no norm between stages; only the weight norm's gains hold its level,
        and transformer layers add nothing audible to a stream that is far above theirs.
        """
        codec, patch = self.codec, self.codec.config.pretransform_patch_size
        patches = wave.unflatten(1, (-1, patch))
        _levelled(codec.input_proj, patches * codec.config.pretransform_gain, _INPUT_LEVEL)
        if codec.config.encoder_input != "patch":
            _levelled(codec.magnitude_proj, codec.magnitudes(patches), _INPUT_LEVEL)
        x = codec.project(wave)
        for block in codec.encoder_blocks:
            x = _levelled(block, x, 1.0)
        semantic, acoustic = x.split((codec.config.semantic_dim, codec.config.acoustic_dim), -1)
        x = torch.cat([semantic, acoustic.tanh()], -1)
        for block in codec.decoder_blocks:
            x = _levelled(block, x, 1.0)
        _levelled(codec.output_proj, x, _HEAD_LEVEL)

    def losses(
        self, wave: Tensor, labels: Tensor, resolutions: tuple[int, ...]
    ) -> dict[str, Tensor]:
        """Every term for float32 [B, samples] and int64 [B, frames * 8].

        Without `resolutions` the waveform is never made and `spectra` is left out.
        """
        codec = self.codec
        with torch.autocast(wave.device.type, torch.bfloat16):
            latents = codec.latents(wave)
            if self.training and not self._begun:
                self._begin_codebook(latents)
            quantised = codec.quantizer(latents)
            hidden = quantised.latent
            if self.training and self.run.jitter_levels:
                hidden = self.jittered(hidden)
            for block in codec.decoder_blocks:
                hidden = block(hidden)
            channels = codec.output_proj(hidden)
            phones = self.probes.phones(quantised.semantic)
        target = functional.pad(wave, (self.run.delay_samples, 0))[:, : wave.shape[1]]
        terms = {
            "phones": functional.cross_entropy(
                phones.float().reshape(-1, len(PHONES)), labels.flatten()
            ),
            "commitment": quantised.commitment,
            "saturation": (
                (latents[..., codec.config.semantic_dim :].float().abs() - _UNSATURATED)
                .relu()
                .square()
                .mean()
            ),
        }
        if isinstance(codec.output_head, IstftHead):
            terms["magnitude"] = _magnitude_distance(codec.output_head, channels, target)
        if resolutions:
            made = codec.output_head(channels).float()
            terms["spectra"] = spectral_distance(made, target, resolutions)
            with torch.no_grad():
                theirs = periodicity(target)
            terms["periodicity"] = (periodicity(made) - theirs).abs().mean()
        return terms

    def train(self, mode: bool = True) -> CodecTrainer:
        """Training mode; with `decoder_only` encoder and quantiser stay as they are."""
        super().train(mode)
        if self.run.decoder_only:
            codec = self.codec
            learning = (codec.decoder_blocks, codec.output_proj, codec.output_head)
            for module in (*codec.children(), self.probes):
                if module not in learning:
                    module.eval().requires_grad_(False)
        return self

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum that is minimised."""
        run = self.run
        weights = {
            "spectra": 1.0,
            "periodicity": run.periodicity_weight,
            "magnitude": run.magnitude_weight,
            "phones": run.phone_weight,
            "commitment": run.commitment_weight,
            "saturation": run.saturation_weight,
        }
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    def jittered(self, latent: Tensor) -> Tensor:
        """[B, T, latent] with its acoustic values moved by whole levels, no further than the ends."""
        semantic, acoustic = latent.split(self.codec.quantizer.split, dim=-1)
        level = 2 / self.codec.quantizer.top_level
        moved = acoustic + (torch.randn_like(acoustic) * self.run.jitter_levels).round() * level
        return torch.cat([semantic, moved.clamp(-1, 1)], dim=-1)

    def _begin_codebook(self, latents: Tensor) -> None:
        codebook = self.codec.quantizer.semantic_codebook
        semantic = latents[..., : self.codec.config.semantic_dim].detach()
        if float(codebook.cluster_usage.std()) == 0.0:
            codebook.start_from(codebook.normalise(semantic).flatten(0, 1))
        self._begun = True


def _levelled(block: nn.Module, x: Tensor, level: float) -> Tensor:
    """The output of `block`, whose gain is set for it to have RMS `level` if it is a convolution."""
    if not isinstance(block, CausalConv | CausalConvTranspose):
        return block(x)
    gain = block.conv.parametrizations.weight.original0
    gain *= level / block(x).square().mean().sqrt()
    return block(x)


def _magnitude_distance(head: IstftHead, channels: Tensor, target: Tensor) -> Tensor:
    """Mean distance of log magnitudes and of their mel bands, which are what words are told by.

    [B, steps, n_fft + 2] channels against windows of [B, samples].
    """
    floor, bands = _FLOOR * head.n_fft**0.5, mel_bands(_MEL_BANDS, head.n_fft).to(target.device)
    with torch.no_grad():
        windows = functional.pad(target, (0, head.n_fft - head.patch_samples)).unfold(
            1, head.n_fft, head.patch_samples
        )
        magnitude = torch.fft.rfft(windows * head.window).abs() * _OVERLAP_GAIN
        theirs, their_mel = (magnitude + floor).log(), (magnitude @ bands + _MEL_FLOOR).log()
    ours = channels.float()[..., : theirs.shape[-1]] + head.resting
    our_mel = (ours.clamp(max=MAX_LOG_MAGNITUDE).exp() @ bands + _MEL_FLOOR).log()
    return (ours - theirs).abs().mean() + (our_mel - their_mel).abs().mean()


def read_config(path: Path, name: str = "run") -> tuple[CodecConfig, CodecRun]:
    """Read a YAML file of `codec` (as in params.json) and of one or more runs by name."""
    sections: dict[str, Any] = yaml.safe_load(path.read_text())
    return CodecConfig(**sections["codec"]), CodecRun(**sections[name])


def train(
    folder: Path,
    config: CodecConfig,
    run: CodecRun,
    corpus: Path,
    validation: Path,
    *,
    start_from: Path | None = None,
) -> None:
    """Train, or go on training, in `folder`; `state.pt` there is always a whole, resumable state.

    Args:
        folder: Where state and log are kept.
        config: Of the codec.
        run: How to train it.
        corpus: What to learn.
        validation: What to measure on.
        start_from: A `state.pt` of another run whose weights a new run begins with.
    """
    device = best_device()
    trainer = CodecTrainer(config, run).to(device)
    steppers = optimisers(trainer, run.matrix_lr, run.other_lr, run.plain_lr, _PLAIN)
    timed = TimedRun(
        folder,
        trainer,
        steppers,
        Schedule(steppers, 30, run.decay_share),
        core_minutes=run.core_minutes,
        seed=run.seed,
        largest_gradient=5.0,
        start_from=start_from,
        about={"config": asdict(config), "run": asdict(run)},
    )
    trainer.train()
    speech = SpokenCorpus(corpus)
    unseen = SpokenCorpus(validation)
    check = [unseen.crops(8, 24, np.random.default_rng(5), device) for _ in range(2)]
    chance = timed.chance
    if timed.fresh:
        trainer.level(speech.crops(run.batch, run.frames, chance, device)[0])

    def losses(done: float) -> tuple[Tensor, dict[str, Tensor]]:
        wave, labels = speech.crops(run.batch, run.frames, chance, device)
        heard = done > run.wave_from or chance.random() < run.wave_share
        drawn = chance.choice(len(RESOLUTIONS), run.resolutions * heard, replace=False)
        terms = trainer.losses(wave, labels, tuple(drawn))
        return trainer.total(terms), terms

    timed.go(
        "codec",
        losses,
        lambda: _validate(trainer, check),
        lambda line: f"{line['val_spectra']:.3f}",
        log_every=100,
    )


def _validate(trainer: CodecTrainer, batches: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    trainer.eval()
    with torch.no_grad():
        rows = [trainer.losses(*batch, tuple(range(len(RESOLUTIONS)))) for batch in batches]
    trainer.train()
    return mean_terms(rows)
