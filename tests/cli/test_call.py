"""`parley call` and `parley replay` with recordings and logs that people really have."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from common.audiofile import read_audio, write_wav
from common.errors import ParleyError

needs_voices = pytest.mark.skipif(
    not (shutil.which("espeak-ng") and shutil.which("flite")), reason="needs espeak-ng and flite"
)


@needs_voices
def test_a_stereo_recording_in_telephone_quality_is_heard_and_answered(tmp_path: Path) -> None:
    asks, phone, out = (tmp_path / name for name in ("asks.wav", "phone.wav", "both.wav"))
    subprocess.run(["flite", "-voice", "rms", "-t", "what time is it", "-o", str(asks)], check=True)
    narrow = read_audio(asks, 8_000)
    write_wav(phone, np.stack([narrow, narrow], axis=1), 8_000)
    options = ["--tts", "espeak", "--llm", "script", "--json", "-o", str(out)]
    result = CliRunner().invoke(app, ["call", str(phone), *options])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])["events"]
    heard = [event["text"] for event in told if event["event"] == "caller_words"]
    assert heard[-1]
    assert np.abs(read_audio(out, 24_000)).max() > 0.05


@needs_voices
def test_ctrl_c_hangs_up_and_keeps_the_call_so_far(tmp_path: Path) -> None:
    asks, out = tmp_path / "asks.wav", tmp_path / "both.wav"
    write_wav(asks, np.zeros(60 * 16_000, np.float32), 16_000)
    command = [Path(sys.executable).with_name("parley"), "call", asks, "-o", out]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, "--tts", "espeak"], stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert b"answers" in process.stdout.readline()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"Traceback" not in complaints
    assert 0.5 < len(read_audio(out, 24_000)) / 24_000 < 20


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "There is no file"),
        (b"", "cannot be read as audio"),
        (b"RIFF\x00\x00" + bytes(range(256)) * 20, "cannot be read as audio"),
        ("no samples", "is empty"),
    ],
)
def test_a_recording_that_is_none_is_refused_in_words(
    tmp_path: Path, content: bytes | str | None, cause: str
) -> None:
    path = tmp_path / "caller.wav"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        write_wav(path, np.zeros(0, np.float32), 16_000)
    result = CliRunner().invoke(app, ["call", str(path), "-o", str(tmp_path / "out.wav")])
    assert isinstance(result.exception, ParleyError)
    assert cause in result.exception.cause
    assert result.exception.cure
    assert not (tmp_path / "out.wav").exists()


def test_a_format_that_is_not_written_is_refused_before_the_call(tmp_path: Path) -> None:
    caller = tmp_path / "caller.wav"
    write_wav(caller, np.zeros(16_000, np.float32), 16_000)
    result = CliRunner().invoke(app, ["call", str(caller), "-o", str(tmp_path / "both.mp3")])
    assert isinstance(result.exception, ParleyError)
    assert ".flac" in result.exception.cure


@pytest.mark.parametrize("option", ["--output", "--log"])
def test_what_cannot_be_written_is_refused_before_the_call(tmp_path: Path, option: str) -> None:
    caller = tmp_path / "caller.wav"
    write_wav(caller, np.zeros(16_000, np.float32), 16_000)
    given = {"--output": tmp_path / "both.wav", option: tmp_path / "gone" / "file.wav"}
    options = [str(one) for pair in given.items() for one in pair]
    result = CliRunner().invoke(app, ["call", str(caller), "--tts", "espeak", *options])
    assert isinstance(result.exception, ParleyError)
    assert "There is no folder" in result.exception.cause


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs espeak-ng")
def test_a_call_that_the_disk_had_no_room_for_is_not_said_to_be_there(tmp_path: Path) -> None:
    caller, out = tmp_path / "caller.wav", tmp_path / "both.wav"
    write_wav(caller, np.zeros(8_000, np.float32), 16_000)
    out.symlink_to("/dev/full")
    options = ["-o", str(out), "--tts", "espeak", "--llm", "script", "--no-greeting"]
    result = CliRunner().invoke(app, ["call", str(caller), *options])
    assert isinstance(result.exception, ParleyError)
    assert "holds only 0.0 s of the call" in result.exception.cause


@pytest.mark.parametrize(
    ("output", "log", "cause"),
    [
        ("caller.wav", None, "The recording and --output are the same file"),
        ("gone/../caller.wav", None, "The recording and --output"),
        ("hard.wav", None, "The recording and --output"),
        ("both.wav", "soft.wav", "The recording and --log"),
        ("both.wav", "both.wav", "--output and --log"),
    ],
)
def test_no_file_is_to_be_overwritten_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, log: str | None, cause: str
) -> None:
    monkeypatch.chdir(tmp_path)
    caller = tmp_path / "caller.wav"
    write_wav(caller, np.zeros(16_000, np.float32), 16_000)
    (tmp_path / "hard.wav").hardlink_to(caller)
    (tmp_path / "soft.wav").symlink_to(caller)
    before = caller.read_bytes()
    options = ["-o", output, *(["--log", log] if log else []), "--llm", "script"]
    result = CliRunner().invoke(app, ["call", str(caller), *options])
    assert isinstance(result.exception, ParleyError)
    assert cause in result.exception.cause
    assert caller.read_bytes() == before
    assert not (tmp_path / "both.wav").exists()


@needs_voices
def test_a_persona_s_impossible_voice_is_refused_unless_another_is_asked_for(
    tmp_path: Path,
) -> None:
    caller, persona = tmp_path / "caller.wav", tmp_path / "mine.yaml"
    write_wav(caller, np.zeros(1_600, np.float32), 16_000)
    persona.write_text("name: mine\nvoice: nobody\n", encoding="utf-8")
    options = ["--persona", str(persona), "--tts", "espeak", "--llm", "script", "--no-greeting"]
    options += ["-o", str(tmp_path / "both.wav")]
    result = CliRunner().invoke(app, ["call", str(caller), *options])
    assert isinstance(result.exception, ParleyError)
    assert result.exception.cause == "There is no voice 'nobody'."
    named = result.exception.cure.removeprefix("Choose one of: ").rstrip(".").split(", ")
    result = CliRunner().invoke(app, ["call", str(caller), *options, "--voice", named[0]])
    assert result.exit_code == 0, result.output


def test_a_log_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    for content, cause in ((b"RIFF\x80\x00", "is not JSON"), (b"{}\n", "no event log")):
        path.write_bytes(content)
        result = CliRunner().invoke(app, ["replay", str(path)])
        assert isinstance(result.exception, ParleyError)
        assert cause in result.exception.cause


def test_help_shows_examples_and_flags_without_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    told = " ".join(CliRunner().invoke(app, ["call", "--help"]).stdout.split())
    assert "$ parley call question.wav -o both.wav" in told
    assert "--json Print one JSON object" in told
    told = " ".join(CliRunner().invoke(app, ["voice", "list", "--help"]).stdout.split())
    assert "--json Print a JSON array" in told
