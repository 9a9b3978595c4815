"""Text into clauses whose words know their units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.tekken import Tekken
from tests.tts.checkpoints import BUNDLED_TEKKEN
from tts.speakable import Spoken, speakable
from tts.text import Clause, ClausePlanner, TekkenUnits, characters_of, cut

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


def planned(units: TekkenUnits, text: str, lexicon: dict[str, str] | None = None) -> Clause | None:
    planner = ClausePlanner(units, lexicon)
    return planner.plan(planner.read(text))


def said(pieces: Iterable[Sequence[Spoken]]) -> list[str]:
    return [" ".join(word.spoken for word in piece if word.spoken) for piece in pieces]


def pieces_of(text: str, max_chars: int) -> list[str]:
    return said(cut(speakable(text), max_chars))


@settings(deadline=None)  # a busy machine stalls
@given(st.text(max_size=300), st.integers(1, 60))
def test_cutting_loses_nothing_that_can_be_said_and_keeps_to_its_length(text: str, n: int) -> None:
    words = speakable(text)
    pieces = list(cut(words, n))
    assert all(len(piece) <= n for piece in said(pieces))
    assert list(map(characters_of, pieces)) == list(map(len, said(pieces)))
    assert "".join(said(pieces)).replace(" ", "") == "".join(said([words])).replace(" ", "")
    originals = [word.original for piece in pieces for word in piece if word.original]
    assert originals == text.split()


def test_cutting_prefers_sentences_then_commas_then_words() -> None:
    text = "First one. Second, with a comma, goes on. Third"
    assert pieces_of(text, 24) == ["First one.", "Second, with a comma,", "goes on. Third"]
    assert pieces_of("no marks at all here", 9) == ["no marks", "at all", "here"]
    assert pieces_of("Wow! 🎉 What now?", 12) == ["Wow!", "What now?"]
    assert pieces_of("मैं ठीक हूँ। आप कैसे हैं?", 20) == ["मैं ठीक हूँ।", "आप कैसे हैं?"]
    assert pieces_of("مرحبا، كيف حالك اليوم", 20) == ["مرحبا،", "كيف حالك اليوم"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("You will be seen today at two by Dr. Smith.",
         ["You will be seen today at two", "by Doctor Smith."]),
        ("You will be seen today by John F. Kennedy.",
         ["You will be seen today by John", "F. Kennedy."]),
        ("It costs you $3.5 million.", ["It costs you three point five", "million dollars."]),
        ("Open https://www.example.com/a/very/long/path/to/the/page?with=more",
         ["Open example dot com"]),
        ("Please dial +44 20 7946 0958 now.",
         ["Please dial plus four four", "two zero seven nine four six", "zero nine five eight now."]),
        ("- tea\n- milk\n- sugar and cakes and bread", ["tea milk sugar and cakes and", "bread"]),
    ],
)  # fmt: skip
def test_what_is_read_as_one_is_read_before_it_is_cut(text: str, said: list[str]) -> None:
    assert pieces_of(text, 30) == said


def test_what_is_said_in_several_pieces_is_a_word_of_the_last(units: TekkenUnits) -> None:
    pieces = list(cut(speakable("Mail to reservations.office@restaurant-example.org"), 30))
    clauses = [ClausePlanner(units).plan(piece) for piece in pieces]
    assert [[word.text for word in clause.words] for clause in clauses if clause] == [
        ["Mail", "to"],
        [],
        ["reservations.office@restaurant-example.org"],
    ]


def test_words_keep_their_spelling_and_know_their_last_unit(units: TekkenUnits) -> None:
    clause = planned(units, "Paris is a beautiful city!")
    assert clause is not None
    assert list(clause.ids) == FIXTURES["Paris is a beautiful city!"]
    assert [word.text for word in clause.words] == ["Paris", "is", "a", "beautiful", "city!"]
    assert [word.end_unit for word in clause.words] == [1, 2, 3, 4, 5]
    assert clause.words[-1].end_share == 1.0


def test_what_is_spoken_may_differ_from_what_is_written(units: TekkenUnits) -> None:
    clause = planned(units, "Parley costs $5", {"Parley": "par lay"})
    assert clause is not None
    said = b"".join(units._tekken.piece(i) for i in clause.ids).decode()
    assert "par lay" in said
    assert "five dollars" in said
    assert said.endswith(".")  # a clause that is not closed runs on
    assert " ".join(word.text for word in clause.words) == "Parley costs $5"
    ends = [word.end_unit for word in clause.words]
    assert ends == sorted(ends)


def test_an_open_clause_is_not_closed_twice(units: TekkenUnits) -> None:
    for text in ("And then,", "Really?", "Yes.", "“Yes.”", "(Or no!)"):
        clause = planned(units, text)
        assert clause is not None
        assert b"".join(units._tekken.piece(i) for i in clause.ids).decode() == text
