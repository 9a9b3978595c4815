"""Voxtral Realtime as transformers computes it, holding the weights of one of our models."""

from __future__ import annotations

import torch
from transformers import (
    VoxtralRealtimeConfig,
    VoxtralRealtimeEncoderConfig,
    VoxtralRealtimeForConditionalGeneration,
)
from transformers.models.voxtral_realtime.configuration_voxtral_realtime import (
    VoxtralRealtimeTextConfig,
)

from asr.checkpoint import hugging_face_name
from asr.model import VoxtralRealtime
from backbone.rope import pairs_to_halves


def hugging_face_tensors(model: VoxtralRealtime) -> dict[str, torch.Tensor]:
    """Our weights under Hugging Face's names on disk, rotary pairs as halves."""
    naming = hugging_face_name(model.config)
    tensors = {}
    for own, tensor in model.state_dict().items():
        source = naming(own)
        if source.convert is not None:
            tensor = pairs_to_halves(tensor, source.convert.keywords["n_heads"])
        tensors[source.name] = tensor.contiguous()
    return tensors


def reference(model: VoxtralRealtime) -> VoxtralRealtimeForConditionalGeneration:
    """The same model in transformers."""
    text, audio = model.config.decoder, model.config.encoder
    config = VoxtralRealtimeConfig(
        audio_config=VoxtralRealtimeEncoderConfig(
            vocab_size=text.vocab_size,
            hidden_size=audio.dim,
            intermediate_size=audio.hidden_dim,
            num_hidden_layers=audio.n_layers,
            num_attention_heads=audio.n_heads,
            num_mel_bins=model.config.num_mel_bins,
            rms_norm_eps=audio.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": audio.rope_theta},
            sliding_window=audio.window(0),
            head_dim=audio.head_dim,
        ),
        text_config=VoxtralRealtimeTextConfig(
            vocab_size=text.vocab_size,
            hidden_size=text.dim,
            intermediate_size=text.hidden_dim,
            num_hidden_layers=text.n_layers,
            num_attention_heads=text.n_heads,
            num_key_value_heads=text.n_kv_heads,
            rms_norm_eps=text.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": text.rope_theta},
            head_dim=text.head_dim,
            sliding_window=text.window(0),
            max_position_embeddings=131072,
            tie_word_embeddings=True,
        ),
    )
    theirs = VoxtralRealtimeForConditionalGeneration(config).eval()
    renamed = {}
    for name, tensor in hugging_face_tensors(model).items():
        name = name.replace("language_model.model.", "language_model.")
        renamed[f"model.{name}"] = tensor
    renamed["lm_head.weight"] = model.tok_embeddings.weight
    theirs.load_state_dict(renamed, strict=True)
    return theirs


@torch.no_grad()
def generate(theirs, mel: torch.Tensor, delay: int, steps: int) -> list[int]:
    """Greedy tokens after the prompt, one per 80 ms, as `transformers.generate` yields them."""
    prompt = torch.tensor([[1] + [32] * (32 + delay)])
    out = theirs.generate(
        input_ids=prompt,
        input_features=mel,
        num_delay_tokens=delay,
        do_sample=False,
        max_new_tokens=steps,
        eos_token_id=-1,
    )
    return out[0, prompt.shape[1] :].tolist()
