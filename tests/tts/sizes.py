"""Parameters as `params.json` states them: the published 4B ones and a toy that runs in milliseconds."""

from __future__ import annotations

import copy
from typing import Any

PUBLISHED: dict[str, Any] = {
    "dim": 3072,
    "n_layers": 26,
    "head_dim": 128,
    "hidden_dim": 9216,
    "n_heads": 32,
    "n_kv_heads": 8,
    "rope_theta": 1_000_000.0,
    "norm_eps": 1e-5,
    "vocab_size": 131_072,
    "tied_embeddings": True,
    "max_seq_len": 65_536,
    "model_type": "voxtral_tts",
    "multimodal": {
        "bos_token_id": 1,
        "audio_model_args": {
            "semantic_codebook_size": 8192,
            "acoustic_codebook_size": 21,
            "n_acoustic_codebook": 36,
            "audio_token_id": 24,
            "begin_audio_token_id": 25,
            "input_embedding_concat_type": "sum",
            "acoustic_transformer_args": {
                "input_dim": 3072,
                "dim": 3072,
                "n_layers": 3,
                "head_dim": 128,
                "hidden_dim": 9216,
                "n_heads": 32,
                "n_kv_heads": 8,
                "use_biases": False,
                "rope_theta": 10_000.0,
                "sigma": 1e-5,
                "sigma_max": 1.0,
            },
        },
        "audio_tokenizer_args": {
            "channels": 1,
            "sampling_rate": 24_000,
            "pretransform_patch_size": 240,
            "patch_proj_kernel_size": 7,
            "semantic_codebook_size": 8192,
            "semantic_dim": 256,
            "acoustic_codebook_size": 21,
            "acoustic_dim": 36,
            "conv_weight_norm": True,
            "attn_sliding_window_size": 16,
            "dim": 1024,
            "hidden_dim": 4096,
            "head_dim": 128,
            "n_heads": 8,
            "n_kv_heads": 8,
            "qk_norm_eps": 1e-6,
            "norm_eps": 0.01,
            "layer_scale_init": 0.01,
            "decoder_transformer_lengths_str": "2,2,2,2",
            "decoder_convs_kernels_str": "3,4,4,4",
            "decoder_convs_strides_str": "1,2,2,2",
            "voice": {"casual_female": 0, "casual_male": 1},
        },
    },
}


def toy(**codec: Any) -> dict[str, Any]:
    """The same model, small; keyword arguments change `audio_tokenizer_args`."""
    params = copy.deepcopy(PUBLISHED)
    params |= {"dim": 32, "n_layers": 2, "head_dim": 8, "hidden_dim": 48}
    params |= {"n_heads": 4, "n_kv_heads": 2, "vocab_size": 1100, "max_seq_len": 2048}
    audio = params["multimodal"]["audio_model_args"]
    audio |= {"semantic_codebook_size": 64, "n_acoustic_codebook": 6}
    audio["acoustic_transformer_args"] |= {"input_dim": 32, "dim": 32, "n_layers": 3}
    audio["acoustic_transformer_args"] |= {"head_dim": 8, "hidden_dim": 48}
    audio["acoustic_transformer_args"] |= {"n_heads": 4, "n_kv_heads": 2}
    tokenizer = params["multimodal"]["audio_tokenizer_args"]
    tokenizer |= {"semantic_codebook_size": 64, "semantic_dim": 8, "acoustic_dim": 6, "dim": 32}
    tokenizer |= {"hidden_dim": 64, "head_dim": 8, "layer_scale_init": 0.5, **codec}
    return params
