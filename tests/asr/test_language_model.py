"""What is likely to be said: as probable as the trigram has it, however words are cut."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from asr.checkpoint import load_model
from asr.language_model import FILE, UTTERANCE_RESTS, LanguageModel
from common.errors import CheckpointError
from tests.asr.tiny import checkpoint, params
from training.ears.arpa import BackoffModel

NANO = Path(__file__).parents[2] / "asr/nano"


@pytest.fixture
def trigram() -> BackoffModel:
    model = BackoffModel({"a": 0.2, "car": 0.1, "cat": 0.3, "sat": 0.2, "</s>": 0.2})
    for history, word, p in (("<s>", "a", 0.6), ("a", "cat", 0.5), ("cat", "sat", 0.4)):
        model.add((history,), word, p)
    model.add(("cat",), "</s>", 0.3)
    model.close(2)
    model.add(("a", "cat"), "sat", 0.7)
    model.add(("<s>", "a"), "car", 0.25)
    model.close(3)
    return model


@pytest.fixture
def language(trigram: BackoffModel) -> LanguageModel:
    return LanguageModel(trigram.tensors(), weight=1.0)


def worth(language: LanguageModel, *pieces: str) -> float:
    """What the pieces add to a score, the last word being whole."""
    context, score = language.start, 0.0
    for piece in pieces:
        context, gain = language.say(context, piece)
        score += gain
    return score + language.rest(context)[1]


@pytest.mark.parametrize(
    "words",
    ["a", "cat", "a cat sat", "a car", "cat sat a", "sat cat sat a cat car", "car car cat a"],
)
def test_words_are_worth_how_much_likelier_they_are_here_than_anywhere(
    trigram, language, words: str
):
    said = words.split()
    expected = 0.0
    for index, word in enumerate(said):
        history = ("<s>", *said[:index])[-2:]
        expected += math.log(trigram.p(history, word) / trigram.p((), word))
    assert worth(language, *(f" {word}" for word in said)) == pytest.approx(expected, abs=0.01)
    letters = [piece for word in said for piece in (f" {word[0]}", *word[1:])]
    assert worth(language, *letters) == pytest.approx(expected, abs=0.01)


def test_a_word_begun_is_worth_what_all_are_that_begin_so(trigram, language):
    after = ("<s>", "a")
    context, gain = language.say(language.start, " a")
    gain = -language.rest(context)[1]
    context, more = language.say(context, " ca")
    here, anywhere = (trigram.p(h, "car") + trigram.p(h, "cat") for h in (after, ()))
    assert gain + more == pytest.approx(math.log(here / anywhere), abs=0.01)


def test_a_word_that_goes_on_after_a_rest_is_the_same_word(language):
    context, first = language.say(language.start, " c")
    context, rest = language.rest(context)
    context, more = language.say(context, "at")
    context, end = language.rest(context)
    assert first + rest + more + end == pytest.approx(worth(language, " cat"))


def test_an_unknown_word_is_worth_nothing_and_tells_nothing_of_the_next(language):
    assert worth(language, " cub") == 0
    assert worth(language, " cub", " cat") == pytest.approx(0, abs=1e-6)


def test_after_a_long_silence_nobody_has_said_anything(language):
    context, _ = language.say(language.start, " cat")
    for _ in range(UTTERANCE_RESTS):
        assert context != language.start
        context, _ = language.rest(context)
    assert context == language.start


def test_all_of_it_has_its_weight(trigram, language):
    fused = LanguageModel(trigram.tensors(), weight=0.25)
    pieces = (" a", " c", "at", " sat")
    assert worth(fused, *pieces) == pytest.approx(0.25 * worth(language, *pieces))


def test_nano_knows_english():
    language = LanguageModel.load(NANO, weight=1.0)
    for likely, odd in (
        (" what time is it", " what dime is it"),
        (" can you help me", " can you whelp me"),
        (" how are you", " how our you"),
        (" i would like to book a table", " i wood like to book a table"),
    ):
        said, other = (tuple(f" {word}" for word in text.split()) for text in (likely, odd))
        assert worth(language, *said) > worth(language, *other) + 2


@pytest.mark.parametrize("name", ["words", "one", "two.counts", "three.p", "two.backoff"])
def test_one_that_is_not_whole_is_refused(tmp_path, trigram, name: str):
    tensors = trigram.tensors()
    save_file({key: value for key, value in tensors.items() if key != name}, tmp_path / FILE)
    with pytest.raises(CheckpointError, match=FILE):
        LanguageModel.load(tmp_path, 1.0)
    save_file(tensors | {name: tensors[name][:-4]}, tmp_path / FILE)
    with pytest.raises(CheckpointError, match=FILE):
        LanguageModel.load(tmp_path, 1.0)


def test_one_that_was_cut_off_or_is_missing_is_refused(tmp_path):
    asks = params(language_weight=0.2)
    folder = checkpoint(tmp_path, asks)
    with pytest.raises(CheckpointError, match=FILE) as caught:
        load_model(folder)
    assert "Take language_weight out of params.json" in str(caught.value)
    (folder / FILE).write_bytes((NANO / FILE).read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=FILE):
        load_model(folder)
    (folder / FILE).write_bytes((NANO / FILE).read_bytes())
    assert load_model(folder).language is not None


def test_a_malformed_wish_for_one_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"params\.json"):
        load_model(checkpoint(tmp_path, params(language_weight="much")))


def test_words_are_in_the_order_in_which_they_are_looked_up():
    words = load_file(NANO / FILE)["words"].tobytes().decode().split("\n")
    assert words == sorted(set(words))
    assert "" not in words
