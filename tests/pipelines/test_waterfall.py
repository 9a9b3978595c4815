from __future__ import annotations

import pytest

from pipelines.waterfall import Step, Waterfall


def filled(**at_s: float) -> Waterfall:
    waterfall = Waterfall()
    for name, value in at_s.items():
        waterfall.mark(Step[name], value)
    return waterfall


def test_parts_add_up_to_the_whole():
    waterfall = filled(
        VOICE_ENDED=1.0, FINAL_WORDS=1.1, COMMITTED=1.3, LLM_WORD=1.5, CLAUSE=1.6, FRAME=1.8,
        AUDIBLE=1.82,
    )  # fmt: skip
    assert [part["ms"] for part in waterfall.parts(34)] == [100, 200, 200, 100, 200, 20, 34]


def test_what_was_prepared_before_the_commit_costs_nothing():
    waterfall = filled(
        VOICE_ENDED=1.0, LLM_WORD=1.2, CLAUSE=1.2, FRAME=1.25, COMMITTED=1.4, AUDIBLE=1.41
    )
    parts = {part["name"]: part["ms"] for part in waterfall.parts()}
    assert parts == {
        "final words": 0, "endpointing": 400, "LLM first word": 0, "first clause": 0,
        "first frame": 0, "playout": 10, "line": 0,
    }  # fmt: skip


def test_a_dropped_reply_leaves_no_marks_but_the_callers_silence_stays_known():
    waterfall = filled(VOICE_ENDED=1.0, COMMITTED=1.2, LLM_WORD=1.3)
    waterfall.restart()
    waterfall.mark(Step.COMMITTED, 2.0)
    waterfall.mark(Step.AUDIBLE, 2.5)
    assert waterfall.complete
    assert sum(part["ms"] for part in waterfall.parts()) == pytest.approx(1500)
    assert waterfall.parts()[1]["ms"] == pytest.approx(1000)


def test_the_last_pause_before_the_commit_counts_and_later_ones_do_not():
    waterfall = Waterfall()
    waterfall.move(Step.FINAL_WORDS, 1.0)
    waterfall.move(Step.FINAL_WORDS, 2.0)
    waterfall.mark(Step.COMMITTED, 2.5)
    waterfall.move(Step.FINAL_WORDS, 3.0)
    waterfall.mark(Step.VOICE_ENDED, 1.5)
    waterfall.mark(Step.AUDIBLE, 2.6)
    assert waterfall.parts()[0]["ms"] == pytest.approx(500)
