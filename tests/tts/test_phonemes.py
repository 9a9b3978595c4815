"""Text to phones: punctuation kept, every unit knowing its characters, odd words still spoken."""

from __future__ import annotations

import json
import lzma
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import CheckpointError
from pipelines.engines import NANO_TTS
from tts.phonemes import LetterRules, Phonemes, compacted, expanded

LEXICON = {
    "hello": "hh ax0 l ow1",
    "cat": "k ae1 t",
    "bus": "b ah1 s",
    "mm-hm": "ah1 m hh ax0 m",
    "five": "f ay1 v",
    "u": "y uw1",
    "s": "eh1 s",
    "b": "b iy1",
    "zero": "z ih1 r ow0",
    "don't": "d ow1 n t",
}
UNITS = [" ", ",", ".", "?", "!", *sorted({p for v in LEXICON.values() for p in v.split()}), "z"]
RULES = LetterRules({">a<": "ae1", ">t<": "t", ">c<": "k", ">h<": "", ">t<h": "t", "c>a<": "ae1"})


@pytest.fixture
def phonemes():
    return Phonemes(list(dict.fromkeys([*UNITS, "ax0"])), 64, LEXICON, RULES)


def test_marks_stand_where_pauses_are(phonemes):
    assert phonemes.names("Hello, cat?") == ["hh", "ax0", "l", "ow1", ",", "k", "ae1", "t", "?"]
    assert phonemes.names("hello cat") == [*["hh", "ax0", "l", "ow1"], " ", *["k", "ae1", "t"]]
    assert phonemes.names("Hello — cat…") == ["hh", "ax0", "l", "ow1", ",", "k", "ae1", "t", "."]


def test_the_gap_before_the_last_word_tells_whether_the_voice_rises_or_falls():
    def names(text, *closing_gaps):
        units = dict.fromkeys([*UNITS, "ax0", *closing_gaps])
        said = "".join(Phonemes(list(units), 64, LEXICON, RULES).names(text))
        return said.replace("kae1t", "cat").replace("bah1s", "bus")

    text = "cat cat cat? bus bus. cat bus!"
    assert names(text, "¿", "↘") == "cat cat¿cat?bus↘bus.cat↘bus!"
    assert names(text, "¿") == "cat cat¿cat?bus bus.cat bus!"
    assert names(text) == "cat cat cat?bus bus.cat bus!"
    assert names("Cat, bus? cat bus", "¿", "↘") == "cat,bus?cat bus"


def test_the_stronger_of_two_marks_wins_and_leading_ones_are_silent(phonemes):
    assert phonemes.names(", cat.?") == ["k", "ae1", "t", "?"]
    assert phonemes.names("...") == []


def test_words_no_dictionary_holds(phonemes):
    assert phonemes.pronounce("cats") == ["k", "ae1", "t", "s"]
    assert phonemes.pronounce("bus's") == ["b", "ah1", "s", "ax0", "z"]
    assert phonemes.pronounce("USB") == ["y", "uw1", "eh1", "s", "b", "iy1"]
    assert phonemes.pronounce("tacat") == ["t", "ae1", "k", "ae1", "t"]
    assert phonemes.pronounce("don’t") == ["d", "ow1", "n", "t"]
    assert phonemes.pronounce("cát") == ["k", "ae1", "t"]


def test_hyphens_join_known_words_and_part_unknown_ones(phonemes):
    assert " " not in phonemes.names("Mm-hm.")
    assert phonemes.names("cat-bus") == [*["k", "ae1", "t"], " ", *["b", "ah1", "s"]]


def test_digits_left_in_the_text_are_read_one_by_one(phonemes):
    assert phonemes.names("5 0") == [*["f", "ay1", "v"], " ", *["z", "ih1", "r", "ow0"]]


@given(st.text(alphabet="helo cat-'’,.?!5bus", max_size=60))
def test_spans_are_inside_the_text_and_never_go_back(text):
    phonemes = Phonemes(list(dict.fromkeys([*UNITS, "ax0"])), 64, LEXICON, RULES)
    ids, spans = phonemes.encode(text)
    assert len(ids) == len(spans)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(a[1] <= b[1] for a, b in pairwise(spans))


def test_last_unit_of_a_word_ends_with_the_word(phonemes):
    text = "hello cat."
    _, spans = phonemes.encode(text)
    assert spans[3][1] == len("hello")
    assert spans[-2][1] == len("hello cat")


@given(st.dictionaries(st.from_regex(r"[a-z][a-z']{0,12}", fullmatch=True), st.just("k ae1 t")))
def test_compacting_a_lexicon_loses_nothing(lexicon):
    assert expanded(compacted(lexicon)) == lexicon


def test_front_end_is_read_from_a_checkpoint_folder(tmp_path):
    tables = {"words": compacted(LEXICON), "letters": {">x<": "k s"}}
    (tmp_path / "lexicon.json.xz").write_bytes(lzma.compress(json.dumps(tables).encode()))
    head = {"units": UNITS, "first_id": 64, "lexicon": "lexicon.json.xz"}
    (tmp_path / "phonemes.json").write_text(json.dumps(head))
    loaded = Phonemes.load(tmp_path)
    assert loaded.names("cat x") == ["k", "ae1", "t", " ", "k", "s"]
    assert loaded.encode("cat")[0] == [64 + UNITS.index(p) for p in ("k", "ae1", "t")]


def test_a_damaged_front_end_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"phonemes\.json"):
        Phonemes.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("press", "p r eh1 s"),
        ("less", "l eh1 s"),
        ("basis", "b ey1 s ax0 s"),
        ("buses", "b ah1 s ih0 z"),
        ("Ms", "m ih1 z"),
        ("us", "ah1 s"),
        ("US", "y uw1 eh1 s"),
        ("AM", "ey1 eh1 m"),
        ("FAQ", "eh1 f ey1 k y uw1"),
    ],
)
def test_the_shipped_front_end_says(text, phones):
    assert " ".join(Phonemes.load(NANO_TTS).pronounce(text)) == phones


def test_a_letter_in_a_sentence_is_no_article():
    names = Phonemes.load(NANO_TTS).names
    assert names("A plan")[0] == names("a plan")[0] == "ax0"
    assert names("plan A")[-1] == names("at nine A M")[-4] == "ey1"
    assert names("No. A plan.")[3] == "ax0"
