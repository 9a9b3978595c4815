"""The SDK client against a real server on loopback: every way a reply can go, or go wrong."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from loguru import logger

from agent.llm import LlmError, LlmOptions, TextDelta, ToolCall, Usage
from agent.llm_mistral import ChatCompletionsModel

HELLO = [{"role": "user", "content": "hello"}]
PATIENT = LlmOptions(retry_after_s=0.01)
QUICK = LlmOptions(first_token_s=0.4, silence_s=0.4, total_s=3.0, retry_after_s=0.01)
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "", "parameters": {"type": "object"}},
}


async def collect(server, messages=HELLO, tools=(), options=PATIENT, **kwargs: Any) -> list[Any]:
    model = ChatCompletionsModel("tiny", url=server.url, options=options, **kwargs)
    try:
        return [piece async for piece in model.reply(messages, tools)]
    finally:
        await model.close()


def spoken(pieces: list[Any]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))


async def test_an_ordinary_reply_arrives_piece_by_piece(chat_server):
    chat_server.say("Hello there, friend.")
    pieces = await collect(chat_server)
    assert [p.text for p in pieces[:-1]] == ["Hello", " there,", " friend."]
    assert pieces[-1] == Usage(prompt_tokens=7, completion_tokens=3)
    assert chat_server.requests[0]["stream"] is True
    assert chat_server.requests[0]["messages"] == HELLO


async def test_the_first_words_do_not_wait_for_the_last(chat_server, chat_event):
    heard = asyncio.Event()
    chat_server.replies = [
        [chat_event({"content": "Now"}), heard, chat_event({"content": " then"}, "stop"), "[DONE]"]
    ]
    model = ChatCompletionsModel("tiny", url=f"{chat_server.url}/v1", options=PATIENT)
    pieces = model.reply(HELLO, ())
    assert (await anext(pieces)).text == "Now"
    heard.set()
    assert spoken([p async for p in pieces]) == " then"
    await model.close()


async def test_tool_calls_in_pieces_are_put_together(chat_server, chat_event):
    def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        function = {"arguments": arguments, **({"name": more.pop("name")} if more else {})}
        return {"index": index, "function": function, **more}

    chat_server.replies = [
        [
            chat_event({"role": "assistant", "content": None}),
            chat_event({"tool_calls": [call(0, "", name="look", id="a1", type="function")]}),
            chat_event({"tool_calls": [call(0, '{"where": ')]}),
            chat_event({"tool_calls": [call(0, '"here"}')]}),
            chat_event({"tool_calls": [call(1, "{}", name="book", id="b2", type="function")]}),
            chat_event({}, "tool_calls"),
            "[DONE]",
        ]
    ]
    pieces = await collect(chat_server, tools=[TOOL])
    assert pieces[:2] == [ToolCall("a1", "look", {"where": "here"}), ToolCall("b2", "book", {})]
    assert chat_server.requests[0]["tools"][0]["function"]["name"] == "look"


@pytest.mark.parametrize(
    "text",
    [
        'One moment. <tool_call>\n{"name": "look", "arguments": {"day": "friday"}}\n</tool_call>',
        '<tool_call>{"name": "look", "arguments": "{\\"day\\": \\"friday\\"}"}',
        '[TOOL_CALLS][{"name": "look", "arguments": {"day": "friday"}}]',
        '[TOOL_CALLS]look[ARGS]{"day": "friday"}',
        '<|python_tag|>{"name": "look", "parameters": {"day": "friday"}}',
        '<function=look>{"day": "friday"}</function>',
    ],
)
async def test_a_tool_call_written_as_text_is_a_tool_call(chat_server, chat_event, text):
    """As by servers that do not know the model's format."""
    pieces = [chat_event({"content": text[at : at + 5]}) for at in range(0, len(text), 5)]
    chat_server.replies = [[*pieces, chat_event({}, "stop"), "[DONE]"]]
    calls = [piece for piece in await collect(chat_server) if isinstance(piece, ToolCall)]
    assert [(call.name, call.arguments) for call in calls] == [("look", {"day": "friday"})]


async def test_several_written_calls_are_all_made_and_what_is_none_is_none(chat_server, chat_event):
    text = (
        '<tool_call>{"name": "look"}{"name": "book", "arguments": {"at": 7}}</tool_call>'
        '<tool_call>{"day": "friday"}</tool_call><tool_call>friday</tool_call>'
        '[TOOL_CALLS]look[ARGS]{"at": 8}[TOOL_CALLS]look[ARGS]{"at": 9'
    )
    chat_server.replies = [[chat_event({"content": text}), chat_event({}, "stop"), "[DONE]"]]
    calls = [piece for piece in await collect(chat_server) if isinstance(piece, ToolCall)]
    assert [(call.name, call.arguments) for call in calls] == [
        ("look", {}),
        ("book", {"at": 7}),
        ("look", {"at": 8}),
    ]
    assert len({call.id for call in calls}) == 3


