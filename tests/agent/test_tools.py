from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Annotated, Literal
from unittest.mock import AsyncMock, Mock

import pytest
from pydantic import BaseModel, Field

from agent.builtin_tools import end_call
from agent.persona import load_persona
from agent.toolbox import ToolBox
from agent.tools import as_tool, find_tool, tool
from common.errors import ConfigError


class ToolSettings(BaseModel):
    size: int


def weather(
    city: Annotated[str, Field(description="Where")],
    unit: Literal["c", "f"] = "c",
    days: int = 1,
) -> str:
    """Look up the weather.

    More for people, not for the model.
    """
    return f"{city} {unit} {days} {threading.current_thread().name}"


def test_the_signature_becomes_the_schema():
    schema = ToolBox([as_tool(weather)]).schema().standard_tools[0].to_default_dict()
    assert schema["name"] == "weather"
    assert schema["description"] == "Look up the weather."
    assert schema["parameters"]["required"] == ["city"]
    assert schema["parameters"]["properties"]["city"]["description"] == "Where"
    assert schema["parameters"]["properties"]["unit"]["enum"] == ["c", "f"]


async def test_a_plain_function_runs_in_a_tool_thread_with_checked_arguments():
    told, done = await as_tool(weather).run({"city": "Oslo", "days": "3"})
    assert (told, done) == ("Oslo c 3 tool", True)


@pytest.mark.parametrize(
    "arguments", [{}, {"city": "Oslo", "unit": "k"}, {"city": "Oslo", "when": "now"}]
)
async def test_wrong_arguments_are_told_and_nothing_runs(arguments):
    told, done = await as_tool(weather).run(arguments)
    assert told.startswith("Not run, wrong arguments: ")
    assert not done


async def test_the_time_limit_holds():
    @tool(time_limit_s=0.05)
    async def slow() -> str:
        """Take long."""
        await asyncio.sleep(5)
        return "never"

    assert await as_tool(slow).run({}) == ("Failed: it took too long.", False)


async def test_a_failing_tool_does_not_tell_the_model_its_secrets():
    def broken() -> str:
        """Break."""
        raise RuntimeError("password hunter2")

    assert await as_tool(broken).run({}) == ("Failed: RuntimeError.", False)


async def test_slow_tools_run_side_by_side():
    together = threading.Barrier(3, timeout=30)

    @tool()
    def meet() -> str:
        """Wait for the two others."""
        together.wait()
        return "ok"

    assert await asyncio.gather(*(as_tool(meet).run({}) for _ in range(3))) == [("ok", True)] * 3


async def test_tools_that_hang_keep_neither_others_nor_the_exit_waiting():
    over, threads = threading.Event(), []

    @tool(time_limit_s=0.05)
    def hang() -> str:
        """Never come back."""
        threads.append(threading.current_thread())
        over.wait(30)

    await asyncio.gather(*(as_tool(hang).run({}) for _ in range(20)))
    assert (await as_tool(weather).run({"city": "Oslo"})).done
    assert all(thread.daemon for thread in threads)
    over.set()


def transfer(to: int) -> str:
    """Put the caller through."""
    if to > 5:
        raise OSError("the line is busy")
    return "The caller is gone."


@pytest.mark.parametrize(
    ("end_of_the_matter", "arguments", "run_llm", "ended"),
    [
        (tool(answer_follows=False)(transfer), {"to": 1}, False, False),
        (tool(answer_follows=False)(transfer), {"to": 7}, None, False),
        (tool(answer_follows=False)(transfer), {"to": "Ann"}, None, False),
        (end_call, {}, False, True),
        (end_call, {"reason": "goodbye"}, None, False),
    ],
)
async def test_only_what_was_done_is_the_end_of_the_matter(
    end_of_the_matter, arguments, run_llm, ended
):
    told, on_end = AsyncMock(), AsyncMock()
    (schema,) = ToolBox([as_tool(end_of_the_matter)], {"end_call": on_end}).schema().standard_tools
    await schema.handler(Mock(arguments=arguments, result_callback=told))
    assert told.await_args.kwargs["properties"].run_llm is run_llm
    assert bool(on_end.await_count) is ended


