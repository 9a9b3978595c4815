"""The event log, and calls fed through turn-taking once more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from agent.eventlog import EventLog
from agent.evidence import Heard
from agent.pace import options_for
from agent.replay import replay
from asr.interface import Hypothesis, Word
from cli.replay import replay as command
from common.errors import ConfigError
from evals.scenario import load_all
from evals.virtual.world import DELAYED, World

SECRET = "submarine"


def _record(path: Path, *, with_words: bool = True, pace: str = "balanced") -> None:
    """A call in which the caller interrupts, as the pipeline would log it."""
    scenario = next(item for item in load_all() if item.id == "I_submarine_1.5")
    options = options_for(pace)
    log = EventLog(path, with_words=with_words, persona="test")
    log.rules(options)
    World(scenario, DELAYED, options, log=log).play()
    log.close()


def test_a_replay_reproduces_every_decision(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    _record(path, pace="patient")
    replayed = replay(path)
    assert replayed.difference == ""
    assert len(replayed.decisions) > 10
    assert replayed.evidence_count > 500


def test_another_pace_decides_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    _record(path)
    assert "now" in replay(path, pace="patient").difference


@pytest.mark.parametrize("change", ["tampered", "cut short", "one too many"])
def test_the_first_difference_is_told(tmp_path: Path, change: str) -> None:
    path = tmp_path / "call.jsonl"
    _record(path)
    lines = path.read_text().splitlines()
    decisions = [i for i, line in enumerate(lines) if '"kind":"decision"' in line]
    match change:
        case "tampered":
            lines[decisions[2]] = lines[decisions[2]].replace('"at":', '"at":1')
        case "cut short":
            del lines[decisions[-1]]
        case _:
            lines.append(lines[decisions[-1]])
    path.write_text("\n".join(lines) + "\n")
    assert replay(path).difference.startswith("decision ")
    app = Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(path)])
    assert result.exit_code == 1
    assert "First difference: decision" in result.output


def test_the_command_says_that_all_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    _record(path)
    app = Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(path), "-v"])
    assert result.exit_code == 0
    assert "the same as recorded" in result.output
    assert "Interrupt" in result.output


def test_what_people_say_is_not_written_unless_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    _record(path, with_words=False)
    text = path.read_text().lower()
    assert SECRET not in text
    assert "rivers" not in text
    assert "commit" in text
    with pytest.raises(ConfigError, match="without words"):
        replay(path)


def test_nested_words_are_hidden_too(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    log = EventLog(path)
    log.write("tool", 0, name="book", arguments={"guest": SECRET, "seats": [2, SECRET]})
    log.evidence(Heard(320, Hypothesis((Word(SECRET, 0, 320),), 1, 320)))
    log.close()
    written = path.read_text()
    assert SECRET not in written
    assert json.loads(written.splitlines()[1])["arguments"]["seats"][0] == 2


def test_subscribers_hear_everything_at_once() -> None:
    log = EventLog()
    seen: list[str] = []
    log.subscribe(lambda entry: seen.append(entry["kind"]))
    log.write("latency", 320, total_ms=410)
    log.evidence(Heard(320, Hypothesis()))
    assert seen == ["latency", "evidence"]
    log.close()


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    path.write_text('{"kind": "other"}\n')
    with pytest.raises(ConfigError, match="no event log"):
        replay(path)
    path.write_text("{\n")
    with pytest.raises(ConfigError, match="line 1"):
        replay(path)
