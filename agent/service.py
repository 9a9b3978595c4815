"""The agent's turn as a pipecat service: context in, spoken text and tool calls out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, cast

from loguru import logger
from openai import NOT_GIVEN as OPENAI_NOT_GIVEN
from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    Frame,
    FunctionCallFromLLM,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings
from pipecat.utils.errors import ErrorCategory

from agent.llm import (
    FallbackModel,
    LanguageModel,
    LlmError,
    Message,
    TextDelta,
    ToolCall,
    ToolSchema,
    Usage,
)
from agent.llm_script import SCRIPT
from agent.persona import Persona

MAX_TOOL_ROUNDS = 4
"""How often tools may be called before the caller must be given an answer in words."""


class AgentTurn(LLMService):
    """Takes the agent's turn with any `LanguageModel`, in the words of a `Persona`.

    Interruptions cancel the model's stream at once; a speculative turn is held by pipecat's
    `SpeculationGate` and never runs a tool. A model that fails is covered by the persona's own
    words, and `on_llm_failed(service, error)` tells why.
    """

    def __init__(self, model: LanguageModel, persona: Persona):
        super().__init__(
            settings=LLMSettings(
                model=model.name,
                system_instruction=persona.system_prompt(),
                temperature=None,
                max_tokens=None,
                top_p=None,
                top_k=None,
                frequency_penalty=None,
                presence_penalty=None,
                seed=None,
                filter_incomplete_user_turns=False,
                user_turn_completion_config=None,
                extra={},
            )
        )
        self._model = model
        self._persona = persona
        self._said = False  # something has been said in this reply
        self._withdrawn_before = 0  # speculations older than this frame id answer nothing any more
        self._register_event_handler("on_llm_failed")

    def can_generate_metrics(self) -> bool:
        """Time to first token, processing time and token counts are reported."""
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer every context that arrives; pass everything else on.

        A withdrawal is a system frame and may overtake the speculative context it withdraws while
        this service is busy; answering that context late would be a second answer.
        """
        if isinstance(frame, EagerEndOfTurnCancelFrame):
            self._withdrawn_before = frame.id
        elif isinstance(frame, LLMContextFrame) and self._is_withdrawn(frame):
            return
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        self._said = False
        await self.push_frame(LLMFullResponseStartFrame())
        await self.start_processing_metrics()
        try:
            await self._answer(frame.context)
        except LlmError as error:
            await self._apologise(error)
        except Exception as error:  # whatever it is, the caller must not be met with silence
            logger.opt(exception=error).error("{} failed", self._model.name)
            await self._apologise(LlmError(f"{self._model.name}: {type(error).__name__}."))
        finally:
            await self.stop_processing_metrics()
            await self.push_frame(LLMFullResponseEndFrame())

    async def _apologise(self, error: LlmError) -> None:
        broken_off = "…" if self._said else ""
        await self._push_llm_text(f"{broken_off} {self._persona.failure}")
        await self._call_event_handler("on_llm_failed", error)
        # The model's failure is told, not this processor's end: the next turn tries again.
        await self.push_error(str(error), category=ErrorCategory.UNKNOWN)

    def _is_withdrawn(self, frame: LLMContextFrame) -> bool:
        return frame.speculation and frame.id < self._withdrawn_before

    async def run_inference(
        self,
        context: LLMContext,
        max_tokens: int | None = None,
        system_instruction: str | None = None,
        response_schema: dict[str, Any] | None = None,
    ) -> str | None:
        """Answer `context` outside the conversation (pipecat's context summaries use this).

        Raises:
            LlmError: No model can; the script, which would answer anything, is not asked.
        """
        messages, _ = await self._prompt(context, system_instruction)
        models = getattr(self._model, "models", (self._model,))
        thinking = [model for model in models if model.name != SCRIPT]
        async with aclosing(FallbackModel(thinking).reply(messages, ())) as pieces:
            return "".join([piece.text async for piece in pieces if isinstance(piece, TextDelta)])

    async def _answer(self, context: LLMContext) -> None:
        messages, tools = await self._prompt(context, self._settings.system_instruction)
        if tool_rounds(messages) >= MAX_TOOL_ROUNDS:
            tools = []
        calls: list[FunctionCallFromLLM] = []
        await self.start_ttfb_metrics()
        async with aclosing(self._model.reply(messages, tools)) as pieces:
            async for piece in pieces:
                await self.stop_ttfb_metrics()
                match piece:
                    case TextDelta(text):
                        self._said = self._said or any(map(str.isalnum, text))  # no emoji is heard
                        await self._push_llm_text(text)
                    case ToolCall() if tools:  # some write calls though none were offered
                        calls.append(
                            FunctionCallFromLLM(piece.name, piece.id, piece.arguments, context)
                        )
                    case Usage():
                        await self._report(piece)
        if calls:
            await self.run_function_calls(calls)
        elif not self._said:
            raise LlmError(f"{self._model.name} answered without saying anything.")

    async def _prompt(
        self, context: LLMContext, instruction: Any
    ) -> tuple[list[Message], list[ToolSchema]]:
        params = await cast(Any, self.get_llm_adapter()).get_llm_invocation_params(
            context, system_instruction=instruction or None, convert_developer_to_user=True
        )
        tools = params["tools"]
        return list(params["messages"]), [] if tools is OPENAI_NOT_GIVEN else list(tools)

    async def _report(self, usage: Usage) -> None:
        await self.start_llm_usage_metrics(
            LLMTokenUsage(
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                total_tokens=usage.prompt_tokens + usage.completion_tokens,
            )
        )


def tool_rounds(messages: Sequence[Message]) -> int:
    """How many times tools have been called since the caller last spoke."""
    rounds = 0
    for message in reversed(messages):
        if message["role"] == "user":
            break
        rounds += bool(message.get("tool_calls"))
    return rounds
