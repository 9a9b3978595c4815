"""The pipecat service with a real model client and a real server behind it."""

from __future__ import annotations

import asyncio

import pytest
from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    ErrorFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    TTSSpeakFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData, TTFBMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMAssistantAggregatorParams,
    LLMContextAggregatorPair,
)
from pipecat.tests.utils import SleepFrame, run_test

from agent.llm import FallbackModel, LlmError, LlmOptions, TextDelta
from agent.llm_mistral import ChatCompletionsModel
from agent.llm_script import ScriptModel
from agent.persona import Persona, load_persona
from agent.service import MAX_TOOL_ROUNDS, AgentTurn, tool_rounds
from agent.summary import summary_settings
from agent.toolbox import ToolBox
from agent.tools import Tool, as_tool, find_tool, tool

PERSONA = Persona(name="ann", instructions="You are Ann.", failure="My head is empty, sorry.")
ONCE = LlmOptions(attempts=1)


@pytest.fixture
async def turn(chat_server):
    model = ChatCompletionsModel("tiny", url=chat_server.url, options=ONCE)
    yield AgentTurn(model, PERSONA)
    await model.close()


def context(text: str = "hello", tools: list[Tool] | None = None) -> LLMContext:
    messages = [{"role": "user", "content": text}]
    return LLMContext(messages, ToolBox(tools).schema()) if tools else LLMContext(messages)


def spoken(frames) -> str:
    return "".join(frame.text for frame in frames if isinstance(frame, LLMTextFrame))


async def test_context_in_text_out_with_metrics(chat_server, turn):
    chat_server.say("Good to hear you.")
    down, _ = await run_test(
        turn,
        frames_to_send=[LLMContextFrame(context())],
        pipeline_params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
    )
    assert spoken(down) == "Good to hear you."
    ends = (LLMFullResponseStartFrame, LLMTextFrame, LLMFullResponseEndFrame)
    kinds = [type(frame) for frame in down if isinstance(frame, ends)]
    assert kinds == [ends[0], *[LLMTextFrame] * 4, ends[2]]
    data = [item for frame in down if isinstance(frame, MetricsFrame) for item in frame.data]
    assert any(isinstance(item, TTFBMetricsData) and item.value > 0 for item in data)
    assert any(
        isinstance(item, LLMUsageMetricsData) and item.value.completion_tokens == 4 for item in data
    )
    system = chat_server.requests[0]["messages"][0]
    assert system["role"] == "system"
    assert system["content"].startswith("You are Ann.")


async def test_an_interruption_stops_the_model_at_once(chat_server, chat_event, turn):
    words = [step for n in range(50) for step in (chat_event({"content": f" {n}"}), 0.05)]
    chat_server.replies = [words]
    down, _ = await run_test(
        turn,
        frames_to_send=[
            LLMContextFrame(context()),
            SleepFrame(sleep=0.3),
            InterruptionFrame(),
            SleepFrame(sleep=0.3),
        ],
    )
    assert 0 < len(spoken(down).split()) < 15
    assert chat_server.dropped == 1


async def test_when_the_model_fails_the_persona_says_so(chat_server, turn):
    chat_server.replies = [[401, {"message": "no"}]]
    told = []

    @turn.event_handler("on_llm_failed")
    async def _(_service, error):
        told.append(error)

    chat_server_down, up = await run_test(
        turn,
        frames_to_send=[LLMContextFrame(context()), LLMContextFrame(context())],
    )
    assert spoken(chat_server_down).count("My head is empty, sorry.") == 2  # still usable after
    assert "401" in told[0].cause
    assert any(isinstance(frame, ErrorFrame) for frame in up)


async def test_a_bug_in_a_model_is_no_blank_stare_either():
    class Broken:
        name = where = "broken"

        async def reply(self, messages, tools):
            yield TextDelta("Well,")
            raise ZeroDivisionError

    down, _ = await run_test(
        AgentTurn(Broken(), PERSONA), frames_to_send=[LLMContextFrame(context())]
    )
    assert spoken(down) == "Well,… My head is empty, sorry."


