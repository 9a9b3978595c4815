"""The codec's arithmetic: names, causality, streaming against offline, quantisers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from common.errors import CheckpointError
from tests.tts.sizes import toy
from tts.codec import Codec, Past
from tts.codec.convs import CausalConv, CausalConvTranspose
from tts.codec.quantizer import Quantizer
from tts.config import TtsConfig

HEADS = {
    "patch": {},
    "istft": {"output_head": "istft"},
    "widths": {"encoder_dims_str": "16,24,32,32", "decoder_dims_str": "32,24,24,16"},
}


def make_codec(**changes: object) -> Codec:
    torch.manual_seed(0)
    return Codec(TtsConfig.from_params(toy(**changes)).codec).eval()


def random_codes(codec: Codec, rows: int, frames: int) -> torch.Tensor:
    semantic = torch.randint(codec.config.semantic_codebook_size, (rows, frames, 1))
    acoustic = torch.randint(21, (rows, frames, codec.config.acoustic_dim))
    return torch.cat([semantic, acoustic], dim=-1)


@pytest.mark.parametrize("pad", ["replicate", "reflect"])
def test_convolution_equals_conv1d_with_weight_norm_and_folded(pad: str) -> None:
    torch.manual_seed(0)
    conv = CausalConv(5, 7, 7, pad=pad)  # type: ignore[arg-type]
    conv.conv.parametrizations.weight.original0.data.uniform_(0.5, 2)
    x = torch.randn(2, 12, 5)
    expected = functional.conv1d(
        functional.pad(x.transpose(1, 2), (6, 0), mode=pad), conv.conv.weight
    ).transpose(1, 2)
    torch.testing.assert_close(conv(x), expected)
    conv.fold()
    torch.testing.assert_close(conv(x), expected)


def test_transposed_convolution_equals_torch_trimmed_on_the_right() -> None:
    torch.manual_seed(0)
    conv = CausalConvTranspose(5, 7, 4, 2)
    # Published weight norm runs per input channel here.
    assert conv.conv.parametrizations.weight.original0.shape == (5, 1, 1)
    conv.conv.parametrizations.weight.original0.data.uniform_(0.5, 2)
    x = torch.randn(2, 9, 5)
    expected = functional.conv_transpose1d(x.transpose(1, 2), conv.conv.weight, stride=2)
    expected = expected[..., :18].transpose(1, 2)
    torch.testing.assert_close(conv(x), expected)
    conv.fold()
    torch.testing.assert_close(conv(x), expected)


def test_attention_sees_itself_and_exactly_window_steps_back() -> None:
    codec = make_codec()
    stage = codec.decoder_blocks[7]
    stage.layers = stage.layers[:1]
    x = torch.randn(1, 70, 32, requires_grad=True)
    (stage(x)[0, 50] - x[0, 50]).sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(1).nonzero()[:, 0].tolist()
    assert seen == list(range(50 - stage.window, 51))


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 21, 60])
@pytest.mark.parametrize("head", HEADS)
def test_decoding_frame_by_frame_equals_decoding_at_once(head: str, frames: int) -> None:
    codec = make_codec(**HEADS[head]).double()
    codes = random_codes(codec, 2, frames)
    offline = codec.decode(codes)
    assert offline.shape == (2, frames * 1920)
    codec.fold()
    memory, age = torch.zeros(2, codec.decoder_values).double(), torch.zeros(2, dtype=torch.int64)
    pieces = []
    for frame in range(frames):
        wave, memory = codec.decode_next(codes[:, frame : frame + 1], memory, age + frame)
        pieces.append(wave)
    torch.testing.assert_close(torch.cat(pieces, 1), offline, rtol=1e-6, atol=1e-6)


def test_a_batch_of_unequal_ages_decodes_each_stream_as_if_alone() -> None:
    codec = make_codec(output_head="istft")
    starts, frames = torch.tensor([0, 1, 5, 9]), 24
    codes = random_codes(codec, 4, frames)
    offline = codec.decode(codes)
    memory = torch.zeros(4, codec.decoder_values)
    age, out = torch.zeros(4, dtype=torch.int64), [[], [], [], []]
    for step in range(frames):
        rows = (starts <= step).nonzero()[:, 0]
        now = codes[rows, age[rows]][:, None]
        wave, memory[rows] = codec.decode_next(now, memory[rows], age[rows])
        age[rows] += 1
        for row, piece in zip(rows.tolist(), wave, strict=True):
            out[row].append(piece)
    for row in range(4):
        heard = torch.cat(out[row])
        torch.testing.assert_close(heard, offline[row, : len(heard)], rtol=0, atol=1e-5)


def test_several_frames_may_be_decoded_in_one_call() -> None:
    codec = make_codec()
    codes = random_codes(codec, 1, 11)
    memory, age, pieces = torch.zeros(1, codec.decoder_values), torch.zeros(1).long(), []
    for cut in codes.split([3, 1, 7], dim=1):
        wave, memory = codec.decode_next(cut, memory, age)
        age = age + cut.shape[1]
        pieces.append(wave)
    torch.testing.assert_close(torch.cat(pieces, 1), codec.decode(codes), rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 9, 33])
@pytest.mark.parametrize("told", ["patch", "patch+magnitudes"])
def test_encoding_frame_by_frame_equals_encoding_at_once(told: str, frames: int) -> None:
    codec = make_codec(encoder_dims_str="16,24,32,32", encoder_input=told).double()
    wave = torch.randn(2, frames * 1920).double() * 0.1
    offline = codec.latents(wave)
    memory, age, pieces = torch.zeros(2, codec.encoder_values).double(), torch.zeros(2).long(), []
    for frame, chunk in enumerate(wave.split(1920, dim=1)):
        past = Past(memory, age + frame, 1)
        pieces.append(codec.latents(chunk, past))
        memory = past.next()
    torch.testing.assert_close(torch.cat(pieces, 1), offline, rtol=1e-6, atol=1e-6)
    assert codec.encode(wave[:, :-500]).shape == (2, frames, 7)


def test_decoding_again_is_exact_with_21_frames_of_context_and_not_with_16() -> None:
    codec = make_codec().double()
    codes = random_codes(codec, 1, 60)
    whole = codec.decode(codes)[0, 50 * 1920 :]
    enough = codec.decode(codes[:, 29:])[0, 21 * 1920 :]
    short = codec.decode(codes[:, 34:])[0, 16 * 1920 :]
    torch.testing.assert_close(enough, whole, rtol=0, atol=1e-12)
    assert (short - whole).abs().max() > 1e-9


def test_rounding_is_half_to_even_and_levels_return_to_themselves() -> None:
    quantizer = Quantizer(TtsConfig.from_params(toy()).codec)
    halves = torch.tensor([-0.75, -0.25, 0.25, 0.75])
    assert quantizer._levels(halves).tolist() == [2, 8, 12, 18]
    codes = torch.cat([torch.arange(21)[:, None] % 64, torch.arange(21)[:, None].repeat(1, 6)], 1)
    latent = quantizer.decode(codes[None])
    latent[..., 8:] = latent[..., 8:].clamp(-0.9999, 0.9999).atanh()
    assert torch.equal(quantizer.encode(latent)[0], codes)


def test_codebook_is_divided_in_fp32_and_guards_unused_codes() -> None:
    quantizer = Quantizer(TtsConfig.from_params(toy()).codec)
    book = quantizer.semantic_codebook
    book.cluster_usage[3] = 0
    book.cluster_usage[4] = 3
    table = book.table
    assert table.dtype == torch.float32
    torch.testing.assert_close(table[3], book.embedding_sum[3] / 1e-5)
    torch.testing.assert_close(table[4], book.embedding_sum[4] / 3)


def test_training_modes_mix_in_the_published_shares_and_gradients_pass() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(TtsConfig.from_params(toy()).codec).train()
    latent = torch.randn(4000, 1, 14, requires_grad=True)
    out = quantizer(latent)
    acoustic, plain = out.latent[..., 8:], latent[..., 8:].tanh()
    on_grid = ((acoustic * 10).round() - acoustic * 10).abs().amax((1, 2)) < 1e-4
    as_is = (acoustic == plain).all(-1)[:, 0]
    dithered = ~on_grid & ~as_is
    shares = [x.float().mean().item() for x in (on_grid, dithered, as_is)]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.03)
    assert (acoustic - plain)[dithered].abs().max() <= 1 / 21 + 1e-6
    through = (out.latent[..., :8] == latent[..., :8]).all(-1).float().mean()
    assert through.item() == pytest.approx(0.5, abs=0.03)
    out.latent.sum().backward()
    assert latent.grad is not None
    assert (latent.grad.abs() > 0).all()


def test_codebook_follows_its_inputs_and_restarts_the_dead() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(TtsConfig.from_params(toy()).codec).train()
    centres = torch.randn(64, 8) * 10
    quantizer.semantic_codebook.embedding_sum += 100  # far away: collapse unless restarted
    for _ in range(400):
        x = centres[torch.randint(64, (16, 20))] + 0.01 * torch.randn(16, 20, 8)
        out = quantizer(torch.cat([x, torch.zeros(16, 20, 6)], -1))
    assert len(out.codes[..., 0].unique()) > 40
    assert out.commitment < 20  # about 10000 at first


def test_folding_the_norm_changes_neither_codes_nor_waveform() -> None:
    codec = make_codec(semantic_norm=True).train()
    wave = torch.randn(8, 1920 * 4) * 0.3
    codec.quantizer.semantic_codebook.start_from(
        codec.quantizer.semantic_codebook.normalise(codec.latents(wave)[..., :8]).flatten(0, 1)
    )
    for _ in range(20):
        codec.quantizer(codec.latents(wave))
    codec.eval()
    folded = copy.deepcopy(codec)
    folded.fold_semantic_norm()
    assert set(folded.state_dict()) == set(make_codec().state_dict())
    codes = codec.encode(wave)
    assert (folded.encode(wave) == codes).float().mean() > 0.99
    torch.testing.assert_close(folded.decode(codes), codec.decode(codes), rtol=0, atol=1e-4)


def test_without_an_encoder_encoding_says_what_to_do() -> None:
    codec = Codec(TtsConfig.from_params(toy()).codec, encoder=False)
    with pytest.raises(CheckpointError, match="no encoder"):
        codec.encode(torch.zeros(1, 1920))
