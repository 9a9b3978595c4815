"""The event log, and calls fed through turn-taking once more."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from loguru import logger
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
from tests.agent.talk import Talk

SECRET = "submarine"


def _record(path: Path, *, with_words: bool = True, pace: str = "balanced") -> None:
    """A call in which the caller interrupts, as the pipeline would log it."""
    scenario = next(item for item in load_all() if item.id == "I_submarine_1.5")
    options = options_for(pace)
    log = EventLog(path, with_words=with_words, persona="test")
    log.rules(options)
    World(scenario, DELAYED, options, log=log).play()
    asyncio.run(log.close())


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


def test_words_are_hidden_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    log = EventLog(path)
    log.evidence(Heard(320, Hypothesis((Word(SECRET, 0, 320),), 1, 320)))
    talk = Talk().quiet(300).say("yesterday I bought").quiet(300).heard(final=True).quiet(4000)
    for decision in talk.decisions:
        log.decision(decision)
    asyncio.run(log.close())
    written = path.read_text()
    assert SECRET not in written
    assert "bought" not in written
    assert "“······” what?" in written


def test_a_log_that_cannot_be_written_is_told_once_and_harms_no_call(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told: list[str] = []
    sink = logger.add(told.append, format="{level} {message}")
    for path, level in (
        (tmp_path / "file" / "call.jsonl", 1.0),
        (tmp_path / "call.jsonl", object()),
    ):
        log = EventLog(path)
        for at in range(50):
            log.write("level", at, dbfs=level)
        asyncio.run(log.close())
        assert log._queue.empty()
        assert [line.split(" holds")[0] for line in told] == [f"ERROR {path}"]
        told.clear()
    logger.remove(sink)


async def test_a_disk_that_hangs_holds_up_no_other_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.privatefile._LAST_WORDS_S", 0.5)
    os.mkfifo(tmp_path / "call.jsonl")  # it opens for who reads it, and nobody does
    log, beats = EventLog(tmp_path / "call.jsonl"), 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    heart = asyncio.create_task(beat())
    await log.close()
    heart.cancel()
    assert beats > 5
    (tmp_path / "call.jsonl").read_bytes()  # let its thread go


def test_subscribers_hear_everything_at_once() -> None:
    log = EventLog()
    seen: list[str] = []
    log.subscribe(lambda entry: seen.append(entry["kind"]))
    log.write("latency", 320, total_ms=410)
    log.evidence(Heard(320, Hypothesis()))
    assert seen == ["latency", "evidence"]
    asyncio.run(log.close())


HEADER = '{"kind": "call", "format": 1, "with_words": true}\n'


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "no event log"),
        ('{"kind": "other"}\n', "no event log"),
        ("{\n", "line 1 is not JSON"),
        ("[]\n", "line 1 is no entry"),
        (HEADER + "null\n", "line 2 is no entry"),
        (HEADER + '{"at": 1}\n', "malformed entry: 'kind'"),
        (HEADER + '{"kind": "evidence", "type": "Nope", "at": 1}\n', "malformed entry.*Nope"),
        (HEADER + '{"kind": "decision", "type": "Duck", "loud": 1}\n', "malformed entry.*loud"),
        (HEADER + '{"kind": "rules", "patience_ms": 1}\n', "malformed entry"),
    ],
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: str, cause: str) -> None:
    path = tmp_path / "call.jsonl"
    path.write_text(content)
    with pytest.raises(ConfigError, match=cause):
        replay(path)
