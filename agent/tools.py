"""Tools: typed Python functions that a language model may call while it talks.

The function's signature becomes the schema the model sees, and what the model sends is checked
against it before the function runs, within a time limit. `agent.toolbox` gives them to a conversation.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

from loguru import logger
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from common.errors import ConfigError

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLAIN = "Give every parameter a name and a plain type such as str, int or Literal."


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """How a tool is run.

    Attributes:
        time_limit_s: After this long the model is told that it failed.
        filler: Said when it takes longer than a moment; empty for silence.
        answer_follows: The model goes on talking with the result. False for a tool that, once
            done, is the end of the matter, such as hanging up.
    """

    time_limit_s: float = 8.0
    filler: str = ""
    answer_follows: bool = True


class Outcome(NamedTuple):
    """What came of a tool.

    Attributes:
        text: What the model is told.
        done: It ran to its end; False when it was refused, failed or took too long.
    """

    text: str
    done: bool


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

    async def run(self, arguments: dict[str, Any]) -> Outcome:
        """Run it; whatever happens, there is something to tell the model."""
        try:
            given = self.arguments.model_validate(arguments)
        except ValidationError as error:
            wrong = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors() if e["loc"])
            return Outcome(f"Not run, wrong arguments: {wrong}", done=False)
        call = functools.partial(
            self.function, **{k: getattr(given, k) for k in type(given).model_fields}
        )
        try:
            async with asyncio.timeout(self.options.time_limit_s):
                running = call() if inspect.iscoroutinefunction(self.function) else _in_thread(call)
                return Outcome(str(await running), done=True)
        except TimeoutError:
            logger.warning("Tool {} ran longer than {} s", self.name, self.options.time_limit_s)
            return Outcome("Failed: it took too long.", done=False)
        except Exception as error:
            logger.opt(exception=error).warning("Tool {} failed", self.name)
            return Outcome(f"Failed: {type(error).__name__}.", done=False)


async def _in_thread(call: Callable[[], Any]) -> Any:
    """Run it in a daemon thread: one that hangs keeps neither other tools nor the exit waiting."""
    result: Future[Any] = Future()
    result.set_running_or_notify_cancel()  # from here on it can be set, even when nobody waits

    def run() -> None:
        try:
            result.set_result(call())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=run, name="tool", daemon=True).start()
    return await asyncio.wrap_future(result)


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
        ConfigError: It is no function, has no docstring, or has a parameter that no model can give
            it: without a type or a name of its own, or of a type that does not fit into a flat schema.
    """
    if not inspect.isroutine(function):
        raise ConfigError(f"{function!r} is no function.", "Name a function with a docstring.")
    name, description = function.__name__, (inspect.getdoc(function) or "").split("\n\n")[0]
    if not description:
        raise ConfigError(f"Tool '{name}' has no docstring.", "Say there what it is good for.")
    try:
        arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **_fields(function))
        nested = "$defs" in arguments.model_json_schema()
    except Exception as error:  # annotations are code, and pydantic refuses types in many ways
        told = str(error).partition("\n")[0]
        raise ConfigError(f"Tool '{name}' cannot be called by a model: {told}", _PLAIN) from error
    if nested:
        raise ConfigError(f"Tool '{name}' has a nested parameter.", _PLAIN)
    options = getattr(function, "tool_options", ToolOptions())
    return Tool(name, description.replace("\n", " "), arguments, function, options)


def _fields(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters as fields of a pydantic model; a TypeError says which cannot be one."""
    hints = inspect.get_annotations(function, eval_str=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in hints:
            raise TypeError(f"'{name}' has no type.")
        if name.startswith("_") or parameter.kind not in _NAMED:
            raise TypeError(f"'{name}' is no public named parameter.")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints[name], default)
    return fields


def find_tool(name: str) -> Tool:
    """The built-in tool called `name`, or the function at `package.module:function`.

    Raises:
        ConfigError: There is none, its module cannot be imported, or it cannot be a tool.
    """
    from agent import builtin_tools

    if name in builtin_tools.__all__:
        return as_tool(getattr(builtin_tools, name))
    known = f"Built in: {', '.join(builtin_tools.__all__)}. Or use `package.module:function`."
    module, colon, function = name.partition(":")
    if not colon or not all(module.split(".")):
        raise ConfigError(f"There is no tool '{name}'.", known)
    try:
        found = getattr(_import(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"There is no tool '{name}': {error}.", known) from error
    return as_tool(found)


def _import(module: str) -> ModuleType:
    """Import a module.

    Raises:
        ModuleNotFoundError: There is none.
        ConfigError: There is one, and it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # importing runs somebody else's code
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise
        told = f"{type(error).__name__}: {error}"
        if isinstance(error, SyntaxError) and error.filename:
            told = f"{error.filename}, line {error.lineno}: {error.msg}"
        raise ConfigError(
            f"Module '{module}' was found, but cannot be imported: {told}.",
            "Mend the module, or install what it needs.",
        ) from error
