"""The language model: its probabilities, what is drawn from it, and the words it knows."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import pytest

from agent.persona import list_personas, small_talk
from agent.scriptbook import PLACEHOLDER, all_rules
from training.ears.arpa import BackoffModel
from training.ears.clips import grammar_sentences
from training.ears.corpus import CorpusOptions, Talk
from training.text.conversation import held_out, spoken


def model() -> BackoffModel:
    lm = BackoffModel({"a": 0.4, "b": 0.3, "c": 0.2, "</s>": 0.1})
    lm.add(("<s>",), "a", 0.8)
    lm.add(("a",), "b", 0.7)
    lm.close(2)
    lm.add(("a", "b"), "c", 0.6)
    lm.close(3)
    return lm


def test_probabilities_sum_to_one_after_backing_off() -> None:
    lm = model()
    for history in ((), ("a",), ("b",), ("<s>",), ("a", "b"), ("b", "a")):
        total = sum(lm.p(history, word) for word in ("a", "b", "c", "</s>"))
        assert total == pytest.approx(1.0), history


def test_arpa_survives_the_way_to_pocketsphinx(tmp_path: Path) -> None:
    import pocketsphinx

    lm, path = model(), tmp_path / "small.arpa"
    lm.write(path)
    again = BackoffModel.read(path)
    theirs = pocketsphinx.NGramModel.readfile(str(path))
    for history, word in (((), "c"), (("a",), "b"), (("a", "b"), "c"), (("a", "b"), "a")):
        assert again.p(history, word) == pytest.approx(lm.p(history, word), rel=1e-3)
        asked = theirs.prob([word, *reversed(history)]) * math.log(1.0001)
        assert math.exp(asked) == pytest.approx(lm.p(history, word), rel=1e-2)


def test_sampled_sentences_follow_the_model() -> None:
    lm, chance = model(), random.Random(0)
    first = Counter(sentence[0] for _ in range(2000) if (sentence := lm.sample(chance)))
    not_empty = 1 - lm.p(("<s>",), "</s>")
    assert first["a"] / first.total() == pytest.approx(lm.p(("<s>",), "a") / not_empty, abs=0.03)


def test_pocketsphinx_knows_the_words_that_the_personas_hope_to_hear() -> None:
    dictionary = Path(__file__).parents[2] / "asr/sphinx/conversation.dict"
    known = {line.split()[0].split("(")[0] for line in dictionary.read_text().splitlines()}
    scripts = [small_talk(), *(persona.script for persona in list_personas())]
    hoped = {
        word
        for script in scripts
        for rule in all_rules(script.rules)
        for text in rule.hear
        for word in spoken(PLACEHOLDER.sub("", text))
    }
    assert len(hoped) > 300
    assert hoped <= known


def test_what_the_test_says_training_never_says(tmp_path: Path) -> None:
    kept = grammar_sentences(50)
    assert all(map(held_out, kept))
    model().write(tmp_path / "tiny.arpa")
    talk = Talk(3, tmp_path / "tiny.arpa", CorpusOptions(caller_share=0.8, agent_share=0.2))
    said = [talk.text() for _ in range(2_000)]
    assert not any(map(held_out, said))
    assert sum(len(spoken(text)) > 3 for text in said) > 1_000