@pytest.mark.parametrize("nothing", [" \n", "👍🎉"])
async def test_an_empty_reply_is_not_a_blank_stare(chat_server, chat_event, turn, nothing):
    chat_server.replies = [[chat_event({"content": nothing}, "stop"), "[DONE]"]]
    down, _ = await run_test(turn, frames_to_send=[LLMContextFrame(context())])
    assert "My head is empty" in spoken(down)


async def test_a_speculative_reply_waits_for_the_end_of_the_turn(chat_server, turn):
    chat_server.say("Held back.")
    down, _ = await run_test(
        turn,
        frames_to_send=[
            UserStartedSpeakingFrame(),
            LLMContextFrame(context(), speculation=True),
            SleepFrame(sleep=0.3),
            UserStoppedSpeakingFrame(),
        ],
    )
    order = [type(frame) for frame in down]
    assert order.index(UserStoppedSpeakingFrame) < order.index(LLMTextFrame)
    assert spoken(down) == "Held back."


async def test_a_withdrawn_speculation_leaves_no_trace(chat_server, turn):
    chat_server.say("Never said.")
    down, _ = await run_test(
        turn,
        frames_to_send=[
            UserStartedSpeakingFrame(),
            LLMContextFrame(context(), speculation=True),
            SleepFrame(sleep=0.3),
            EagerEndOfTurnCancelFrame(),
            UserStoppedSpeakingFrame(),
        ],
    )
    assert spoken(down) == ""


async def test_a_withdrawal_that_overtakes_its_speculation_still_withdraws_it(chat_server, turn):
    chat_server.say("One answer.")
    down, _ = await run_test(
        turn,
        frames_to_send=[
            UserStartedSpeakingFrame(),
            LLMContextFrame(context("tell me a"), speculation=True),
            EagerEndOfTurnCancelFrame(),  # a system frame: it arrives first
            LLMContextFrame(context("tell me a show"), speculation=True),
            EagerEndOfTurnCancelFrame(),
            UserStoppedSpeakingFrame(),
            LLMContextFrame(context("tell me a joke")),
        ],
    )
    assert spoken(down) == "One answer."
    assert [r["messages"][-1]["content"] for r in chat_server.requests] == ["tell me a joke"]


async def test_a_long_conversation_is_summarised_by_the_model_itself(chat_server, turn):
    long = LLMContext([{"role": "system", "content": "Be kind."}])
    for n in range(20):
        long.add_message({"role": "user", "content": f"My number is {n}. " * 20})
        long.add_message({"role": "assistant", "content": f"Noted, {n}. " * 20})
    long.add_message({"role": "user", "content": "What was my first number?"})
    chat_server.say("It was nought.")  # the reply, then the summary
    chat_server.say("The caller gave the numbers nought to nineteen.")
    settings = LLMAssistantAggregatorParams(
        enable_auto_context_summarization=True,
        auto_context_summarization_config=summary_settings(max_context_tokens=500),
    )
    aggregators = LLMContextAggregatorPair(long, assistant_params=settings)
    await run_test(
        Pipeline([turn, aggregators.assistant()]),
        frames_to_send=[LLMContextFrame(long), SleepFrame(sleep=2.0)],
    )
    asked = chat_server.requests[1]["messages"]
    assert "numbers and times exactly as said" in asked[0]["content"]
    texts = [str(message["content"]) for message in long.get_messages()]
    assert any("Earlier in this call: The caller gave the numbers" in text for text in texts)
    assert len(texts) < 15


async def test_the_script_is_never_asked_for_a_summary(chat_server):
    chat_server.replies = [[401, {"message": "no"}]]
    server = ChatCompletionsModel("tiny", url=chat_server.url, options=ONCE)
    for model in (ScriptModel(PERSONA), FallbackModel([server, ScriptModel(PERSONA)])):
        with pytest.raises(LlmError):
            await AgentTurn(model, PERSONA).run_inference(context("Conversation history: …"))
    await server.close()


