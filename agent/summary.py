"""Keeping a long conversation short enough to think about."""

from __future__ import annotations

from pipecat.utils.context.llm_context_summarization import (
    LLMAutoContextSummarizationConfig,
    LLMContextSummaryConfig,
)

_PROMPT = """\
Below is the first part of a telephone conversation. Write down, in at most 150 words, what the
agent must still know to go on: who the caller is, names, numbers and times exactly as said, what
was asked, what was answered or promised, what is open. No preamble."""


def summary_settings(max_context_tokens: int = 6_000) -> LLMAutoContextSummarizationConfig:
    """For `LLMAssistantAggregatorParams.auto_context_summarization_config`.

    Pipecat's summariser asks the pipeline's own language model (`AgentTurn.run_inference`) once
    the context passes `max_context_tokens`. Only worth turning on when that model is not the
    script.
    """
    return LLMAutoContextSummarizationConfig(
        max_context_tokens=max_context_tokens,
        max_unsummarized_messages=80,
        summary_config=LLMContextSummaryConfig(
            target_context_tokens=400,
            min_messages_after_summary=8,
            summarization_prompt=_PROMPT,
            summary_message_template="Earlier in this call: {summary}",
            summarization_timeout=20.0,
        ),
    )
