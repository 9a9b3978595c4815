"""The tools of a conversation, as pipecat wants them.

While a slow tool runs the caller hears a few words instead of silence. None runs before the caller's
turn is committed: pipecat's `SpeculationGate` withdraws a speculative reply that asks for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import FunctionCallResultProperties, TTSSpeakFrame
from pipecat.services.llm_service import FunctionCallParams

from agent.tools import Tool

Afterwards = Mapping[str, Callable[..., Awaitable[None]]]

FILLER_AFTER_S = 0.7


class ToolBox:
    """The tools of one conversation, as pipecat wants them.

    Args:
        tools: What the model may call.
        afterwards: By a tool's name, what is awaited with its arguments once the model has been told
            that it is done: those that end a call let the last words be heard first.
    """

    def __init__(self, tools: Sequence[Tool], afterwards: Afterwards | None = None):
        self._tools = tuple(tools)
        self._afterwards = afterwards or {}
        self._filling = False  # tools that run side by side ask for patience once

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
        filler = "" if self._filling else tool.options.filler
        self._filling = self._filling or bool(filler)
        saying = asyncio.create_task(_say_after_a_moment(filler, params))
        try:
            told, done = await tool.run(dict(params.arguments))
        finally:
            self._filling = self._filling and not filler
            saying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await saying
        follows = None if tool.options.answer_follows or not done else False
        await params.result_callback(told, properties=FunctionCallResultProperties(run_llm=follows))
        if done and tool.name in self._afterwards:
            await self._afterwards[tool.name](**params.arguments)


async def _say_after_a_moment(filler: str, params: FunctionCallParams) -> None:
    await asyncio.sleep(FILLER_AFTER_S)
    if filler:
        await params.llm.push_frame(TTSSpeakFrame(filler, append_to_context=False))
