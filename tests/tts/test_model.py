"""Names, shapes, prompt and the arithmetic of a frame."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backbone.cache import KvCache
from common.errors import CheckpointError
from tests.tts.sizes import PUBLISHED, toy
from tts.checkpoint import load_model
from tts.config import TtsConfig
from tts.model import TtsModel
from tts.prompt import prompt_ids, rope_positions

CPU = torch.device("cpu")


def make_model(**audio: object) -> TtsModel:
    torch.manual_seed(0)
    params = toy()
    params["multimodal"]["audio_model_args"] |= audio
    return TtsModel(TtsConfig.from_params(params)).eval()


def test_published_sizes_give_the_published_tensors() -> None:
    with torch.device("meta"):
        model = TtsModel(TtsConfig.from_params(PUBLISHED))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert len(shapes) == 386
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == 4_002_353_392
    parts = {
        "layers.": 3_026_350_080,
        "norm.": 3_072,
        "acoustic_transformer.": 393_851_904,
        "audio_tokenizer.": 151_576_816,
        "mm_audio_embeddings.": 402_653_184 + 27_918_336,
    }
    for prefix, parameters in parts.items():
        tensors = (v for k, v in model.state_dict().items() if k.startswith(prefix))
        assert sum(tensor.numel() for tensor in tensors) == parameters, prefix
    block = "audio_tokenizer.decoder_blocks."
    expected = {
        "layers.25.attention.wq.weight": (4096, 3072),
        "layers.0.feed_forward.w2.weight": (3072, 9216),
        "mm_audio_embeddings.tok_embeddings.weight": (131_072, 3072),
        "mm_audio_embeddings.audio_codebook_embeddings.embeddings.weight": (9088, 3072),
        "acoustic_transformer.input_projection.weight": (3072, 36),
        "acoustic_transformer.time_projection.weight": (3072, 3072),
        "acoustic_transformer.llm_projection.weight": (3072, 3072),
        "acoustic_transformer.semantic_codebook_output.weight": (8320, 3072),
        "acoustic_transformer.acoustic_codebook_output.weight": (36, 3072),
        "acoustic_transformer.norm.weight": (3072,),
        "acoustic_transformer.layers.2.attention.wk.weight": (1024, 3072),
        f"{block}0.conv.parametrizations.weight.original0": (1024, 1, 1),
        f"{block}0.conv.parametrizations.weight.original1": (1024, 292, 3),
        f"{block}6.conv.parametrizations.weight.original0": (1024, 1, 1),
        f"{block}6.conv.parametrizations.weight.original1": (1024, 1024, 4),
        f"{block}7.layers.1.attention.q_norm.weight": (1024,),
        f"{block}7.layers.1.attention_scale": (1024,),
        f"{block}7.layers.1.ffn_scale": (1024,),
        f"{block}1.layers.0.feed_forward.w1.weight": (4096, 1024),
        "audio_tokenizer.output_proj.conv.parametrizations.weight.original0": (240, 1, 1),
        "audio_tokenizer.output_proj.conv.parametrizations.weight.original1": (240, 1024, 7),
        "audio_tokenizer.quantizer.semantic_codebook.cluster_usage": (8192,),
        "audio_tokenizer.quantizer.semantic_codebook.embedding_sum": (8192, 256),
    }
    assert {name: shapes.get(name) for name in expected} == expected


def test_the_published_encoder_has_its_known_size() -> None:
    with torch.device("meta"):
        model = TtsModel(TtsConfig.from_params(PUBLISHED), encoder=True)
    parts = ("audio_tokenizer.encoder_blocks", "audio_tokenizer.input_proj")
    encoder = {k: v for k, v in model.state_dict().items() if k.startswith(parts)}
    assert len(encoder) == 114
    assert sum(tensor.numel() for tensor in encoder.values()) == pytest.approx(149e6, rel=0.01)


def test_published_windows_are_narrowest_where_time_is_coarsest() -> None:
    codec = TtsConfig.from_params(PUBLISHED).codec
    assert [stage.window for stage in codec.encoder] == [16, 8, 4, 2]
    assert [stage.window for stage in codec.decoder] == [2, 4, 8, 16]
    assert codec.frame_samples == 1920
    with torch.device("meta"):
        assert TtsModel(TtsConfig.from_params(PUBLISHED)).audio_tokenizer.decoder_values == 132_680


def test_a_missing_number_is_named() -> None:
    params = toy()
    del params["multimodal"]["audio_model_args"]["n_acoustic_codebook"]
    with pytest.raises(CheckpointError, match="n_acoustic_codebook"):
        TtsConfig.from_params(params)


def test_null_is_as_if_left_out() -> None:
    params = toy()
    multimodal = params["multimodal"]
    multimodal["audio_model_args"]["acoustic_transformer_args"]["n_decoding_steps"] = None
    multimodal["audio_model_args"]["alignment_heads"] = None
    multimodal["audio_tokenizer_args"] |= {"voice": None, "encoder_convs_strides_str": None}
    assert TtsConfig.from_params(params).acoustic.n_decoding_steps == 7
    del params["dim"]
    params["multimodal"]["audio_tokenizer_args"]["semantic_dim"] = None
    with pytest.raises(CheckpointError, match="lacks dim"):
        TtsConfig.from_params(params)
    with pytest.raises(CheckpointError, match="semantic_dim"):
        TtsConfig.from_params(params | {"dim": 32})


def test_prompt_layout() -> None:
    config = TtsConfig.from_params(PUBLISHED)
    text = [42572, 1395, 1261, 15568, 5970, 1033]
    ids = prompt_ids(config, 147, text)
    assert ids == [1, 25, *[24] * 147, 36, *text, 35, 25]
    assert len(ids) == 158
    assert rope_positions(config, 147, len(text), 2).tolist() == list(range(160))


def test_special_tokens_are_those_that_the_tokenizer_names(
    checkpoint: Path, tmp_path: Path
) -> None:
    for name in ("params.json", "consolidated.safetensors"):
        shutil.copy(checkpoint / name, tmp_path)
    tekken = json.loads((checkpoint / "tekken.json").read_bytes())
    names = ["[AUDIO]", "[BEGIN_AUDIO]", "[REPEAT_AUDIO_TEXT]", "[NEXT_AUDIO_TEXT]"]
    tekken["special_tokens"] = [{"rank": 40 + n, "token_str": name} for n, name in enumerate(names)]
    (tmp_path / "tekken.json").write_text(json.dumps(tekken))
    ids = [prompt_ids(load_model(folder, CPU).sizes, 2, [7]) for folder in (checkpoint, tmp_path)]
    assert ids == [[1, 25, 24, 24, 36, 7, 35, 25], [1, 41, 40, 40, 43, 7, 42, 41]]


def test_positions_may_restart_at_the_audio() -> None:
    params = toy()
    params["multimodal"]["audio_model_args"]["restart_positions_at_audio"] = True
    positions = rope_positions(TtsConfig.from_params(params), 2, 3, 2)
    #            <s> B  A  A next t0 t1 t2 rep begin f0 f1
    expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7]
    assert positions.tolist() == expected


def test_a_frame_is_embedded_as_the_sum_of_one_row_per_codebook() -> None:
    model = make_model()
    table = model.mm_audio_embeddings.audio_codebook_embeddings["embeddings"].weight
    codes = torch.tensor([[5, 0, 20, 3, 4, 5, 6]])
    rows = [5 + 2] + [66 + 23 * k + int(c) + 2 for k, c in enumerate(codes[0, 1:])]
    torch.testing.assert_close(model.embed_frames(codes)[0], table[rows].sum(0))
    voice = model.voice_rows(codes)
    end = [1] + [66 + 23 * k for k in range(6)]
    torch.testing.assert_close(voice[1], table[end].sum(0))


@pytest.mark.parametrize("alpha", [1.0, 1.2, 3.0])
@pytest.mark.parametrize("steps", [1, 7])
def test_drawing_equals_naive_euler_with_two_separate_passes(alpha: float, steps: int) -> None:
    model = make_model(cfg_alpha=alpha, n_decoding_steps=steps).double()
    head = model.acoustic_transformer
    h, noise = torch.randn(5, 32).double(), torch.randn(5, 6).double()
    x = noise
    for step in range(steps):
        t = torch.full((5,), step / steps).double()
        guided = head.velocity(x, t, h)
        unguided = head.velocity(x, t, torch.zeros_like(h))
        x = x + (alpha * guided + (1 - alpha) * unguided) / steps
    torch.testing.assert_close(head.draw(h, noise), x, rtol=1e-5, atol=1e-5)
    head.fuse()
    torch.testing.assert_close(head.draw(h, noise), x, rtol=1e-5, atol=1e-5)


def test_time_tokens_are_forgotten_when_training_goes_on() -> None:
    head = make_model().acoustic_transformer
    h, noise = torch.randn(2, 32), torch.randn(2, 6)
    with torch.no_grad():
        before = head.draw(h, noise)
        head.train()
        head.time_projection.weight += 0.3
        head.eval()
        assert not torch.allclose(head.draw(h, noise), before)


@torch.no_grad()
def test_bf16_uses_the_published_time_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    head = make_model().bfloat16().acoustic_transformer
    grid = [0, 0.142578125, 0.28515625, 0.427734375, 0.5703125, 0.71484375, 0.859375, 1]
    times, velocities = [], iter(torch.eye(7)[6])  # at rest until the last step
    time_token = head._time

    def noted(t: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        times.extend(t.tolist())
        return time_token(t, dtype)

    monkeypatch.setattr(head, "_time", noted)
    monkeypatch.setattr(head, "_finish", lambda *_: next(velocities).expand(2, 6))
    drawn = head.draw(torch.zeros(1, 32, dtype=torch.bfloat16), torch.zeros(1, 6))
    assert times == grid[:-1]
    torch.testing.assert_close(drawn, torch.full((1, 6), 1 - grid[6]), rtol=0, atol=1e-5)


def test_argmax_never_gives_an_impossible_code_and_ends_only_when_allowed() -> None:
    model = make_model()
    head = model.acoustic_transformer
    with torch.no_grad():
        head.semantic_codebook_output.weight[0] = 100.0  # EMPTY
        head.semantic_codebook_output.weight[66:] = 100.0  # padding
        head.semantic_codebook_output.weight[1] = 10.0  # END
        h = torch.ones(2, 32)
        frame = head.next_frame(h, torch.randn(2, 6), torch.tensor([True, False]))
    assert frame[0, 0] == -1
    assert 0 <= frame[1, 0] < 64
    assert ((frame[:, 1:] >= 0) & (frame[:, 1:] <= 20)).all()


@torch.no_grad()
@pytest.mark.parametrize("restart", [False, True])
def test_speaking_step_by_step_equals_teacher_forcing_with_a_shared_prefix(restart: bool) -> None:
    model = make_model(restart_positions_at_audio=restart)
    voice = model.voice_rows(torch.randint(20, (4, 7)))
    text, codes = [1003, 1004, 1005], torch.randint(20, (6, 7))
    x, positions, first = model.embed_utterance(voice, text, codes)
    expected = model(x[None], positions[None])[0, first:]

    shared = KvCache.allocate(model.config, 1, step_tokens=16, max_tokens=64)
    prefix = len(voice) + 3
    model(x[None, :prefix], positions[None, :prefix], shared)
    cache = KvCache.allocate(model.config, 3, step_tokens=16, max_tokens=64)
    cache.copy_row(1, shared, 0)
    row = cache.rows(1, 2)
    h = model(x[None, prefix : first + 1], positions[None, prefix : first + 1], row)[0, -1:]
    torch.testing.assert_close(h[0], expected[0], rtol=0, atol=1e-5)
    for frame in range(len(codes)):
        at = slice(first + 1 + frame, first + 2 + frame)
        h = model(x[None, at], positions[None, at], row)[0]
        torch.testing.assert_close(h[0], expected[1 + frame], rtol=0, atol=1e-5)


def test_training_reaches_every_parameter() -> None:
    model = make_model().train()
    voice = model.voice_rows(torch.randint(20, (4, 7)))
    x, positions, first = model.embed_utterance(voice, [1003], torch.randint(20, (6, 7)))
    h = model(x[None], positions[None])[0, first:]
    head = model.acoustic_transformer
    velocity = head.velocity(torch.randn(7, 6), torch.rand(7), h)
    (head.semantic_codebook_output(h).square().mean() + velocity.square().mean()).backward()
    silent = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None and not name.startswith("audio_tokenizer")
    ]
    assert silent == []


@pytest.mark.parametrize("kept", [0, 100, -500])
def test_damaged_weights_are_told(checkpoint: Path, tmp_path: Path, kept: int) -> None:
    for name in ("params.json", "tekken.json"):
        shutil.copy(checkpoint / name, tmp_path)
    weights = (checkpoint / "consolidated.safetensors").read_bytes()
    (tmp_path / "consolidated.safetensors").write_bytes(weights[:kept])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model(tmp_path, CPU)


def test_loading_a_model_does_not_import_torchs_compiler() -> None:
    """It takes a second at every start, and nothing here compiles."""
    program = (
        "import sys, torch; from tts.checkpoint import load_model; from pipelines.engines import NANO_TTS;"
        "load_model(NANO_TTS, torch.device('cpu'));"
        "sys.exit(bool({'torch._dynamo', 'torch.fx.experimental.symbolic_shapes'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