async def test_built_in_tools():
    assert "20" in (await find_tool("current_time").run({"zone": "Europe/Paris"})).text
    assert (await find_tool("current_time").run({"zone": "Mars/Base"})).text == (
        "There is no time zone 'Mars/Base'."
    )
    assert not find_tool("end_call").options.answer_follows


def test_tools_that_cannot_be():
    def silent() -> str: ...

    def untyped(x) -> str:  # type: ignore[no-untyped-def]
        """Do."""

    def class_as_type(x: threading.Thread) -> str:
        """Do."""

    def no_json(x: Callable[[int], int]) -> str:
        """Do."""

    def unknown_type(x: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
        """Do."""

    def nameless(*args: str) -> str:
        """Do."""

    def hidden(_x: str) -> str:
        """Do."""

    def nested(x: ToolSettings) -> str:
        """Do."""

    for function, word in (
        (silent, "docstring"),
        (untyped, "'x' has no type"),
        (class_as_type, "'class_as_type' cannot be called by a model"),
        (no_json, "'no_json' cannot be called by a model"),
        (unknown_type, "'Nowhere' is not defined"),
        (nameless, "'args' is no public named parameter"),
        (hidden, "'_x' is no public named parameter"),
        (nested, "nested parameter"),
        (threading, "is no function"),
    ):
        with pytest.raises(ConfigError, match=word):
            as_tool(function)


@pytest.mark.parametrize(
    "name",
    ["nothing_like_it", "datetime", "tool", "no.such.module:f", "json:no_such", ".x:y", ":f", "x:"],
)
def test_tools_that_are_nowhere(name):
    with pytest.raises(ConfigError, match=f"no tool '{name}'"):
        find_tool(name)


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("tables_beside_it:free_tables", ""),
        ("tables_beside_it:fre_tables", "no tool 'tables_beside_it:fre_tables'"),
        ("broken_beside_it:f", "'broken_beside_it' was found, .*/broken_beside_it.py, line 1: "),
        (
            "needy_beside_it:f",
            "was found, .*: ModuleNotFoundError: No module named 'no_such_thing'",
        ),
        ("ending_beside_it:f", "was found, but cannot be imported: SystemExit: 3"),
        ("curent_time", "no tool 'curent_time'"),
    ],
)
def test_a_persona_brings_the_tools_beside_it_and_shows_broken_ones_at_once(
    tmp_path, monkeypatch, named, problem
):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "broken_beside_it.py").write_text("def f(:\n", encoding="utf-8")
    (tmp_path / "needy_beside_it.py").write_text("import no_such_thing\n", encoding="utf-8")
    (tmp_path / "ending_beside_it.py").write_text("import sys\nsys.exit(3)\n", encoding="utf-8")
    (tmp_path / "tables_beside_it.py").write_text(
        'def free_tables(day: str) -> str:\n    """Find free tables."""\n', encoding="utf-8"
    )
    (tmp_path / "mine.yaml").write_text(f"name: mine\ntools: ['{named}']\n", encoding="utf-8")
    if not problem:
        load_persona(tmp_path / "mine.yaml")
        assert find_tool(named).description == "Find free tables."
        return
    with pytest.raises(ConfigError, match=problem) as caught:
        load_persona(tmp_path / "mine.yaml")
    assert "mine.yaml, tools: " in caught.value.cause


def test_two_tools_of_one_name_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "second_clock.py").write_text(
        'def current_time() -> str:\n    """Tell the time."""\n', encoding="utf-8"
    )
    for twin in ("current_time", "second_clock:current_time"):
        path = tmp_path / "mine.yaml"
        path.write_text(f"name: mine\ntools: [current_time, '{twin}']\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=r"mine\.yaml, tools: 'current_time' is given twice"):
            load_persona(path)
