"""The graphed steps with every replay run eagerly: buckets, masks and extents."""

from __future__ import annotations

import pytest
import torch

import asr.engine
import asr.graphs
from asr.engine import VoxtralRealtimeEngine
from asr.graphs import GraphedSteps
from asr.offline import transcribe
from asr.steps import Steps
from asr.words import StreamingIds
from backbone.tekken import Tekken
from tests.asr.callers import overheard
from tests.asr.tiny import params, random_model, speechlike, tekken
from tests.fakes.graphs import RerunGraphs

TEKKEN = Tekken(tekken())
IDS = StreamingIds.of(TEKKEN)
PARAMS = params(layers=2, encoder_layers=2, window=300, encoder_window=25, mels=80)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(asr.graphs, "Graphs", RerunGraphs)


def graphed(rows: int) -> GraphedSteps:
    steps = GraphedSteps(random_model(PARAMS), IDS, rows)
    steps.warm_up()
    return steps


def test_they_say_what_plain_steps_say_however_long_the_call():
    """The clips end one after the other; from 20 s on a larger extent is needed."""
    clips = [speechlike(seconds, seed).numpy() for seed, seconds in enumerate((0.4, 3.0, 26.0))]
    steps = graphed(3)
    said = transcribe(steps, TEKKEN, clips, 4)
    expected = transcribe(Steps(random_model(PARAMS), IDS, 3), TEKKEN, clips, 4)
    assert [tokens for _, tokens in said] == [tokens for _, tokens in expected]
    assert set(steps._decodings.replayed) == {(3, 256), (3, 512)}


@torch.inference_mode()
def test_capturing_moves_no_stream():
    steps = graphed(2)
    steps.seat(1, 2)
    before = [tensor.clone() for tensor in state(steps)]
    steps.warm_up()
    assert all(torch.equal(a, b) for a, b in zip(before, state(steps), strict=True))


@torch.inference_mode()
def test_rows_beside_the_range_do_not_move():
    steps = graphed(3)
    audio, tokens = steps._audio.clone(), torch.full((3, 1), IDS.pad)
    steps.decode(0, 3, audio, tokens, 32)
    steps.decode(2, 3, audio[2:], tokens[2:], 32)
    assert steps.state.decoder.lengths.tolist() == [1, 1, 2]


@torch.inference_mode()
def test_a_long_call_that_is_over_makes_no_later_one_slower():
    steps = graphed(2)
    for row in (0, 1):
        steps.seat(row, 2)
    steps.state.decoder.lengths[1] = 10_000  # nobody's any more
    audio, tokens = steps._audio.clone(), torch.full((2, 1), IDS.pad)
    steps.decode(0, 2, audio, tokens, 32, torch.tensor([True, False]))
    assert steps._decodings.replayed[-1] == (2, 256)
    steps.decode(0, 2, audio, tokens, 10_001)
    assert steps._decodings.replayed[-1] == (2, 512)


def test_every_number_of_rows_has_its_graphs():
    steps = graphed(6)
    assert set(steps._encodings.captured) == {1, 2, 4, 6}
    assert set(steps._decodings.captured) == {(n, e) for n in (1, 2, 4, 6) for e in (256, 512)}


async def test_callers_and_their_forks_share_graphs(monkeypatch):
    monkeypatch.setattr(asr.engine, "_make_steps", lambda model, tekken, most: graphed(most + 4))
    engine = VoxtralRealtimeEngine(
        random_model(PARAMS), TEKKEN, name="graphed", delay_ms=160, max_streams=3
    )
    clips = [speechlike(1.5 + 0.3 * seed, seed) for seed in range(3)]

    heard = await overheard(engine, clips)
    for clip, tokens in zip(clips, heard, strict=True):
        alone = transcribe(Steps(random_model(PARAMS), IDS, 1), TEKKEN, [clip.numpy()], 2)
        assert tokens == alone[0][1][: len(tokens)]
    await engine.close()


def state(steps: Steps) -> list[torch.Tensor]:
    encoder, decoder = steps.state.encoder, steps.state.decoder
    rings = [ring[:, :-1] for ring in encoder.cache.rings + decoder.rings]
    return [*rings, encoder.mel_tail, encoder.conv_tail, encoder.cache.lengths, decoder.lengths]
