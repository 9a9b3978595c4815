"""Tools: typed Python functions that a language model may call while it talks.

The function's signature becomes the schema the model sees, and what the model sends is checked
against it before the function runs. A tool has a time limit, and while a slow one runs the caller
hears a few words instead of silence. No tool runs before the caller's turn is committed: pipecat's
`SpeculationGate` withdraws a speculative reply that asks for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import FunctionCallResultProperties, TTSSpeakFrame
from pipecat.services.llm_service import FunctionCallParams
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from common.errors import ConfigError

FILLER_AFTER_S = 0.7
_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="tool")


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """How a tool is run.

    Attributes:
        time_limit_s: After this long the model is told that it failed.
        filler: Said when it takes longer than a moment; empty for silence.
        answer_follows: The model goes on talking with the result. False for a tool that is the
            end of the matter, such as hanging up.
    """

    time_limit_s: float = 8.0
    filler: str = ""
    answer_follows: bool = True


@dataclass(frozen=True, slots=True)
class Tool:
    """A function with the schema made of its signature.

    Attributes:
        name: The function's name.
        description: First paragraph of its docstring.
        arguments: Model of its parameters.
        function: Plain or asynchronous; a plain one runs in a thread of its own.
        options: How it is run.
    """

    name: str
    description: str
    arguments: type[BaseModel]
    function: Callable[..., Any]
    options: ToolOptions

    async def run(self, arguments: dict[str, Any]) -> str:
        """Run it; whatever happens, the answer is text for the model."""
        try:
            given = self.arguments.model_validate(arguments)
        except ValidationError as error:
            wrong = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors() if e["loc"])
            return f"Not run, wrong arguments: {wrong}"
        call = functools.partial(
            self.function, **{k: getattr(given, k) for k in type(given).model_fields}
        )
        try:
            async with asyncio.timeout(self.options.time_limit_s):
                if inspect.iscoroutinefunction(self.function):
                    return str(await call())
                return str(await asyncio.get_running_loop().run_in_executor(_THREADS, call))
        except TimeoutError:
            logger.warning("Tool {} ran longer than {} s", self.name, self.options.time_limit_s)
            return "Failed: it took too long."
        except Exception as error:
            logger.opt(exception=error).warning("Tool {} failed", self.name)
            return f"Failed: {type(error).__name__}."


def tool(
    *, time_limit_s: float = 8.0, filler: str = "", answer_follows: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say how a function is run as a tool; see `ToolOptions`."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.tool_options = ToolOptions(time_limit_s, filler, answer_follows)  # type: ignore[attr-defined]
        return function

    return mark


def as_tool(function: Callable[..., Any]) -> Tool:
    """Make a tool of a typed function.

    Raises:
        ConfigError: It has no docstring, or a parameter without a type or of a type that does not
            fit into a flat schema.
    """
    name, description = function.__name__, (inspect.getdoc(function) or "").split("\n\n")[0]
    if not description:
        raise ConfigError(f"Tool '{name}' has no docstring.", "Say there what it is good for.")
    hints = inspect.get_annotations(function, eval_str=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in hints:
            raise ConfigError(f"Tool '{name}': '{parameter.name}' has no type.", "Add one.")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    if "$defs" in arguments.model_json_schema():
        raise ConfigError(f"Tool '{name}' has a nested parameter.", "Use plain types.")
    options = getattr(function, "tool_options", ToolOptions())
    return Tool(name, description.replace("\n", " "), arguments, function, options)


def find_tool(name: str) -> Tool:
    """The built-in tool called `name`, or the function at `package.module:function`.

    Raises:
        ConfigError: There is none.
    """
    from agent import builtin_tools

    module, _, function = name.rpartition(":")
    try:
        found = getattr(importlib.import_module(module) if module else builtin_tools, function)
    except (ImportError, AttributeError) as error:
        known = ", ".join(builtin_tools.__all__)
        raise ConfigError(
            f"There is no tool '{name}'.", f"Built in: {known}. Or use `package.module:function`."
        ) from error
    return as_tool(found)


class ToolBox:
    """The tools of one conversation, as pipecat wants them.

    Args:
        tools: What the model may call.
        on_end: Awaited when the model ends the call; it lets the last words be heard first.
    """

    def __init__(self, tools: Sequence[Tool], on_end: Callable[[], Awaitable[None]] | None = None):
        self._tools = tuple(tools)
        self._on_end = on_end

    @classmethod
    def of(
        cls, names: Sequence[str], on_end: Callable[[], Awaitable[None]] | None = None
    ) -> ToolBox:
        """The tools a persona names.

        Raises:
            ConfigError: There is no such tool, or it cannot be one.
        """
        return cls([find_tool(name) for name in names], on_end)

    def schema(self) -> ToolsSchema:
        """For `LLMContext(tools=…)`; the handlers register themselves."""
        return ToolsSchema([self._schema_of(tool) for tool in self._tools])

    def _schema_of(self, tool: Tool) -> FunctionSchema:
        schema = tool.arguments.model_json_schema()
        return FunctionSchema(
            tool.name,
            tool.description,
            schema.get("properties", {}),
            schema.get("required", []),
            handler=functools.partial(self._handle, tool),
        )

    async def _handle(self, tool: Tool, params: FunctionCallParams) -> None:
        filler = asyncio.create_task(_say_after_a_moment(tool.options.filler, params))
        try:
            result = await tool.run(dict(params.arguments))
        finally:
            filler.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await filler
        follows = None if tool.options.answer_follows else False
        await params.result_callback(
            result, properties=FunctionCallResultProperties(run_llm=follows)
        )
        if tool.name == "end_call" and self._on_end is not None:
            await self._on_end()


async def _say_after_a_moment(filler: str, params: FunctionCallParams) -> None:
    await asyncio.sleep(FILLER_AFTER_S)
    if filler:
        await params.llm.push_frame(TTSSpeakFrame(filler, append_to_context=False))
