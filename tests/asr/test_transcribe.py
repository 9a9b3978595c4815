"""`parley transcribe` on a tiny checkpoint, as a user runs it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from asr.offline import transcribe
from asr.steps import Steps
from asr.words import Decision, StreamingIds, Transcript
from backbone.tekken import Tekken
from cli.main import app
from cli.transcribe import WholeTranscript
from common.audiofile import write_wav
from common.errors import ParleyError
from tests.asr.tiny import checkpoint, params, random_model, speechlike, tekken

PARAMS = params(layers=2, encoder_layers=2, window=26, encoder_window=25, mels=80)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("checkpoint"), PARAMS)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "a.wav"
    write_wav(path, speechlike(2.0).numpy(), 16_000)
    return path


def run(*arguments: object):
    return CliRunner().invoke(app, ["transcribe", *map(str, arguments)])


def test_json_holds_words_times_and_one_token_for_each_80_ms(folder, recording):
    result = run("--checkpoint", folder, "--delay-ms", 160, "--json", "--tokens", recording)
    report = json.loads(result.stdout)
    assert report["audio_s"] == 2.0
    assert report["delay_ms"] == 160
    assert report["rtf"] > 0
    assert report["text"] == " ".join(word["word"] for word in report["words"])
    assert all(0 <= word["start_s"] <= word["end_s"] <= 2.0 for word in report["words"])
    known, pieces = (
        Tekken(tekken()),
        Steps(random_model(PARAMS), StreamingIds.of(Tekken(tekken())), 1),
    )
    heard = np.round(speechlike(2.0).numpy().clip(-1, 1) * 32767).astype(np.int16)
    ((_, tokens),) = transcribe(pieces, known, [heard.astype(np.float32) / 32768], 2)
    assert report["tokens"] == tokens[: len(report["tokens"])]
    assert len(report["tokens"]) >= 25


def test_text_comes_word_by_word_and_files_on_lines(folder, recording):
    one = run("--checkpoint", folder, recording).stdout
    two = run("--checkpoint", folder, "--tokens", recording, recording).stdout.splitlines()
    assert two[0] == two[2] == one.strip()
    assert all(token.isdecimal() for token in two[1].split(" "))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (("--delay-ms", 100), "multiple of 80"),
        (("--delay-ms", 4000), "2400"),
        (("--asr", "sphinx"), "both name ears"),
    ],
)
def test_what_cannot_be_is_a_mistake_of_the_command_line(folder, recording, wrong, complaint):
    result = run("--checkpoint", folder, *wrong, recording)
    assert result.exit_code == 2
    assert complaint in result.output


def test_what_is_no_checkpoint_or_no_recording_is_said(folder, recording, tmp_path):
    assert run("--checkpoint", tmp_path / "none", recording).exit_code == 2
    (tmp_path / "text.wav").write_text("hello")
    for arguments, cause in (
        (("--checkpoint", tmp_path, recording), "params.json"),
        (("--asr", "sphinx", "--tokens", recording), "no tokens"),
        (("--asr", "sphinx", "--delay-ms", 480, recording), "no delay"),
    ):
        error = run(*arguments).exception
        assert isinstance(error, ParleyError)
        assert cause in str(error)


def test_a_recording_that_cannot_be_read_costs_the_others_nothing(folder, recording, tmp_path):
    (tmp_path / "text.wav").write_text("hello")
    alone = run("--checkpoint", folder, recording).stdout
    none = tmp_path / "none.wav"
    result = run("--checkpoint", folder, tmp_path / "text.wav", none, recording)
    assert result.exit_code == 1
    assert "text.wav cannot be read as audio" in result.stderr
    assert "no file" in result.stderr
    assert result.stdout == alone


def test_a_long_recording_keeps_the_words_that_the_ears_forget(monkeypatch):
    monkeypatch.setattr("asr.words.MAX_WORDS", 3)
    ids = StreamingIds.of(Tekken(tekken()))
    ears, whole = Transcript(Tekken(tekken()), ids), WholeTranscript()
    spoken = [" the", " cat", " dog", ".", " cat", "_", ".", " the", " dog", " cat", " the"]
    for at, piece in enumerate(spoken):
        token = ids.pad if piece == "_" else Tekken(tekken()).encode(piece)[0]
        ears.push(Decision(token, 0.9, 0.0), at * 1280)
        so_far = whole.with_older(ears.hypothesis(at * 1280))
    assert so_far.text == "the cat dog. cat. the dog cat the"
    assert so_far.stable == 7
    assert whole.with_older(ears.hypothesis(at * 1280, final=True)).stable == 8
    assert len(ears.hypothesis(at * 1280).words) == 4
