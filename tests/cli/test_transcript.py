"""`parley transcript`: what an operator reads of a call afterwards."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.eventlog import EventLog
from cli.main import app
from common.errors import ConfigError


def record(path: Path, *, with_words: bool) -> None:
    log = EventLog(path, with_words=with_words, persona="parley", pace="balanced")
    log.write("state", 320, state="speaking")
    log.write("agent_text", 320, turn=0, text="Good morning.")
    log.write("caller_words", 24_000, turn=1, text="my", final=False)
    log.write("caller_words", 32_000, turn=1, text="my name is Ruth", final=True)
    log.write("latency", 40_000, turn=1, total_ms=512.0, parts=[{"name": "line", "ms": 512.0}])
    log.write("agent_cut", 48_000, turn=1, heard="Hello", unheard="Ruth", by="caller")
    log.write("bye", 64_000, reason="the caller hung up")
    asyncio.run(log.close())


def read(path: Path, *options: str) -> list[str]:
    result = CliRunner().invoke(app, ["transcript", str(path), *options])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_a_call_is_told_in_order_with_what_was_cut_off_and_how_it_ended(tmp_path: Path) -> None:
    record(tmp_path / "call.jsonl", with_words=True)
    begun, *told = read(tmp_path / "call.jsonl")
    assert "begun 2" in begun
    assert told == [
        "   0.02 s  agent   Good morning.",
        "   2.00 s  caller  my name is Ruth",
        "   2.50 s          answered after 512 ms (line 512)",
        "   3.00 s          interrupted after: Hello",
        "   4.00 s  ended: the caller hung up",
    ]
    last = json.loads(read(tmp_path / "call.jsonl", "--json")[-1])
    assert last == {"at_s": 4.0, "event": "bye", "reason": "the caller hung up"}


def test_words_that_the_log_does_not_hold_stay_hidden(tmp_path: Path) -> None:
    record(tmp_path / "call.jsonl", with_words=False)
    assert "   2.00 s  caller  ·· ···· ·· ····" in read(tmp_path / "call.jsonl")


def test_a_log_that_was_broken_off_in_the_midst_of_a_line_is_read_up_to_there(
    tmp_path: Path,
) -> None:
    log = tmp_path / "call.jsonl"
    record(log, with_words=True)
    log.write_bytes(log.read_bytes()[:-10])
    assert read(log)[-1] == "   3.00 s          interrupted after: Hello"


@pytest.mark.parametrize("content", ["", "RIFF", "{}\n", "[]\n"])
def test_what_is_no_log_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "call.wav").write_text(content)
    result = CliRunner().invoke(app, ["transcript", str(tmp_path / "call.wav")])
    assert isinstance(result.exception, ConfigError)


def test_a_log_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["transcript", str(tmp_path / "call.jsonl")])
    assert isinstance(result.exception, ConfigError)
    assert "No such file" in result.exception.cause


def test_a_command_that_is_almost_one_is_named() -> None:
    assert "Did you mean 'serve'?" in CliRunner().invoke(app, ["server"]).output
