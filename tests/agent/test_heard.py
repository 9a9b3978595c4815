"""The ledger of what was heard, to the word."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from agent.heard import CUT_NOTE, Cut, HeardLedger

RATE_HZ = 24_000
TEXT = "The doctor is free on Tuesday."


def _ledger() -> HeardLedger:
    """Each word takes half a second."""
    ledger = HeardLedger()
    for i in range(len(TEXT.split())):
        ledger.plan(i * RATE_HZ // 2, (i + 1) * RATE_HZ // 2)
    return ledger


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (Cut("", TEXT), ""),
        (Cut("The doctor", "is free on Tuesday."), "The doctor" + CUT_NOTE),
        (Cut(TEXT, ""), TEXT),
    ],
)
def test_the_model_is_told_of_the_cut_only_when_there_was_one(cut: Cut, told: str) -> None:
    assert cut.for_model == told


def test_what_is_still_on_its_way_was_not_heard() -> None:
    ledger = _ledger()
    ledger.wrote(RATE_HZ // 8)
    assert ledger.words_heard() == 0
    ledger.wrote(2 * RATE_HZ)
    assert ledger.words_heard() == 4
    assert ledger.words_heard(downstream_samples=RATE_HZ // 2) == 3


@given(st.lists(st.integers(0, 4000), max_size=60), st.integers(0, 12_000))
def test_exact_to_half_a_word(pulls: list[int], downstream: int) -> None:
    ledger = _ledger()
    for samples in pulls:
        ledger.wrote(samples)
    audible = max(0, sum(pulls) - downstream)
    whole_words = min(len(TEXT.split()), audible / (RATE_HZ / 2))
    assert ledger.words_heard(downstream) == pytest.approx(whole_words, abs=0.5)
