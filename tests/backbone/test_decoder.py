from __future__ import annotations

import math

import pytest
import torch

from backbone.cache import KvCache
from backbone.config import DecoderConfig, Llama4Scaling, MoE, Yarn
from backbone.decoder import Decoder, rotary_timescale
from backbone.layers import attend, attend_band
from backbone.rope import halves_to_pairs, inverse_frequencies, pairs_to_halves, rotate, rotations

TINY = {"dim": 24, "n_layers": 3, "head_dim": 8, "hidden_dim": 40, "n_heads": 4, "n_kv_heads": 2}

CONFIGS = {
    "plain": DecoderConfig(**TINY),
    "window": DecoderConfig(**TINY, sliding_window=7),
    "window per layer": DecoderConfig(**TINY, sliding_window=(5, None)),
    "biases": DecoderConfig(**TINY, use_biases=True, sliding_window=9),
    "yarn and temperature": DecoderConfig(
        **TINY, yarn=Yarn(16, 4.0, apply_scale=True), llama_4_scaling=Llama4Scaling(8)
    ),
    "experts": DecoderConfig(**TINY, moe=MoE(4, 2)),
    "conditioned": DecoderConfig(**TINY, ada_rms_norm_t_cond=True, sliding_window=6),
}


def build(config: DecoderConfig) -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(config).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return decoder


@pytest.mark.parametrize("fused", [None, "float32", "bfloat16"])
@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_continuing_from_the_cache_equals_the_whole_sequence(name, fused):
    config = CONFIGS[name]
    decoder = build(config)
    if fused == "bfloat16":  # as in most checkpoints; a CPU then reads half floats
        decoder.bfloat16().float()
    x = torch.randn(2, 40, config.dim)
    positions = torch.arange(40)[None]
    scale = None
    if config.ada_rms_norm_t_cond:
        scale = decoder.ada_scale(rotary_timescale(torch.tensor([6.0, 2.0]), config.dim))
    whole = decoder(x, positions, ada_scale=scale)
    if fused:
        decoder.fuse()
    cache = KvCache.allocate(config, 2, step_tokens=4, max_tokens=40)
    pieces, start = [], 0
    for size in (1, 4, 3, 4, 4, 2, 1, 4, 4, 4, 4, 4, 1):
        part = slice(start, start + size)
        pieces.append(decoder(x[:, part], positions[:, part], cache, ada_scale=scale))
        start += size
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_rows_of_different_age_join_sit_out_fork_and_leave_without_touching_each_other():
    config = CONFIGS["window"]
    decoder = build(config)
    streams = torch.randn(3, 30, config.dim)
    alone = decoder(streams, torch.arange(30)[None])
    cache = KvCache.allocate(config, 4)
    ages = [0, 0, 0]
    generator = torch.Generator().manual_seed(1)
    while min(ages) < 29:
        active = torch.rand(4, generator=generator) < 0.6
        active[3] = False
        for row in range(3):
            active[row] &= ages[row] < 29
        x = torch.zeros(4, 1, config.dim)
        for row in range(3):
            x[row, 0] = streams[row, ages[row]]
        out = decoder(x, cache.lengths[:, None].clone(), cache, active=active)
        for row in range(3):
            if active[row]:
                torch.testing.assert_close(out[row, 0], alone[row, ages[row]], atol=2e-6, rtol=1e-5)
                ages[row] += 1
    assert cache.lengths.tolist() == [29, 29, 29, 0]

    cache.copy_row(3, cache, 1)  # a fork goes on by itself ...
    last = streams[1:2, 29:]
    fork = decoder(last, cache.lengths[3:, None].clone(), cache.rows(3, 4))
    torch.testing.assert_close(fork[0, 0], alone[1, 29], atol=2e-6, rtol=1e-5)
    assert cache.lengths.tolist() == [29, 29, 29, 30]  # ... and its origin does not move
    live = decoder(last, cache.lengths[1:2, None].clone(), cache.rows(1, 2))
    torch.testing.assert_close(live, fork)

    cache.lengths[0] = 0  # a new stream takes the row
    again = decoder(streams[:1, :1], torch.zeros(1, 1, dtype=torch.int64), cache.rows(0, 1))
    torch.testing.assert_close(again[0, 0], alone[0, 0], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("length", [1, 6, 7, 8, 14, 15, 41])
def test_the_banded_forward_sees_exactly_the_window(length):
    q, k, v = (torch.randn(2, length, heads, 8) for heads in (4, 2, 2))
    steps = torch.arange(length)
    distance = steps[:, None] - steps
    reference = attend(q, k, v, mask=(distance >= 0) & (distance < 7))
    torch.testing.assert_close(attend_band(q, k, v, 7), reference)


def test_positions_may_restart_while_the_order_goes_on():
    config = CONFIGS["plain"]
    decoder = build(config)
    x = torch.randn(1, 8, config.dim)
    positions = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 4]])
    with torch.no_grad():
        whole = decoder(x, positions)
        cache = KvCache.allocate(config, 1, max_tokens=8)
        steps = [decoder(x[:, i : i + 1], positions[:, i : i + 1], cache) for i in range(8)]
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_counting_tokens_for_ages_changes_nothing():
    config = CONFIGS["window"]
    decoder = build(config)
    x = torch.randn(1, 21, config.dim)
    young = KvCache.allocate(config, 1)
    for i in range(20):
        decoder(x[:, i : i + 1], torch.tensor([[i]]), young)
    old = KvCache.allocate(config, 1)
    old.copy_row(0, young, 0)
    old.lengths.add_(7 * 2**50)
    outs = [decoder(x[:, 20:], torch.tensor([[20]]), cache) for cache in (young, old)]
    assert torch.equal(*outs)


