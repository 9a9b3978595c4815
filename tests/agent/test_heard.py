"""The ledger of what was heard, to the word."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from agent.heard import CUT_NOTE, HeardLedger

RATE_HZ = 24_000
TEXT = "The doctor is free on Tuesday."


def _ledger() -> HeardLedger:
    """Each word takes half a second."""
    ledger = HeardLedger()
    for i, word in enumerate(TEXT.split()):
        ledger.plan(word, i * RATE_HZ // 2, (i + 1) * RATE_HZ // 2)
    return ledger


def test_nothing_is_remembered_before_anything_is_heard() -> None:
    ledger = _ledger()
    ledger.wrote(RATE_HZ // 8)
    assert ledger.cut().heard == ledger.cut().for_model == ""
    assert ledger.cut().unheard == TEXT


def test_what_is_still_on_its_way_was_not_heard() -> None:
    ledger = _ledger()
    ledger.wrote(2 * RATE_HZ)
    assert ledger.heard() == "The doctor is free"
    assert ledger.heard(downstream_samples=RATE_HZ // 2) == "The doctor is"


def test_the_model_is_told_of_the_cut_only_when_there_was_one() -> None:
    ledger = _ledger()
    ledger.wrote(RATE_HZ)
    assert ledger.cut().for_model == "The doctor" + CUT_NOTE
    ledger.wrote(2 * RATE_HZ)
    assert ledger.cut().for_model == TEXT


def test_carriers_tell_by_marks() -> None:
    ledger = _ledger()
    ledger.wrote(RATE_HZ)
    ledger.mark("a")
    ledger.wrote(RATE_HZ)
    ledger.mark("b")
    assert ledger.words_heard() == 0
    ledger.reached("a")
    assert ledger.heard() == "The doctor"
    ledger.reached("no such mark")
    assert ledger.heard() == "The doctor"
    ledger.reached("b")
    assert ledger.heard() == "The doctor is free"


@given(st.lists(st.integers(0, 4000), max_size=60), st.integers(0, 12_000))
def test_exact_to_half_a_word(pulls: list[int], downstream: int) -> None:
    ledger = _ledger()
    for samples in pulls:
        ledger.wrote(samples)
    audible = max(0, sum(pulls) - downstream)
    whole_words = min(len(TEXT.split()), audible / (RATE_HZ / 2))
    assert ledger.words_heard(downstream) == pytest.approx(whole_words, abs=0.5)
    cut = ledger.cut(downstream)
    assert f"{cut.heard} {cut.unheard}".strip() == TEXT
