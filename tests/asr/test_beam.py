"""Readings side by side: which survive, what is settled, and that each keeps its own memory."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch

import asr.engine
import asr.graphs
from asr.beam import MAX_OPEN_TOKENS, Beam, Move
from asr.checkpoint import load_model
from asr.engine import VoxtralRealtimeEngine
from asr.graphs import GraphedSteps
from asr.language_model import LanguageModel
from asr.offline import step, transcribe
from asr.steps import Steps
from asr.stream import Listener
from asr.words import Decision, StreamingIds
from backbone.tekken import Tekken
from common.errors import CheckpointError
from tests.asr.callers import overheard
from tests.asr.test_model import offline
from tests.asr.tiny import checkpoint, params, random_model, speechlike, tekken
from tests.fakes.graphs import RerunGraphs
from training.ears.arpa import BackoffModel

TEKKEN = Tekken(tekken())
IDS = StreamingIds.of(TEKKEN)
CAT, DOG = (TEKKEN.encode(word)[0] for word in (" cat", " dog"))
DELAY = 2
SIZES = params(layers=2, encoder_layers=2, window=26, encoder_window=25, mels=80)
FILTERED = params(
    layers=2, encoder_layers=2, window=26, encoder_window=25, mels=80, noise_filter=True
)


def candidates(*rows: dict[int, float]) -> np.ndarray:
    """What `Steps.decode` returns when these are the likeliest tokens of each row."""
    most = max(map(len, rows))
    table = np.zeros((len(rows), most, 3), np.float32)
    table[:, :, 0] = IDS.pad
    for row, probabilities in zip(table, rows, strict=True):
        for line, (token, probability) in zip(row, probabilities.items(), strict=False):
            line[:] = token, probability, probabilities.get(IDS.pad, 0.0)
    return table


def said(beam: Beam) -> list[int]:
    return [decision.token for decision in beam.open]


def test_of_one_reading_everything_is_settled_at_once():
    beam = Beam(TEKKEN, IDS, 1)
    settled, moves = beam.extend(candidates({CAT: 0.4}))
    assert [decision.token for decision in settled] == [CAT]
    assert (moves, beam.open, beam.tokens) == ([], (), [CAT])


def test_what_follows_may_tell_that_another_reading_was_right():
    beam = Beam(TEKKEN, IDS, 2)
    settled, moves = beam.extend(candidates({CAT: 0.6, DOG: 0.4}, {}))
    assert (settled, moves) == ([], [Move(1, 0)])
    assert (said(beam), beam.tokens) == ([CAT], [CAT, DOG])
    settled, moves = beam.extend(candidates({CAT: 0.1, IDS.pad: 0.1}, {IDS.pad: 0.9}))
    assert said(beam) == [DOG, IDS.pad]
    settled, moves = beam.extend(candidates({}, {CAT: 0.9, IDS.pad: 0.1}))
    assert [decision.token for decision in settled] == [DOG, IDS.pad]
    assert moves == [Move(0, 1)]
    assert (said(beam), beam.tokens) == ([CAT], [IDS.pad, CAT])


def test_the_same_words_at_other_moments_are_one_reading_and_as_likely_as_both():
    beam = Beam(TEKKEN, IDS, 3)
    beam.extend(candidates({CAT: 0.4, IDS.pad: 0.3, DOG: 0.3}, {}, {}))
    beam.extend(candidates({IDS.pad: 1.0}, {CAT: 1.0}, {IDS.pad: 1.0}))
    beam.extend(candidates({IDS.pad: 1.0}, {IDS.pad: 1.0}, {IDS.pad: 1.0}))
    likeliest, other = beam._readings
    assert said(beam) == [CAT, IDS.pad, IDS.pad]
    assert math.exp(other.score - likeliest.score) == pytest.approx(0.3 / 0.7, rel=1e-5)


def test_a_wide_beam_finds_the_likeliest_of_all_texts():
    """Against every sequence there is, for a model whose choices hang on the token before."""
    chance = np.random.default_rng(5)
    tokens = [IDS.pad, IDS.word, CAT, DOG]
    steps, width = 5, 4**5
    rates = chance.dirichlet(np.full(4, 20.0), size=(steps, 4))
    totals: dict[tuple[tuple[int, ...], int], float] = defaultdict(float)
    for path in itertools.product(range(4), repeat=steps):
        before, probability = 0, 1.0
        for at, index in enumerate(path):
            probability *= rates[at, before, index]
            before = index
        totals[tuple(i for i in path if i > 1), path[-1]] += probability
    beam = Beam(TEKKEN, IDS, width)
    settled: list[Decision] = []
    for at in range(steps):
        rows = [rates[at, tokens.index(token)] for token in beam.tokens]
        more, _ = beam.extend(candidates(*(dict(zip(tokens, row, strict=True)) for row in rows)))
        settled += more
    (text, _), best = max(totals.items(), key=lambda item: item[1])
    words = [*settled, *beam.open]
    assert [d.token for d in words if d.token in (CAT, DOG)] == [tokens[i] for i in text]
    assert len(beam._readings) == len(totals)
    scores = np.exp([reading.score for reading in beam._readings])
    np.testing.assert_allclose(scores, sorted(np.array([*totals.values()]) / best)[::-1], rtol=1e-3)


def test_what_was_said_long_ago_is_settled_though_another_reading_contests_it():
    beam = Beam(TEKKEN, IDS, 2)
    beam.extend(candidates({CAT: 0.6, DOG: 0.4}, {}))
    settled: list[Decision] = []
    for _ in range(MAX_OPEN_TOKENS):
        assert not settled
        settled, _ = beam.extend(candidates({IDS.pad: 1.0}, {IDS.pad: 1.0}))
    assert settled[0].token == CAT
    assert beam.open == ()


def test_of_two_readings_the_one_is_right_that_people_say():
    trigram = BackoffModel({"cat": 0.5, "dog": 0.4, "</s>": 0.1})
    trigram.add(("<s>",), "dog", 0.9)
    trigram.close(2)
    language = LanguageModel(trigram.tensors(), weight=1.0)
    sounds = candidates({CAT: 0.6, DOG: 0.4}, {})
    for model, word in ((None, CAT), (language, DOG)):
        beam = Beam(TEKKEN, IDS, 2, model)
        beam.extend(sounds)
        assert said(beam) == [word]


@torch.inference_mode()
def test_the_likeliest_reading_has_the_memory_of_its_own_past():
    """Its probabilities are those of a whole clip of which this was always the text."""
    model, clip = random_model(SIZES | {"beam_width": 5}), speechlike(4.0, seed=3)
    steps, listener = Steps(model, IDS, 1), Listener(TEKKEN, IDS, DELAY, width=5)
    steps.seat(0, DELAY)
    listener.feed(clip.numpy())
    listener.finish()
    taken: list[Decision] = []
    beam = listener._beam
    extend = beam.extend

    def watched(rated: np.ndarray) -> tuple[list[Decision], list[Move]]:
        settled, moves = extend(rated)
        taken.extend(settled)
        return settled, moves

    beam.extend = watched  # type: ignore[method-assign]
    moved = 0
    while listener.ready_tokens():
        step(steps, [listener])
        moved += len(listener.moves)
    taken += beam.open
    assert moved > 20
    tokens = [IDS.start, *[IDS.pad] * (32 + DELAY), *(decision.token for decision in taken)]
    assert listener.tokens == tokens[33 + DELAY :]
    whole = model(
        offline(model, clip, DELAY)[..., : 8 * (len(tokens) - 1)],
        torch.tensor([tokens[:-1]]),
        torch.tensor([DELAY]),
    )
    rates = whole[0, 32 + DELAY :].softmax(-1)
    for decision, rate in zip(taken, rates, strict=False):
        assert decision.probability == pytest.approx(float(rate[decision.token]), abs=2e-4)
        assert decision.pad == pytest.approx(float(rate[IDS.pad]), abs=2e-4)


def test_the_words_that_are_still_open_are_not_called_stable():
    listener = Listener(TEKKEN, IDS, 1, left=1, width=2)
    listener.feed(np.zeros(16_000, np.float32))
    listener.decide(candidates({}, {}))
    listener.decide(candidates({}, {}))
    for row in ({CAT: 0.9}, {IDS.pad: 1.0}, {CAT: 0.6, DOG: 0.4}):
        listener.decide(candidates(row, {}))
    assert listener.decide(candidates({IDS.pad: 1.0}, {IDS.pad: 1.0}))
    assert (listener.hypothesis().text, listener.hypothesis().stable) == ("cat cat", 1)
    assert listener.decide(candidates({IDS.pad: 0.1}, {IDS.pad: 1.0}))
    assert listener.hypothesis().text == "cat dog"
    twin = listener.fork()
    assert twin.hypothesis() == listener.hypothesis()
    twin.decide(candidates({DOG: 1.0}, {DOG: 0.1}))
    assert listener.hypothesis().text == "cat dog"


@pytest.mark.parametrize("graphed", [False, True])
async def test_wide_callers_and_their_forks_do_not_hear_each_other(monkeypatch, graphed: bool):
    monkeypatch.setattr(asr.graphs, "Graphs", RerunGraphs)
    wide = FILTERED | {"beam_width": 3}
    if graphed:
        steps = GraphedSteps(random_model(wide), IDS, 7)
        steps.warm_up()
        monkeypatch.setattr(asr.engine, "_make_steps", lambda *_: steps)
    engine = VoxtralRealtimeEngine(
        random_model(wide), TEKKEN, name="wide", delay_ms=160, max_streams=3
    )
    clips = [speechlike(1.5 + 0.3 * seed, seed) for seed in range(3)]

    heard = await overheard(engine, clips)
    assert max(engine.metrics().batch_sizes) > 1
    await engine.close()
    for clip, tokens in zip(clips, heard, strict=True):
        alone = Steps(random_model(wide), IDS, 1)
        listener = Listener.on(alone, TEKKEN, 2)
        alone.seat(0, 2)
        listener.feed(clip.numpy())
        listener.finish()
        with torch.inference_mode():
            while len(listener.tokens) < len(tokens):
                step(alone, [listener])
        assert tokens == listener.tokens


def test_a_wider_beam_understands_something_else_of_the_same_audio():
    clip = [speechlike(4.0).numpy()]
    narrow, wide = (
        transcribe(Steps(random_model(SIZES | {"beam_width": width}), IDS, 1), TEKKEN, clip, 2)
        for width in (1, 6)
    )
    assert narrow[0][1] != wide[0][1]
    assert len(narrow[0][1]) == len(wide[0][1])


@pytest.mark.parametrize("width", [0, 65])
def test_a_beam_that_nobody_can_follow_is_refused(tmp_path, width: int):
    with pytest.raises(CheckpointError, match=f"beam_width of {width}"):
        load_model(checkpoint(tmp_path, SIZES | {"beam_width": width}))
