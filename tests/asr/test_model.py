from __future__ import annotations

import pytest
import torch

from asr.checkpoint import published_name
from asr.config import AsrConfig
from asr.frontend import LogMel
from asr.model import VoxtralRealtime
from asr.steps import Steps
from asr.words import StreamingIds
from tests.asr.reference import generate, reference
from tests.asr.tiny import params, published_params, random_model, speechlike

SIZES = {
    "small windows": params(window=40, encoder_window=30),
    "no sharing of heads": params(dim=64, heads=(4, 4, 8), encoder_heads=(4, 8)),
    "inner width of its own": params(dim=40, layers=2, heads=(6, 3, 12), encoder_heads=(3, 12)),
}


def offline(model: VoxtralRealtime, pcm: torch.Tensor, delay: int) -> torch.Tensor:
    """Spectrogram of a padded clip, [1, mel, 8 N]."""
    right = -len(pcm) % 1280 + (delay + 11) * 1280
    padded = torch.nn.functional.pad(pcm, (32 * 1280, right))
    return LogMel(model.config.num_mel_bins).clip(padded[None])


@torch.no_grad()
def greedy(model: VoxtralRealtime, mel: torch.Tensor, delay: int) -> list[int]:
    """Tokens after the prompt, each from one forward over everything before it."""
    audio = model.encode(mel)
    scale = model.delay_scale(torch.tensor([delay]))
    tokens = [1] + [32] * (32 + delay)
    while len(tokens) < audio.shape[1]:
        logits = model.decode(audio[:, : len(tokens)], torch.tensor([tokens]), scale)
        tokens.append(int(logits[0, -1].argmax()))
    return tokens[33 + delay :]


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_encoder_and_logits_of_transformers(size):
    model = random_model(SIZES[size])
    theirs = reference(model)
    delay = 3
    mel = offline(model, speechlike(3.0), delay)
    frames = model.whisper_encoder(mel)
    their_frames = theirs.model.audio_tower(mel).last_hidden_state
    torch.testing.assert_close(frames, their_frames, atol=1e-4, rtol=1e-4)
    tokens = torch.randint(
        0, 200, (1, mel.shape[-1] // 8), generator=torch.Generator().manual_seed(3)
    )
    logits = model(mel, tokens, torch.tensor([delay]))
    their_logits = theirs(input_ids=tokens, input_features=mel, num_delay_tokens=delay).logits
    torch.testing.assert_close(logits, their_logits, atol=1e-4, rtol=1e-4)
    assert logits.argmax(-1).unique().numel() > 5  # the weights do listen


@pytest.mark.parametrize(
    ("size", "seconds", "delay"),
    [
        ("small windows", 0.0, 6),
        ("small windows", 0.01, 1),
        ("inner width of its own", 2.5, 30),
        pytest.param("small windows", 40.0, 6, marks=pytest.mark.slow),
        pytest.param("no sharing of heads", 17.03, 12, marks=pytest.mark.slow),
    ],
)
def test_greedy_tokens_of_transformers(size, seconds, delay):
    model = random_model(SIZES[size])
    mel = offline(model, speechlike(seconds, seed=delay), delay)
    ours = greedy(model, mel, delay)
    assert len(ours) == -(-round(seconds * 16000) // 1280) + 10
    assert ours == generate(reference(model), mel, delay, len(ours))


@torch.no_grad()
def test_steps_in_bfloat16_are_as_exact_as_in_transformers():
    """What a GPU computes: fused, step by step, with what is small kept in float32."""
    sizes = params(dim=128, layers=4, heads=(4, 2, 32), encoder_dim=96, encoder_heads=(3, 32))
    exact, delay = random_model(sizes), 6
    mel = offline(exact, speechlike(2.0), delay)
    positions = mel.shape[-1] // 8
    tokens = torch.randint(200, (1, positions), generator=torch.Generator().manual_seed(3))
    expected = exact(mel, tokens, torch.tensor([delay]))[0]
    theirs = reference(exact).bfloat16()(
        input_ids=tokens, input_features=mel.bfloat16(), num_delay_tokens=delay
    )
    model = random_model(sizes).bfloat16()
    state = Steps(model, StreamingIds(1, 32, 33), 1).state
    scale = model.delay_scale(torch.tensor([delay]))
    ours = [
        model.decode(model.encode(eight, state.encoder), token, scale, state.decoder)[0]
        for eight, token in zip(mel.split(8, -1), tokens.split(1, -1), strict=True)
    ]

    def error(logits: torch.Tensor) -> float:
        return float((logits.float() - expected).norm() / expected.norm())

    assert error(torch.cat(ours)) < 1.2 * error(theirs.logits[0]) < 0.1


def test_the_published_size_has_the_published_tensors():
    with torch.device("meta"):
        model = VoxtralRealtime(AsrConfig.from_params(published_params()))
    shapes = {published_name(n).name: list(t.shape) for n, t in model.state_dict().items()}
    assert shapes == manifest()
    assert len(shapes) == 711
    assert round(sum(p.numel() for p in model.parameters()) / 1e7) == 443


def manifest() -> dict[str, list[int]]:
    """Names and shapes of the published consolidated.safetensors."""
    e = "mm_streams_embeddings.embedding_module."
    w = f"{e}whisper_encoder."
    shapes = {
        f"{e}tok_embeddings.weight": [131072, 3072],
        f"{e}audio_language_projection.0.weight": [3072, 5120],
        f"{e}audio_language_projection.2.weight": [3072, 3072],
        f"{w}conv_layers.0.conv.weight": [1280, 128, 3],
        f"{w}conv_layers.0.conv.bias": [1280],
        f"{w}conv_layers.1.conv.weight": [1280, 1280, 3],
        f"{w}conv_layers.1.conv.bias": [1280],
        f"{w}transformer.norm.weight": [1280],
        "norm.weight": [3072],
    }
    for i in range(32):
        layer = f"{w}transformer.layers.{i}."
        shapes |= {
            f"{layer}attention.wq.weight": [2048, 1280],
            f"{layer}attention.wq.bias": [2048],
            f"{layer}attention.wk.weight": [2048, 1280],
            f"{layer}attention.wv.weight": [2048, 1280],
            f"{layer}attention.wv.bias": [2048],
            f"{layer}attention.wo.weight": [1280, 2048],
            f"{layer}attention.wo.bias": [1280],
            f"{layer}attention_norm.weight": [1280],
            f"{layer}ffn_norm.weight": [1280],
            f"{layer}feed_forward.w1.weight": [5120, 1280],
            f"{layer}feed_forward.w2.weight": [1280, 5120],
            f"{layer}feed_forward.w2.bias": [1280],
            f"{layer}feed_forward.w3.weight": [5120, 1280],
        }
    for i in range(26):
        layer = f"layers.{i}."
        shapes |= {
            f"{layer}attention.wq.weight": [4096, 3072],
            f"{layer}attention.wk.weight": [1024, 3072],
            f"{layer}attention.wv.weight": [1024, 3072],
            f"{layer}attention.wo.weight": [3072, 4096],
            f"{layer}attention_norm.weight": [3072],
            f"{layer}ffn_norm.weight": [3072],
            f"{layer}feed_forward.w1.weight": [9216, 3072],
            f"{layer}feed_forward.w2.weight": [3072, 9216],
            f"{layer}feed_forward.w3.weight": [9216, 3072],
            f"{layer}ada_rms_norm_t_cond.0.weight": [32, 3072],
            f"{layer}ada_rms_norm_t_cond.2.weight": [3072, 32],
        }
    return shapes


def test_whole_clips_train_with_mixed_delays_under_bf16():
    model = random_model(params(mels=80, window=16, encoder_window=12)).requires_grad_(True)
    mel = LogMel(80).clip(torch.stack([speechlike(2.0, seed) for seed in (0, 1)]))[..., :192]
    tokens = torch.randint(0, 200, (2, 24))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(mel, tokens, torch.tensor([2, 6]))
    torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens.flatten()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
