"""`parley say`, `codec` and `voice`, run as a user runs them."""

from __future__ import annotations

import ctypes.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from common.audiofile import read_audio, write_wav
from tests.tts.test_voices import speech


def parley(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    sys.argv = ["parley", *map(str, args)]
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(autouse=True)
def own_argv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)


def test_saying_writes_a_wav_codes_and_figures(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path
) -> None:
    wav, codes = tmp_path / "out.wav", tmp_path / "codes.npy"
    arguments = ("say", "Good morning.", "-o", wav, "--checkpoint", checkpoint, "--seed", 3)
    code, out, _ = parley(capsys, *arguments, "--codes", codes, "--json", "--voice", "pt_male")
    assert code == 0
    report = json.loads(out)
    assert report["voice"] == "pt_male"
    assert report["first_frame_ms"] > 0
    assert report["rtf"] > 0
    assert [word["word"] for word in report["words"]] == ["Good", "morning."]
    frames = np.load(codes)
    assert frames.shape[1] == 7
    pcm = read_audio(wav, 24_000)
    assert len(pcm) / 24_000 == pytest.approx(report["audio_s"], abs=0.001)
    assert len(pcm) >= len(frames) * 1920

    again = tmp_path / "again.wav"
    code, out, _ = parley(capsys, "codec", "decode", codes, again, "--checkpoint", checkpoint)
    assert code == 0
    decoded = read_audio(again, 24_000)
    np.testing.assert_allclose(decoded, pcm[: len(decoded)], atol=2 / 32768)


def test_codes_of_a_recording(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path
) -> None:
    wav, codes = tmp_path / "in.wav", tmp_path / "codes.npy"
    write_wav(wav, speech(5), 24_000)
    code, out, _ = parley(capsys, "codec", "encode", wav, codes, "--checkpoint", checkpoint)
    assert (code, out.strip()) == (0, f"{codes}: 75 frames of 7 codes")
    assert np.load(codes).shape == (75, 7)


@pytest.mark.parametrize(
    "arguments",
    [
        ("say", " ", "--checkpoint", "{checkpoint}"),
        ("say", "😀", "--checkpoint", "{checkpoint}"),
        ("say", "Hi.", "--checkpoint", "{tmp}/nowhere"),
        ("say", "Hi.", "--checkpoint", "{checkpoint}", "--voice", "nobody"),
        ("say", "Hi.", "--checkpoint", "{checkpoint}", "-o", "{tmp}/no/such/folder.wav"),
        ("codec", "encode", "{tmp}/none.wav", "{tmp}/c.npy", "--checkpoint", "{checkpoint}"),
        ("codec", "decode", "{tmp}/none.npy", "{tmp}/o.wav", "--checkpoint", "{checkpoint}"),
        ("codec", "decode", "{tmp}/floats.npy", "{tmp}/o.wav", "--checkpoint", "{checkpoint}"),
        ("codec", "decode", "{tmp}/high.npy", "{tmp}/o.wav", "--checkpoint", "{checkpoint}"),
        ("voice", "add", "x", "{tmp}/none.wav", "--consent", "y", "--checkpoint", "{checkpoint}"),
        ("voice", "remove", "nobody", "--checkpoint", "{checkpoint}"),
    ],
)
def test_what_cannot_be_done_ends_in_one_clear_line(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    np.save(tmp_path / "floats.npy", np.zeros((3, 7)))
    np.save(tmp_path / "high.npy", np.full((3, 7), 64))
    filled = [part.format(checkpoint=checkpoint, tmp=tmp_path) for part in arguments]
    code, _, err = parley(capsys, *filled)
    assert code == 1
    assert "parley:" in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("*.wav"))


def test_a_voice_comes_and_goes(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path
) -> None:
    at = ("--checkpoint", checkpoint)
    wav = tmp_path / "maria.wav"
    write_wav(wav, speech(4), 24_000)
    code, out, _ = parley(capsys, "voice", "check", wav, "--json")
    assert code == 0
    assert json.loads(out)["remarks"] == []
    code, out, _ = parley(capsys, "voice", "add", "maria", wav, "--consent", "demo", *at)
    assert code == 0
    code, out, _ = parley(capsys, "voice", "list", "--json", *at)
    assert [voice["name"] for voice in json.loads(out)][-1] == "maria"
    code, out, _ = parley(capsys, "voice", "remove", "maria", *at)
    assert code == 0
    code, _, _ = parley(capsys, "voice", "add", "maria", wav, *at)
    assert code == 2  # no consent given
    given = ("--consent", "demo", "--language", "english", *at)
    code, _, error = parley(capsys, "voice", "add", "maria", wav, *given)
    assert code == 1
    assert "'english' is no language" in error


def test_words_that_no_one_can_say_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, error = parley(capsys, "say", "Yes, привет! - okay", "-o", tmp_path / "a.wav")
    assert code == 0
    assert error.strip().endswith(": привет!")
    code, _, error = parley(capsys, "say", "привет", "-o", tmp_path / "b.wav")
    assert code == 1
    assert "voice's language" in error
    code, _, error = parley(capsys, "say", "Yes.", "-o", tmp_path / "c.mp3")
    assert code == 1
    assert ".wav" in error


@pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="needs espeak-ng")
def test_a_voice_without_codes_keeps_what_it_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wav, codes = tmp_path / "out.wav", tmp_path / "codes.npy"
    code, _, error = parley(capsys, "say", "Hello.", "--tts", "espeak", "-o", wav, "--codes", codes)
    assert code == 1
    assert "has no codes" in error
    assert len(read_audio(wav, 24_000))
