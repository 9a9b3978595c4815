"""pipecat's part of a call: the head, the two halves of the memory, and the language model between."""

from __future__ import annotations

from collections.abc import Callable

from pipecat.frames.frames import Frame, LLMContextFrame, LLMTextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMAssistantAggregatorParams,
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.turns.user_turn_strategies import EagerUserTurnStrategies

from agent.llm import LanguageModel
from agent.persona import Persona
from agent.service import AgentTurn
from agent.summary import summary_settings
from pipelines.head import Head

_NEVER_S = 1e9


Overhear = Callable[[Frame, str], None]


class SpokenTurn(AgentTurn):
    """The language model's turn, overheard before pipecat's speculation gate holds it back.

    Whoever listens is told with every frame what the caller had said that is being answered: while
    one reply is cancelled and the next begins, frames of both are about.
    """

    def __init__(self, model: LanguageModel, persona: Persona, overhear: Overhear):
        super().__init__(model, persona)
        self._overhear = overhear
        self._answering = ""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note what is being answered."""
        if isinstance(frame, LLMContextFrame):
            self._answering = _last_said(frame.context)
        await super().process_frame(frame, direction)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame as any service does."""
        if direction is FrameDirection.DOWNSTREAM:
            self._overhear(frame, self._answering)
        if isinstance(frame, LLMTextFrame):
            frame.append_to_context = False  # what is written is not yet heard
        await super().push_frame(frame, direction)


def assemble(
    head: Head, context: LLMContext, llm: SpokenTurn, *, summaries: bool
) -> PipelineWorker:
    """Put a call's pipeline together.

    Args:
        head: Where frames enter, and where messages for the caller's screen leave.
        context: The conversation's memory.
        llm: Takes the agent's turn.
        summaries: Whether the model may be asked to sum up what grew too long.
    """
    aggregators = LLMContextAggregatorPair(
        context,
        user_params=LLMUserAggregatorParams(
            # Interruptions are turn-taking's to decide, and so is when a turn is over.
            user_turn_strategies=EagerUserTurnStrategies(enable_interruptions=False),
            user_turn_stop_timeout=_NEVER_S,
            empty_user_turn=None,
        ),
        assistant_params=LLMAssistantAggregatorParams(
            enable_auto_context_summarization=summaries,
            auto_context_summarization_config=summary_settings(),
        ),
    )
    return PipelineWorker(
        Pipeline([head, aggregators.user(), llm, aggregators.assistant()]),
        params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
        enable_turn_tracking=False,
        idle_timeout_secs=None,
    )


def _last_said(context: LLMContext) -> str:
    """The caller's last words in a conversation."""
    said = (m for m in reversed(context.get_messages()) if isinstance(m, dict))
    return next((str(m.get("content")) for m in said if m.get("role") == "user"), "")
