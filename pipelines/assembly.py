"""pipecat's part of a call: the head, the two halves of the memory, and the language model between."""

from __future__ import annotations

from typing import NamedTuple, Protocol

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
from pipelines.memory import calls_of_turn

_NEVER_S = 1e9


class Asked(NamedTuple):
    """What a reply answers.

    Attributes:
        words: The caller's last.
        tool_calls: How many tools have been called for them: it goes on where those ended.
    """

    words: str
    tool_calls: int = 0


class Overhearer(Protocol):
    """Who listens to the language model."""

    def wants(self, asked: Asked) -> bool:
        """Whether an answer to these words may still be said."""

    def llm(self, frame: Frame, asked: Asked) -> None:
        """Take what the model sends."""


class SpokenTurn(AgentTurn):
    """The language model's turn, overheard before pipecat's speculation gate holds it back.

    Whoever listens is told with every frame what is being answered: while one reply is cancelled and
    the next begins, frames of both are about. What nobody wants answered any more is not: the
    withdrawal of a guess is a system frame and may overtake the guess on its way here.
    """

    def __init__(self, model: LanguageModel, persona: Persona, listener: Overhearer):
        super().__init__(model, persona)
        self._listener = listener
        self._asked = Asked("")

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note what is being answered."""
        if isinstance(frame, LLMContextFrame):
            asked = _asked(frame.context)
            if not self._listener.wants(asked):
                return
            self._asked = asked
        await super().process_frame(frame, direction)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame as any service does."""
        if direction is FrameDirection.DOWNSTREAM:
            self._listener.llm(frame, self._asked)
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


def _asked(context: LLMContext) -> Asked:
    """What a conversation wants answered."""
    messages = [m for m in context.get_messages() if isinstance(m, dict)]
    said = (str(m.get("content")) for m in reversed(messages) if m.get("role") == "user")
    return Asked(next(said, ""), len(calls_of_turn(messages)))
