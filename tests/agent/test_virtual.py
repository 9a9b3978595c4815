"""Hundreds of scripted conversations in virtual time: the bars that turn-taking has to clear."""

from __future__ import annotations

from functools import cache

import pytest

from evals.scenario import load_all
from evals.virtual.__main__ import ENGINES, percentile, run_all, share
from evals.virtual.measure import STOP_MS, Outcome
from evals.virtual.world import World

pytestmark = pytest.mark.parametrize("engines", ["fast", "delayed"])


@cache
def _outcomes(engines: str) -> list[Outcome]:
    return [outcome for outcome in run_all(engines) if outcome.valid]


def _families(engines: str, letters: str) -> list[Outcome]:
    chosen = [outcome for outcome in _outcomes(engines) if outcome.scenario.family in letters]
    assert len(chosen) >= 6
    return chosen


def test_nearly_every_scenario_is_valid(engines: str) -> None:
    assert len(_outcomes(engines)) >= 0.98 * len(load_all())


def test_pauses_are_not_taken_for_the_end(engines: str) -> None:
    assert share(_families(engines, "PH"), "took_over") <= 0.05


def test_finished_turns_are_answered_soon(engines: str) -> None:
    turns = _families(engines, "T")
    waits_ms = [outcome.v2v_ms for outcome in turns if outcome.v2v_ms is not None]
    assert len(waits_ms) == len(turns)
    assert not any(outcome.took_over for outcome in turns)
    assert percentile(waits_ms, 0.5) <= 600
    assert percentile(waits_ms, 0.95) <= 1000


def test_the_agent_gives_way_at_once(engines: str) -> None:
    interruptions = _families(engines, "IR")
    stops_ms = [outcome.stop_ms for outcome in interruptions if outcome.stop_ms is not None]
    assert share(interruptions, "yielded") >= 0.95
    assert percentile(stops_ms, 0.95) <= 40


def test_the_agent_is_not_stopped_for_nothing(engines: str) -> None:
    distractors = _families(engines, "BVOG")
    stopped = [o for o in distractors if o.hard_stop or o.silenced_ms >= STOP_MS]
    assert len(stopped) <= 0.10 * len(distractors)
    assert share(distractors, "hard_stop") <= 0.02


def test_noise_is_not_answered(engines: str) -> None:
    assert not any(outcome.answered for outcome in _families(engines, "S"))


def test_nothing_said_is_lost(engines: str) -> None:
    assert [o.scenario.id for o in _families(engines, "TPHIRK") if o.lost] == []


def test_one_answer_to_what_was_said_in_two_breaths(engines: str) -> None:
    assert [o.answers for o in _families(engines, "K")] == [1] * 30


def test_a_run_is_exact_to_the_bit(engines: str) -> None:
    for scenario in load_all()[::40]:
        once, again = (World(scenario, ENGINES[engines]).play() for _ in range(2))
        assert once == again
