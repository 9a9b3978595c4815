"""Opens Voxtral Realtime checkpoints, in Mistral's layout or Hugging Face's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from asr.config import AsrConfig
from asr.language_model import LanguageModel
from asr.model import VoxtralRealtime
from backbone.checkpoint import DTypes, Naming, Source, load_module, read_params, save_checkpoint
from backbone.text import hugging_face_layer, hugging_face_naming

AUDIO = "mm_streams_embeddings.embedding_module."

HUGGING_FACE_ENCODER = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "attention_norm": "self_attn_layer_norm",
    "ffn_norm": "final_layer_norm",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}
HUGGING_FACE_AUDIO = {
    "whisper_encoder.conv_layers.0.conv.": "audio_tower.embedder.conv1.",
    "whisper_encoder.conv_layers.1.conv.": "audio_tower.embedder.conv2.",
    "whisper_encoder.transformer.norm.": "audio_tower.norm.",
    "audio_language_projection.0.": "multi_modal_projector.linear_1.",
    "audio_language_projection.2.": "multi_modal_projector.linear_2.",
}


def load_model(
    folder: str | Path, *, device: torch.device | str = "cpu", dtype: DTypes | None = None
) -> VoxtralRealtime:
    """Open a checkpoint folder for inference.

    Args:
        folder: Holds `params.json` and `consolidated.safetensors` or `model.safetensors`.
        device: Where the weights go, straight from the file.
        dtype: What they become; None keeps the file's.

    Raises:
        CheckpointError: The folder does not hold what its parameters promise.
    """
    config = AsrConfig.from_params(read_params(folder))
    model = load_module(
        lambda: VoxtralRealtime(config),
        folder,
        published=published_name,
        hugging_face=hugging_face_name(config),
        device=device,
        dtype=dtype,
        ignore=lambda name: name == "language_model.lm_head.weight",  # a copy of the embedding
    )
    if config.language_weight:
        model.language = LanguageModel.load(folder, config.language_weight)
    return model


def save_model(folder: str | Path, params: dict[str, Any], model: VoxtralRealtime) -> None:
    """Write a checkpoint in Mistral's layout; `tekken.json` is the caller's to add."""
    save_checkpoint(folder, params, model, published_name)


def published_name(own: str) -> Source:
    """Mistral's layout: the decoder without a prefix, all else under the audio embedding module."""
    if own.startswith("decoder."):
        return Source(own.removeprefix("decoder."))
    return Source(AUDIO + own)


def hugging_face_name(config: AsrConfig) -> Naming:
    """Hugging Face's layout of the same weights, rotary halves turned back to pairs."""
    text = hugging_face_naming(config.decoder, "language_model.model.")

    def name(own: str) -> Source:
        for mine, theirs in HUGGING_FACE_AUDIO.items():
            if own.startswith(mine):
                return Source(theirs + own.removeprefix(mine))
        if own.startswith("whisper_encoder.transformer."):
            own = own.removeprefix("whisper_encoder.transformer.")
            return hugging_face_layer(own, "audio_tower.", config.encoder, HUGGING_FACE_ENCODER)
        return text(own)

    return name
