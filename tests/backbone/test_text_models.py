"""Text models of the Mistral family against transformers, on tiny random checkpoints."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Ministral3Config,
    Ministral3ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from backbone.cache import KvCache
from backbone.checkpoint import save_checkpoint
from backbone.text import load_text_model, published_name
from common.errors import CheckpointError

SHAPE = {"dim": 32, "n_layers": 3, "hidden_dim": 48, "vocab_size": 90, "norm_eps": 1e-5}
HEADS = {"n_heads": 4, "n_kv_heads": 2, "head_dim": 8}
COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "intermediate_size": 48,
    "vocab_size": 90,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rms_norm_eps": 1e-5,
    "attn_implementation": "eager",
}
YARN = {"original_max_position_embeddings": 16, "factor": 8, "beta": 4, "alpha": 1}


def rope(theta: float) -> dict:
    return {"rope_type": "default", "rope_theta": theta}


FAMILY = {
    "Mistral 7B v0.1": (
        SHAPE | HEADS | {"rope_theta": 1e4, "sliding_window": 9},
        MistralForCausalLM,
        MistralConfig(**COMMON, rope_parameters=rope(1e4), sliding_window=9),
    ),
    "Magistral": (
        SHAPE | {"n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "rope_theta": 1e9},
        MistralForCausalLM,
        MistralConfig(**COMMON | {"head_dim": 16}, rope_parameters=rope(1e9), sliding_window=None),
    ),
    "Mixtral": (
        SHAPE | HEADS | {"moe": {"num_experts": 4, "num_experts_per_tok": 2}},
        MixtralForCausalLM,
        MixtralConfig(
            **COMMON,
            rope_parameters=rope(1e6),
            num_local_experts=4,
            num_experts_per_tok=2,
            sliding_window=None,
        ),
    ),
    "Ministral 3": (
        SHAPE
        | HEADS
        | {
            "tied_embeddings": True,
            "yarn": YARN | {"apply_scale": False},
            "llama_4_scaling": {"original_max_position_embeddings": 16, "beta": 0.1},
        },
        Ministral3ForCausalLM,
        Ministral3Config(
            **COMMON,
            tie_word_embeddings=True,
            sliding_window=None,
            max_position_embeddings=128,
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": 1e6,
                "factor": 8.0,
                "original_max_position_embeddings": 16,
                "beta_fast": 4.0,
                "beta_slow": 1.0,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "llama_4_scaling_beta": 0.1,
            },
        ),
    ),
}


@pytest.mark.parametrize("name", FAMILY)
@torch.no_grad()
def test_the_family_through_one_decoder(name, tmp_path):
    ours, architecture, config = FAMILY[name]
    torch.manual_seed(1)
    theirs = architecture(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    (tmp_path / "params.json").write_text(json.dumps(ours))
    model = load_text_model(tmp_path)

    tokens = torch.randint(0, 90, (2, 40))
    positions = torch.arange(40)[None]
    whole = model(tokens, positions)
    torch.testing.assert_close(whole, theirs(tokens).logits, atol=1e-4, rtol=1e-4)

    model.decoder.fuse()
    cache = KvCache.allocate(model.decoder.config, 2, step_tokens=5, max_tokens=40)
    steps = [model(tokens[:, i : i + 5], positions[:, i : i + 5], cache) for i in range(0, 40, 5)]
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-4, rtol=1e-4)

    again = tmp_path / "published"
    save_checkpoint(again, ours, model, published_name)
    weights = again / "consolidated.safetensors"
    if name == "Ministral 3":  # its vision side is left aside
        save_file(load_file(weights) | {"vision_encoder.ln_pre.weight": torch.ones(2)}, weights)
    torch.testing.assert_close(load_text_model(again)(tokens, positions), whole)


@pytest.mark.parametrize("layout", ["published", "hugging face"])
@torch.no_grad()
def test_8_bit_weights_are_multiplied_by_their_scales(layout, tmp_path):
    ours, architecture, config = FAMILY["Magistral"]
    torch.manual_seed(2)
    theirs = architecture(config)
    theirs.save_pretrained(tmp_path)
    (tmp_path / "params.json").write_text(json.dumps(ours))
    whole = load_text_model(tmp_path)
    if layout == "published":
        (tmp_path / "model.safetensors").unlink()
        save_checkpoint(tmp_path, ours, whole, published_name)
    (file,) = tmp_path.glob("*.safetensors")
    weight, scale, others = {
        "published": (".wq.weight", ".wq.qscale_weight", ".wq.qscale_act"),
        "hugging face": (".q_proj.weight", ".q_proj.weight_scale_inv", ".q_proj.activation_scale"),
    }[layout]
    tensors = load_file(file)
    for name in [name for name in tensors if name.endswith(weight)]:
        linear = name.removesuffix(weight)
        largest = tensors[name].abs().max() / 448
        tensors[name] = (tensors[name] / largest).to(torch.float8_e4m3fn)
        tensors |= {linear + scale: largest, linear + others: torch.tensor(0.1)}
    tensors["layers.0.attention.wq.fake_quantizer.scale"] = torch.ones(1)
    save_file(tensors, file)
    model = load_text_model(tmp_path, dtype=torch.float32)
    for name, tensor in whole.state_dict().items():
        error = 0.07 * tensor.abs() + 1e-4 if ".wq." in name else torch.zeros(())
        assert ((model.state_dict()[name] - tensor).abs() <= error).all(), name

    del tensors[next(name for name in tensors if name.endswith(scale))]
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match="8-bit floats"):
        load_text_model(tmp_path)
