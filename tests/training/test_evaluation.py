"""How the ears are judged, and what their card tells of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from common.errors import ParleyError
from tests.training.ears import RECIPE, RECIPES, shard
from training.ears import round_trip
from training.ears.card import card
from training.ears.clips import TestClip as Clip
from training.ears.evaluate import WEIGHTS, Evaluation, Heard, error_rate, judge, never_said, sha256


@pytest.mark.parametrize(
    ("heard", "wrong"), [("a b c", 0), ("a x c d", 2), ("", 3), ("a b c d", 1)]
)
def test_words_replaced_missing_and_invented_are_wrong(heard: str, wrong: int) -> None:
    class Says:
        def hear(self, pcm: np.ndarray) -> Heard:
            return Heard(heard.split(), [0.0])

    clip = Clip("trained", "a b c", np.zeros(16_000, np.float32), 1.0)
    assert judge(Says(), [clip], "clean")["wer"] == pytest.approx(100 * wrong / 3, abs=0.05)


def test_an_error_rate_lies_within_its_interval() -> None:
    rate, low, high = error_rate([(0, 5), (1, 5), (0, 5), (2, 5)] * 5)
    assert rate == pytest.approx(15.0)
    assert low < rate < high


def test_sentences_of_a_corpus_are_known(tmp_path: Path) -> None:
    shard(tmp_path, 1, "hello\t1.000\nsay\t2.000\nyes\t3.000")
    assert never_said(["say yes", "yes hello", "ye"], tmp_path) == {"yes hello", "ye"}


def test_a_card_tells_only_figures_of_its_own_weights(tmp_path: Path) -> None:
    nano = RECIPES.parents[1] / "asr/nano"
    log = json.loads((nano / "log.json").read_text())
    cell = {"wer": 4.2, "wer_low": 4.0, "wer_high": 5.0, "rtf": 0.05, "flush_ms_p50": 50.0}
    found = Evaluation(figures={"nano": {"kal": {"clean": cell}}})
    with pytest.raises(ParleyError, match="are not of the weights"):
        card(nano, log, RECIPE, found, "")
    found.weights["nano"] = sha256(nano / WEIGHTS)
    text = card(nano, log, RECIPE, found, "")
    assert "| kal | clean | 4.2 (4.0–5.0) |" in text
    assert RECIPE.stages[0].name in text


def test_our_voice_is_heard_by_our_ears_and_what_was_heard_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "new" / "heard.json"
    result = CliRunner().invoke(
        as_app(round_trip.main), ["asr/nano", "--count", "2", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert "2 sentences" in result.output
    pairs = json.loads(out.read_text())["asr/nano"]
    assert any(said == heard for said, heard in pairs)


def as_app(program: Callable[..., None]) -> typer.Typer:
    """As `typer.run` makes it."""
    app = typer.Typer()
    app.command()(program)
    return app