async def test_whole_tool_calls_all_numbered_nought(chat_server, chat_event):
    def call(id_: str, name: str) -> dict[str, Any]:
        return {"index": 0, "id": id_, "function": {"name": name, "arguments": {"n": 1}}}

    chat_server.replies = [
        [
            chat_event({"tool_calls": [call("x", "look")]}),
            chat_event({"tool_calls": [call("y", "look")]}, "tool_calls"),
        ]
    ]
    pieces = await collect(chat_server)
    assert pieces[:2] == [ToolCall("x", "look", {"n": 1}), ToolCall("y", "look", {"n": 1})]


@pytest.mark.parametrize(
    "thoughts",
    [
        [{"reasoning_content": "let me"}, {"reasoning_content": " see"}],
        [{"reasoning": "let me see"}],
        [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "let me"}]}]}],
        [{"content": "<thi"}, {"content": "nk>let me <b> see</th"}, {"content": "ink>"}],
        [{"content": "[THINK]let me see[/THINK]"}],
    ],
)
async def test_thoughts_are_never_spoken(chat_server, chat_event, thoughts):
    events = [chat_event(delta) for delta in thoughts]
    chat_server.replies = [[*events, chat_event({"content": "Yes, a < b."}, "stop"), "[DONE]"]]
    pieces = await collect(chat_server)
    assert spoken(pieces) == "Yes, a < b."
    assert pieces[-1].thought_characters > 5


async def test_thinking_without_end_is_cut_and_asked_again_to_hurry(chat_server, chat_event):
    endless = [chat_event({"reasoning_content": "hmm " * 100}) for _ in range(50)]
    chat_server.replies = [endless]
    chat_server.say("Forty two.")
    assert spoken(await collect(chat_server)) == "Forty two."
    assert "without reasoning" in chat_server.requests[1]["messages"][-1]["content"]


async def test_a_slow_thinker_does_not_keep_the_caller_in_silence(chat_server, chat_event):
    slow = [step for _ in range(400) for step in (chat_event({"reasoning": "hmm "}), 0.02)]
    chat_server.replies = [slow]
    chat_server.say("Forty two.")
    options = LlmOptions(thought_s=0.1)
    assert spoken(await collect(chat_server, options=options)) == "Forty two."
    assert "without reasoning" in chat_server.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "registry.ollama.ai/library/gemma3:4b does not support tools"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'),
        (500, "tools param requires --jinja flag"),
    ],
)
async def test_a_model_that_takes_no_tools_answers_without_them(chat_server, status, message):
    chat_server.replies = [[status, {"error": {"message": message}}]]
    chat_server.say("Here I am.")
    model = ChatCompletionsModel("tiny", url=chat_server.url, options=LlmOptions(attempts=1))
    for _ in range(2):
        assert spoken([piece async for piece in model.reply(HELLO, [TOOL])]) == "Here I am."
    await model.close()
    offered = ["tools" in request for request in chat_server.requests]
    assert offered == [True, False, False]  # and is not asked in vain in every turn


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_failure_is_tried_again(chat_server, status):
    chat_server.replies = [[status, {"message": "not now"}]]
    chat_server.say("Here I am.")
    assert spoken(await collect(chat_server)) == "Here I am."
    assert len(chat_server.requests) == 2


@pytest.mark.parametrize(("status", "word"), [(401, "key"), (404, "name of the model"), (400, "")])
async def test_a_lasting_refusal_is_told_at_once(chat_server, status, word):
    chat_server.replies = [[status, {"error": {"message": "no such thing"}}]]
    with pytest.raises(LlmError, match=rf"refused with status {status}: no such thing") as caught:
        await collect(chat_server)
    assert word in caught.value.cure
    assert len(chat_server.requests) == 1


async def test_the_key_never_shows(chat_server):
    key = "sk-very-secret-0815"
    chat_server.replies = [[401, {"message": f"Incorrect API key: {key}"}]]
    log = io.StringIO()
    sink = logger.add(log, level="TRACE")
    with pytest.raises(LlmError) as caught:
        await collect(chat_server, api_key=key)
    logger.remove(sink)
    assert chat_server.headers[0]["Authorization"] == f"Bearer {key}"
    assert key not in log.getvalue() + str(caught.value) + repr(caught.value.__context__)


async def test_silence_before_the_first_token(chat_server, chat_event):
    chat_server.replies = [[asyncio.Event()]]
    with pytest.raises(LlmError, match="fell silent") as caught:
        await collect(chat_server, options=QUICK)
    assert not caught.value.transient
    assert len(chat_server.requests) == 1  # a slow server would begin again