def test_an_unbounded_layer_says_when_its_room_is_used_up():
    config = CONFIGS["plain"]
    cache = KvCache.allocate(config, 1, max_tokens=2)
    with pytest.raises(ValueError, match="3 tokens do not fit"):
        build(config)(torch.zeros(1, 3, config.dim), torch.arange(3)[None], cache)


def test_the_forward_without_a_cache_trains():
    config = CONFIGS["conditioned"]
    decoder = build(config)
    scale = decoder.ada_scale(rotary_timescale(torch.tensor([3.0]), config.dim))
    with torch.autocast("cpu", torch.bfloat16):
        out = decoder(torch.randn(2, 12, config.dim), torch.arange(12)[None], ada_scale=scale)
    out.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in decoder.parameters())


def test_angles_stay_exact_in_calls_of_days():
    config = DecoderConfig(**TINY | {"head_dim": 128}, rope_theta=1e6)
    position = 2**20 + 12345
    turned = rotations(config, inverse_frequencies(config), torch.tensor([[position]]))[0, 0, 0]
    for j in (0, 1, 17, 63):
        angle = math.remainder(position * 1e6 ** (-2 * j / 128), 2 * math.pi)
        assert math.remainder(turned[j].angle().item() - angle, 2 * math.pi) == pytest.approx(
            0, abs=1e-6
        )


@pytest.mark.parametrize("shape", [(32, 5), (32,)])
def test_interleaved_rotation_equals_half_split_rotation_of_permuted_rows(shape):
    weight = torch.randn(shape)
    assert torch.equal(halves_to_pairs(pairs_to_halves(weight, 4), 4), weight)
    config = CONFIGS["plain"]
    rotation = rotations(config, inverse_frequencies(config), torch.tensor([[11]]))
    q = weight.reshape(32, -1)[:, 0].contiguous().view(1, 1, 4, 8)
    halves = pairs_to_halves(weight, 4).reshape(32, -1)[:, 0].view(1, 1, 4, 8)
    first, second = halves[..., :4], halves[..., 4:]
    cos, sin = rotation.real, rotation.imag
    reference = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
    ours = pairs_to_halves(rotate(q, rotation).flatten(), 4).view(1, 1, 4, 8)
    torch.testing.assert_close(ours, reference)


def test_time_embedding_of_the_default_delay():
    embedding = rotary_timescale(torch.tensor([6.0], dtype=torch.float64), 3072)[0]
    expected = {
        0: 0.960170286650366,
        1: 0.9495320879700924,
        1535: 0.999999817828336,
        1536: -0.27941549819892586,
        3071: 0.0006036085608862508,
    }
    for index, value in expected.items():
        assert embedding[index].item() == pytest.approx(value, abs=1e-12)
    assert embedding.sum().item() == pytest.approx(1366.9159308583985, abs=1e-9)
