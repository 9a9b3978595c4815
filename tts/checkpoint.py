"""Opening the folder of a Voxtral TTS checkpoint, published or our own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from backbone.checkpoint import load_weights, read_params, shapes_only, weight_files
from backbone.tekken import Tekken
from tts.codec import Codec
from tts.config import TtsConfig
from tts.model import TtsModel
from tts.text import TekkenUnits, TextUnits

_CODEC = "audio_tokenizer."
_SPECIALS = {
    "audio_token_id": "[AUDIO]",
    "begin_audio_token_id": "[BEGIN_AUDIO]",
    "next_audio_text_token_id": "[NEXT_AUDIO_TEXT]",
    "repeat_audio_text_token_id": "[REPEAT_AUDIO_TEXT]",
}


def load_model(folder: Path, device: torch.device) -> TtsModel:
    """Load the model for speaking: fp32 on a CPU, bf16 elsewhere, folded and fused.

    Raises:
        CheckpointError: The folder does not hold what its `params.json` promises.
    """
    config = _config(folder)
    files = weight_files(folder)
    with shapes_only():
        model = TtsModel(config, encoder=_has_encoder(files))
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16

    def kept_precise(name: str) -> torch.dtype:
        # Codewords are sum / usage; dividing in bf16 is audible.
        return torch.float32 if ".semantic_codebook." in name else dtype

    load_weights(model, files, device=device, dtype=kept_precise)
    model.to(device).eval().requires_grad_(False)
    model.fuse()
    return model


def load_codec(folder: Path) -> Codec:
    """Load only the codec, fp32 on the CPU.

    Raises:
        CheckpointError: As for `load_model`.
    """
    config = TtsConfig.from_params(read_params(folder))
    files = weight_files(folder)
    with shapes_only():
        holder = torch.nn.Module()
        holder.audio_tokenizer = codec = Codec(config.codec, encoder=_has_encoder(files))
    load_weights(
        holder, files, dtype=torch.float32, ignore=lambda name: not name.startswith(_CODEC)
    )
    return codec.requires_grad_(False).fold()


def load_units(folder: Path, config: TtsConfig) -> TextUnits:
    """Load what turns text into the model's units.

    Raises:
        CheckpointError: It is missing, damaged or of another model.
    """
    if config.audio.text_units == "phonemes":
        from tts.phonemes import Phonemes

        return Phonemes.load(folder)
    tekken = Tekken.load(folder / "tekken.json")
    tekken.must_fit(config.backbone.vocab_size)
    return TekkenUnits(tekken)


def _config(folder: Path) -> TtsConfig:
    """Of the folder, with special tokens as `tekken.json` numbers them: `params.json` has but two."""
    config = TtsConfig.from_params(read_params(folder))
    if config.audio.text_units == "phonemes":
        return config
    tekken, audio = Tekken.load(folder / "tekken.json"), config.audio
    ids: dict[str, Any] = {
        key: tekken.special(name, getattr(audio, key)) for key, name in _SPECIALS.items()
    }
    return replace(config, audio=replace(audio, **ids))


def _has_encoder(files: list[Path]) -> bool:
    with suppress(SafetensorError, OSError):  # `load_weights` tells of a damaged file
        for path in files:
            with safe_open(path, framework="pt") as shard:
                if any(name.startswith(f"{_CODEC}encoder_blocks.") for name in shard.keys()):  # noqa: SIM118
                    return True
    return False
