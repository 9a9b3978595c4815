"""Text models of the Mistral family: embedding, decoder, output head.

Ministral 3, Mistral 7B, Mixtral, Mistral Small and Magistral differ in numbers only.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from backbone.cache import KvCache
from backbone.checkpoint import DTypes, Naming, Source, load_module, read_params
from backbone.config import DecoderConfig
from backbone.decoder import Decoder
from backbone.rope import halves_to_pairs

# What a text model leaves aside in a checkpoint that also sees.
VISION = ("vision_encoder.", "vision_language_adapter.", "patch_merger.", "pre_mm_projector_norm.")


class TextModel(nn.Module):
    """Token ids to logits."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.decoder = Decoder(config)
        if not config.tied_embeddings:
            self.output = nn.Linear(config.dim, config.vocab_size, bias=False)

    def forward(self, tokens: Tensor, positions: Tensor, cache: KvCache | None = None) -> Tensor:
        """Logits of the next token, [B, S] -> [B, S, vocab]; a cache continues its rows."""
        hidden = self.decoder(self.tok_embeddings(tokens), positions, cache)
        if self.decoder.config.tied_embeddings:
            return nn.functional.linear(hidden, self.tok_embeddings.weight)
        return self.output(hidden)


def load_text_model(
    folder: str | Path, *, device: torch.device | str = "cpu", dtype: DTypes | None = None
) -> TextModel:
    """Open a text checkpoint in either layout (`params.json` is needed in both).

    Raises:
        CheckpointError: The folder does not hold what its parameters promise.
    """
    config = DecoderConfig.from_params(read_params(folder))
    return load_module(
        lambda: TextModel(config),
        folder,
        published=published_name,
        hugging_face=hugging_face_naming(config),
        device=device,
        dtype=dtype,
        ignore=lambda name: name.startswith(VISION),
    )


def published_name(own: str) -> Source:
    """Mistral's own layout, which has no prefix for the decoder."""
    return Source(own.removeprefix("decoder."))


HUGGING_FACE_PARTS = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.gate": "block_sparse_moe.gate",
    "feed_forward.experts": "block_sparse_moe.experts",
    "ada_rms_norm_t_cond.0": "ada_rms_norm.linear1",
    "ada_rms_norm_t_cond.2": "ada_rms_norm.linear2",
}


def hugging_face_naming(config: DecoderConfig, prefix: str = "model.") -> Naming:
    """Hugging Face's layout of a text model: other names, and rotary halves instead of pairs."""

    def name(own: str) -> Source:
        if own == "tok_embeddings.weight":
            return Source(f"{prefix}embed_tokens.weight")
        if own == "output.weight":
            return Source("lm_head.weight")
        if own == "decoder.norm.weight":
            return Source(f"{prefix}norm.weight")
        return hugging_face_layer(own.removeprefix("decoder."), prefix, config)

    return name


def hugging_face_layer(
    own: str, prefix: str, config: DecoderConfig, parts: dict[str, str] = HUGGING_FACE_PARTS
) -> Source:
    """Source of `layers.i.*` below `prefix`; queries and keys are turned to interleaved pairs."""
    for mine, theirs in parts.items():
        own_part = f".{mine}."
        if own_part in own:
            name = prefix + own.replace(own_part, f".{theirs}.")
            if mine in ("attention.wq", "attention.wk"):
                heads = config.n_heads if mine.endswith("q") else config.n_kv_heads
                return Source(name, partial(halves_to_pairs, n_heads=heads))
            return Source(name)
    raise KeyError(own)