def booking(ran: list[str]) -> Tool:
    @tool(filler="One moment, I am looking.")
    async def book(name: str) -> str:
        """Book a table."""
        ran.append(name)
        await asyncio.sleep(1.0)
        return "booked"

    return as_tool(book)


def asks_to_book(chat_event) -> list:
    function = {"name": "book", "arguments": '{"name": "Ann"}'}
    call = {"index": 0, "id": "abcdefghi", "function": function}
    return [chat_event({"tool_calls": [call]}, "tool_calls"), "[DONE]"]


async def test_a_slow_tool_runs_under_a_few_spoken_words(chat_server, chat_event, turn):
    ran: list[str] = []
    chat_server.replies = [asks_to_book(chat_event)]
    down, _ = await run_test(
        turn,
        frames_to_send=[
            LLMContextFrame(context(tools=[booking(ran)])),
            SleepFrame(sleep=1.3),
        ],
    )
    assert ran == ["Ann"]
    fillers = [frame for frame in down if isinstance(frame, TTSSpeakFrame)]
    assert [frame.text for frame in fillers] == ["One moment, I am looking."]
    assert fillers[0].append_to_context is False


async def test_tools_side_by_side_ask_for_patience_once(chat_server, chat_event, turn):
    ran: list[str] = []
    call = {"name": "book", "arguments": '{"name": "Ann"}'}
    both = [{"index": n, "id": f"c{n}", "function": call} for n in range(2)]
    chat_server.replies = [[chat_event({"tool_calls": both}, "tool_calls"), "[DONE]"]]
    down, _ = await run_test(
        turn,
        frames_to_send=[LLMContextFrame(context(tools=[booking(ran)])), SleepFrame(sleep=1.3)],
    )
    assert ran == ["Ann", "Ann"]
    assert len([frame for frame in down if isinstance(frame, TTSSpeakFrame)]) == 1


async def test_no_tool_runs_before_the_turn_is_committed(chat_server, chat_event, turn):
    ran: list[str] = []
    chat_server.replies = [asks_to_book(chat_event)]
    down, up = await run_test(
        turn,
        frames_to_send=[
            UserStartedSpeakingFrame(),
            LLMContextFrame(context(tools=[booking(ran)]), speculation=True),
            SleepFrame(sleep=0.3),
        ],
    )
    assert ran == []
    assert any(isinstance(frame, EagerEndOfTurnCancelFrame) for frame in [*down, *up])


async def test_tools_are_taken_away_from_a_model_that_only_calls_them(chat_server, turn):
    chat_server.say("Enough.")
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "book", "arguments": "{}"}}
    messages: list = [{"role": "user", "content": "book"}]
    for _ in range(MAX_TOOL_ROUNDS):
        messages += [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "failed", "tool_call_id": "abcdefghi"},
        ]
    assert tool_rounds(messages) == MAX_TOOL_ROUNDS
    looping = LLMContext(messages, ToolBox([booking([])]).schema())
    down, _ = await run_test(turn, frames_to_send=[LLMContextFrame(looping)])
    assert spoken(down) == "Enough."
    assert "tools" not in chat_server.requests[0]


async def test_the_script_takes_the_turn_and_hangs_up_after_goodbye():
    ended = asyncio.Event()

    async def on_end() -> None:
        ended.set()

    persona = load_persona("parley")
    tools = ToolBox([find_tool("end_call")], {"end_call": on_end}).schema()
    messages = LLMContext([{"role": "user", "content": "okay good bye"}], tools)
    down, _ = await run_test(
        AgentTurn(ScriptModel(persona), persona),
        frames_to_send=[LLMContextFrame(messages), SleepFrame(sleep=0.2)],
    )
    assert spoken(down) == persona.goodbye[0]
    assert ended.is_set()
