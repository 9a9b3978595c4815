"""The training recipe: `nano.yaml` as checked options, and the `params.json` it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from asr.checkpoint import save_model
from asr.language_model import FILE
from asr.model import VoxtralRealtime
from common.yamlfile import StrictModel, load_yaml
from training.ears.corpus import MEL_BINS
from training.ears.tokens import SPECIALS

NANO = Path(__file__).parents[2] / "asr/nano"


class Size(StrictModel):
    """One transformer."""

    dim: int
    n_layers: int
    n_heads: int
    hidden_dim: int
    sliding_window: int


class Stage(StrictModel):
    """One stretch of training.

    Attributes:
        name: For the log and the card.
        minutes: CPU time; with a GPU, time.
        phones: Weight of the frame-wise phone loss on the encoder.
        characters: Weight of the encoder's CTC loss over characters.
        text: Weight of the delayed-stream text loss.
        rate: Factor on the learning rates.
        decay: Last share of the stage over which the rates fall,
        floor: to this share of themselves.
        frozen_encoder: Only the adapter and decoder learn.
    """

    name: str
    minutes: float
    phones: float
    characters: float
    text: float
    rate: float
    decay: float
    floor: float
    frozen_encoder: bool = False


class EarsRecipe(StrictModel):
    """Everything that decides a training run; see `nano.yaml` for the fields' meaning."""

    seed: int
    batch: int
    delay_ms: int
    delays_ms: list[int]
    pieces: int
    matrix_lr: float
    other_lr: float
    head_lr: float
    warm_up_steps: int
    token_noise: float
    average_steps: int
    held_out_clips: int
    beam_width: int
    language_weight: float
    encoder: Size
    decoder: Size
    stages: list[Stage]

    @classmethod
    def load(cls, path: Path) -> EarsRecipe:
        """Read a recipe.

        Raises:
            ConfigError: It does not fit; names file, line and key.
        """
        return load_yaml(path, cls)

    def lasting(self, minutes: float) -> EarsRecipe:
        """The same recipe with its stages made longer or shorter, to last so long altogether."""
        factor = minutes / sum(stage.minutes for stage in self.stages)
        fitted = [s.model_copy(update={"minutes": s.minutes * factor}) for s in self.stages]
        return self.model_copy(update={"stages": fitted})

    def params(self) -> dict[str, Any]:
        """The checkpoint's `params.json`."""
        shared = {"causal": True, "norm_eps": 1e-5, "rope_theta": 10_000.0}
        audio = {
            "sampling_rate": 16_000,
            "frame_rate": 12.5,
            "num_mel_bins": MEL_BINS,
            "hop_length": 160,
            "window_size": 400,
            "chunk_length_s": None,
            "global_log_mel_max": 1.5,
            "transcription_format": "streaming",
            "noise_filter": True,
        }
        vocabulary = self.pieces + len(SPECIALS)
        encoder = (
            shared
            | _transformer(self.encoder)
            | {
                "audio_encoding_args": audio,
                "use_biases": True,
                "use_cache": False,
                "pos_embed": "rope",
                "ffn_type": "swiglu",
                "norm_type": "rms_norm",
                "max_source_positions": None,
                "vocab_size": vocabulary,
            }
        )
        return (
            shared
            | _transformer(self.decoder)
            | {
                "use_biases": False,
                "vocab_size": vocabulary,
                "tied_embeddings": True,
                "ada_rms_norm_t_cond": True,
                "ada_rms_norm_t_cond_dim": 16,
                "beam_width": self.beam_width,
                "language_weight": self.language_weight,
                "model_max_length": 131_072,
                "multimodal": {
                    "whisper_model_args": {
                        "encoder_args": encoder,
                        "downsample_args": {"downsample_factor": 4},
                    }
                },
            }
        )


def _transformer(size: Size) -> dict[str, Any]:
    return size.model_dump() | {
        "head_dim": size.dim // size.n_heads,
        "n_kv_heads": size.n_heads,
    }


def save_ears(folder: Path, recipe: EarsRecipe, model: VoxtralRealtime) -> None:
    """Write a checkpoint and the language model beside it; `tekken.json` is the caller's to add."""
    save_model(folder, recipe.params(), model.to(torch.bfloat16))
    (folder / FILE).write_bytes((NANO / FILE).read_bytes())
