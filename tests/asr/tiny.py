"""Tiny random checkpoints of the published architecture, and the same weights in transformers."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import torch

from asr.checkpoint import save_model
from asr.config import AsrConfig
from asr.model import VoxtralRealtime

N_SPECIAL = 40
VOCAB = N_SPECIAL + 256 + 324
PIECES = [b" a", b" be", b" cat", b"s", b" dog", b".", b"ing", b" the", b" I", b" you", b",", b"?"]


GAINS = {
    "whisper_encoder.conv_layers.0.conv.weight": 8.0,
    "whisper_encoder.conv_layers.1.conv.weight": 4.0,
    "audio_language_projection.0.weight": 4.0,
    "audio_language_projection.2.weight": 4.0,
}


def params(
    *,
    dim: int = 48,
    layers: int = 3,
    heads: tuple[int, int, int] = (4, 2, 16),
    window: int = 8192,
    encoder_dim: int = 32,
    encoder_layers: int = 3,
    encoder_heads: tuple[int, int] = (2, 16),
    encoder_window: int = 750,
    mels: int = 128,
    noise_filter: bool = False,
    **more: object,
) -> dict:
    """A `params.json` with every key of the published one, and `more`."""
    n_heads, n_kv_heads, head_dim = heads
    encoder_args = {
        "audio_encoding_args": {
            "sampling_rate": 16000,
            "frame_rate": 12.5,
            "num_mel_bins": mels,
            "hop_length": 160,
            "window_size": 400,
            "chunk_length_s": None,
            "global_log_mel_max": 1.5,
            "transcription_format": "streaming",
            "noise_filter": noise_filter,
        },
        "dim": encoder_dim,
        "n_layers": encoder_layers,
        "head_dim": encoder_heads[1],
        "hidden_dim": 2 * encoder_dim,
        "n_heads": encoder_heads[0],
        "n_kv_heads": encoder_heads[0],
        "vocab_size": 131072,
        "use_biases": True,
        "use_cache": False,
        "rope_theta": 1e6,
        "causal": True,
        "norm_eps": 1e-5,
        "pos_embed": "rope",
        "max_source_positions": None,
        "ffn_type": "swiglu",
        "norm_type": "rms_norm",
        "sliding_window": encoder_window,
    }
    return {
        "dim": dim,
        "n_layers": layers,
        "head_dim": head_dim,
        "hidden_dim": 2 * dim,
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "use_biases": False,
        "causal": True,
        "norm_eps": 1e-5,
        "rope_theta": 1e6,
        "vocab_size": VOCAB,
        "tied_embeddings": True,
        "model_parallel": 1,
        "sliding_window": window,
        "model_max_length": 131072,
        "ada_rms_norm_t_cond": True,
        "ada_rms_norm_t_cond_dim": 32,
        "multimodal": {
            "whisper_model_args": {
                "encoder_args": encoder_args,
                "downsample_args": {"downsample_factor": 4},
            }
        },
        **more,
    }


def published_params() -> dict:
    """`params.json` of the published checkpoint's sizes."""
    sizes = params(
        dim=3072,
        layers=26,
        heads=(32, 8, 128),
        encoder_dim=1280,
        encoder_layers=32,
        encoder_heads=(32, 64),
    )
    sizes["multimodal"]["whisper_model_args"]["encoder_args"]["hidden_dim"] = 5120
    return sizes | {"hidden_dim": 9216, "vocab_size": 131072}


def tekken() -> dict:
    """A small `tekken.json`: every byte, a few pieces, the two streaming tokens."""
    vocab = [bytes([i]) for i in range(256)] + PIECES
    vocab += [b" w%d" % i for i in range(VOCAB - N_SPECIAL - len(vocab))]
    specials = {1: "<s>", 2: "</s>", 32: "[STREAMING_PAD]", 33: "[STREAMING_WORD]"}
    return {
        "config": {
            "pattern": r"\s?\S+|\s+",
            "num_vocab_tokens": len(vocab),
            "default_vocab_size": VOCAB,
            "default_num_special_tokens": N_SPECIAL,
            "version": "v13",
        },
        "vocab": [
            {"rank": i, "token_bytes": base64.b64encode(piece).decode()}
            for i, piece in enumerate(vocab)
        ],
        "special_tokens": [
            {"rank": rank, "token_str": name, "is_control": True} for rank, name in specials.items()
        ],
        "audio": {"transcription_delay_ms": 480, "streaming_n_left_pad_tokens": 32},
    }


def random_model(parameters: dict, seed: int = 2) -> VoxtralRealtime:
    """Weights large enough that the tokens follow the audio."""
    generator = torch.Generator().manual_seed(seed)
    model = VoxtralRealtime(AsrConfig.from_params(parameters))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.1 * noise)
            elif "tok_embeddings" in name:
                noise[[32, 33]] *= 2  # nothing and boundaries are common
                parameter.copy_(0.3 * noise)
            else:
                gain = GAINS.get(name, 1.5)
                parameter.copy_(gain * noise / max(parameter[0].numel(), 8) ** 0.5)
    return model.eval().requires_grad_(False)


def checkpoint(folder: Path, parameters: dict | None = None, seed: int = 2) -> Path:
    """Write a random checkpoint folder."""
    parameters = parameters or params()
    save_model(folder, parameters, random_model(parameters, seed))
    (folder / "tekken.json").write_text(json.dumps(tekken()))
    return folder


def speechlike(seconds: float, seed: int = 0) -> torch.Tensor:
    """Sound whose spectrum keeps changing: gliding tones under bursts of noise, float32 [n]."""
    generator = torch.Generator().manual_seed(seed)
    n = round(seconds * 16000)
    time_s = torch.arange(n) / 16000
    glide = torch.sin(2 * torch.pi * (300 + 200 * torch.sin(time_s * 3.1)) * time_s)
    envelope = (torch.sin(time_s * 11.0 + seed) > -0.3).float()
    return 0.3 * envelope * glide + 0.05 * torch.randn(n, generator=generator)
