from __future__ import annotations

import asyncio
import threading
from typing import Annotated, Literal

import pytest
from pydantic import Field

from agent.tools import ToolBox, as_tool, find_tool, tool
from common.errors import ConfigError


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
    assert (await as_tool(weather).run({"city": "Oslo", "days": "3"})).startswith("Oslo c 3 tool")


@pytest.mark.parametrize(
    "arguments", [{}, {"city": "Oslo", "unit": "k"}, {"city": "Oslo", "when": "now"}]
)
async def test_wrong_arguments_are_told_and_nothing_runs(arguments):
    assert (await as_tool(weather).run(arguments)).startswith("Not run, wrong arguments: ")


async def test_the_time_limit_holds():
    @tool(time_limit_s=0.05)
    async def slow() -> str:
        """Take long."""
        await asyncio.sleep(5)
        return "never"

    assert await as_tool(slow).run({}) == "Failed: it took too long."


async def test_a_failing_tool_does_not_tell_the_model_its_secrets():
    def broken() -> str:
        """Break."""
        raise RuntimeError("password hunter2")

    assert await as_tool(broken).run({}) == "Failed: RuntimeError."


async def test_slow_tools_run_side_by_side():
    together = threading.Barrier(3, timeout=30)

    @tool()
    def meet() -> str:
        """Wait for the two others."""
        together.wait()
        return "ok"

    assert await asyncio.gather(*(as_tool(meet).run({}) for _ in range(3))) == ["ok"] * 3


async def test_built_in_tools():
    assert "20" in await find_tool("current_time").run({"zone": "Europe/Paris"})
    assert await find_tool("current_time").run({"zone": "Mars/Base"}) == (
        "There is no time zone 'Mars/Base'."
    )
    assert not find_tool("end_call").options.answer_follows


def test_tools_that_cannot_be():
    def silent() -> str: ...

    def untyped(x) -> str:  # type: ignore[no-untyped-def]
        """Do."""

    for function, word in ((silent, "docstring"), (untyped, "no type")):
        with pytest.raises(ConfigError, match=word):
            as_tool(function)
    for name in ("nothing_like_it", "no.such.module:f", "json:no_such"):
        with pytest.raises(ConfigError, match="no tool"):
            find_tool(name)