async def test_the_caller_begins_for_templates_that_insist_on_it(chat_server):
    chat_server.say("ok")
    await collect(
        chat_server,
        [
            {"role": "system", "content": "be kind"},
            {"role": "assistant", "content": "Hello, this is Ann."},
            {"role": "user", "content": "hi"},
        ],
    )
    roles = [m["role"] for m in chat_server.requests[0]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


async def test_silence_in_mid_reply_keeps_what_was_said(chat_server, chat_event):
    chat_server.replies = [[chat_event({"content": "Well"}), asyncio.Event()]]
    model = ChatCompletionsModel("tiny", url=chat_server.url, options=LlmOptions(silence_s=0.4))
    pieces = model.reply(HELLO, ())
    assert await anext(pieces) == TextDelta("Well")
    with pytest.raises(LlmError, match="fell silent"):
        await anext(pieces)
    assert len(chat_server.requests) == 1  # never a second voice over the first
    await model.close()


@pytest.mark.parametrize("end", ["die", "eof"])
async def test_death_in_mid_sentence(chat_server, chat_event, end):
    steps = [chat_event({"content": "Once upon"}), 0.05]
    chat_server.replies = [[*steps, chat_server.DIE] if end == "die" else steps]
    with pytest.raises(LlmError, match="broke off"):
        await collect(chat_server)


@pytest.mark.parametrize(
    "junk",
    [
        "{not json",
        '"a string"',
        "[1, 2]",
        '{"choices": [7]}',
        '{"choices": {"delta": 1}}',
        '{"choices": [{"delta": {"content": 3}}]}',
        '{"choices": [{"delta": {"tool_calls": [null]}}]}',
    ],
)
async def test_malformed_events(chat_server, junk):
    chat_server.replies = [[junk]]
    with pytest.raises(LlmError, match="not a chat-completions event"):
        await collect(chat_server)


async def test_bytes_that_are_no_text(chat_server):
    chat_server.replies = [[b"data: \xff\xfe\n\n"]]
    with pytest.raises(LlmError, match="broke off"):
        await collect(chat_server)


async def test_an_error_event_in_mid_stream(chat_server):
    chat_server.replies = [[{"error": {"message": "CUDA out of memory", "code": 500}}]]
    with pytest.raises(LlmError, match="reported an error"):
        await collect(chat_server)


async def test_tool_arguments_that_are_not_json(chat_server, chat_event):
    piece = {"index": 0, "id": "a", "function": {"name": "look", "arguments": "{where:"}}
    chat_server.replies = [[chat_event({"tool_calls": [piece]}, "tool_calls")]]
    with pytest.raises(LlmError, match="broken JSON"):
        await collect(chat_server)


async def test_nobody_there():
    model = ChatCompletionsModel("tiny", url="http://127.0.0.1:9")
    with pytest.raises(LlmError, match="broke off"):
        [piece async for piece in model.reply(HELLO, ())]
    await model.close()


async def test_warming_waits_longer_and_asks_for_little(chat_server, chat_event):
    chat_server.replies = [[0.7, chat_event({"content": "H"}, "length"), "[DONE]"]]
    model = ChatCompletionsModel("tiny", url=chat_server.url, options=QUICK)
    await model.warm("You are Ann.", patience_s=2.0)
    assert chat_server.requests[0]["max_tokens"] == 200
    with pytest.raises(LlmError, match="took too long"):
        await model.warm("", patience_s=0.2)
    await model.close()


async def test_a_model_whose_template_opens_the_thought_does_not_think_aloud(chat_server):
    """DeepSeek-R1 and others: `<think>` is the end of the prompt, so only `</think>` arrives."""
    chat_server.say("They say hi.</think> Hello!")
    chat_server.say("They ask the time.</think> It is late.")
    model = ChatCompletionsModel("tiny", url=chat_server.url, options=QUICK)
    await model.warm("You are Ann.")
    pieces = [piece async for piece in model.reply(HELLO, ())]
    assert "".join(p.text for p in pieces if isinstance(p, TextDelta)) == " It is late."
    await model.close()


async def test_a_model_that_goes_on_with_the_callers_turn_is_stopped(chat_server, chat_event):
    chat_server.replies = [[chat_event({"content": "Hi.<|im_end|>\n<|im_start|>user"}), 60.0]]
    pieces = await collect(chat_server)
    assert "".join(p.text for p in pieces if isinstance(p, TextDelta)) == "Hi."


async def test_a_closed_iterator_stops_the_server(chat_server, chat_event):
    words = [step for n in range(60) for step in (chat_event({"content": f" {n}"}), 0.05)]
    chat_server.replies = [words]
    model = ChatCompletionsModel("tiny", url=chat_server.url, options=QUICK)
    pieces = model.reply(HELLO, ())
    await anext(pieces)
    await pieces.aclose()
    for _ in range(20):
        await asyncio.sleep(0.05)
        if chat_server.dropped:
            break
    assert chat_server.dropped == 1
    await model.close()


async def test_messages_are_bent_to_the_rules_of_the_protocol(chat_server):
    chat_server.say("ok")
    calls = [{"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    await collect(
        chat_server,
        [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "hi", "private": 1},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": "nothing", "tool_call_id": "a"},
            {"role": "user", "content": "wait"},
            {"role": "system", "content": "the caller is silent"},
        ],
    )
    sent = chat_server.requests[0]["messages"]
    assert [m["role"] for m in sent] == [
        *("system", "user", "assistant", "tool", "assistant", "user")
    ]
    assert sent[-1]["content"] == "wait\nthe caller is silent"
    assert "private" not in sent[1]
