"""Text into clauses whose words know their units."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.tekken import Tekken
from tests.tts.checkpoints import BUNDLED_TEKKEN
from tts.text import ClausePlanner, TekkenUnits, cut

FIXTURES = {
    "Paris is a beautiful city!": [42572, 1395, 1261, 15568, 5970, 1033],
    "Hello.": [22177, 1046],
    "नमस्ते, आप कैसे हैं?": [2485, 3525, 22475, 1803, 1044, 23167, 83112, 10688, 1063],
    "مرحبا كيف حالك؟": [4341, 1708, 26986, 24675, 17086, 1559, 6944],
}


@pytest.fixture(scope="module")
def units() -> TekkenUnits:
    return TekkenUnits(Tekken.load(BUNDLED_TEKKEN))


@pytest.mark.parametrize("text", FIXTURES)
def test_tekken_units_are_the_published_ids_with_their_characters(
    units: TekkenUnits, text: str
) -> None:
    ids, spans = units.encode(text)
    assert ids == FIXTURES[text]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(a < b for a, b in spans)
    assert all(first[1] >= second[0] for first, second in pairwise(spans))


@given(st.text(max_size=300), st.integers(1, 60))
def test_cutting_loses_nothing_that_can_be_said_and_keeps_to_its_length(text: str, n: int) -> None:
    pieces = list(cut(text, n))
    assert all(0 < len(piece) <= n for piece in pieces)
    visible = "".join(c if c.isprintable() else " " for c in text)
    assert "".join("".join(pieces).split()) == "".join(visible.split())


def test_cutting_prefers_sentences_then_commas_then_words() -> None:
    text = "First one. Second, with a comma, goes on. Third"
    assert list(cut(text, 24)) == ["First one.", "Second, with a comma,", "goes on. Third"]
    assert list(cut("no marks at all here", 9)) == ["no marks", "at all", "here"]


def test_words_keep_their_spelling_and_know_their_last_unit(units: TekkenUnits) -> None:
    clause = ClausePlanner(units).plan("Paris is a beautiful city!")
    assert clause is not None
    assert list(clause.ids) == FIXTURES["Paris is a beautiful city!"]
    assert [word.text for word in clause.words] == ["Paris", "is", "a", "beautiful", "city!"]
    assert [word.end_unit for word in clause.words] == [1, 2, 3, 4, 5]
    assert clause.words[-1].end_share == 1.0


def test_what_is_spoken_may_differ_from_what_is_written(units: TekkenUnits) -> None:
    clause = ClausePlanner(units, {"Parley": "par lay"}).plan("Parley costs $5")
    assert clause is not None
    said = b"".join(units._tekken.piece(i) for i in clause.ids).decode()
    assert "par lay" in said
    assert "five dollars" in said
    assert said.endswith(".")  # a clause that is not closed runs on
    assert " ".join(word.text for word in clause.words) == "Parley costs $5"
    ends = [word.end_unit for word in clause.words]
    assert ends == sorted(ends)


def test_an_open_clause_is_not_closed_twice(units: TekkenUnits) -> None:
    for text in ("And then,", "Really?", "Yes."):
        clause = ClausePlanner(units).plan(text)
        assert clause is not None
        assert b"".join(units._tekken.piece(i) for i in clause.ids).decode() == text
