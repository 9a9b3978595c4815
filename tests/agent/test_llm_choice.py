from __future__ import annotations

import asyncio

import pytest

from agent.discovery import find_local_server
from agent.llm import FallbackModel, LlmError, LlmOptions, TextDelta
from agent.llm_choice import choose_llm
from agent.persona import load_persona
from cli.doctor import check_llm
from common.errors import ParleyError, RemoteError

HELLO = [{"role": "user", "content": "hello"}]
NOBODY = {"Ollama": 9, "llama.cpp": 10, "vLLM": 11}


def port_of(server) -> int:
    return int(server.url.rsplit(":", 1)[1])


async def text_of(model) -> str:
    pieces = [p async for p in model.reply(HELLO, ())]
    return "".join(p.text for p in pieces if isinstance(p, TextDelta))


async def test_a_server_on_this_machine_is_found_and_named(chat_server):
    chat_server.models = ["nomic-embed-text", "ministral:8b", "other"]
    choice = await choose_llm(environ={}, ports={"Ollama": 9, "vLLM": port_of(chat_server)})
    assert choice.why == "ministral:8b, found on this machine (vLLM)"
    chat_server.say("Hi from here.")
    assert await text_of(choice.open(load_persona("parley"))) == "Hi from here."
    await choice.close()


async def test_a_port_that_hangs_does_not_hang_the_search(chat_server):
    async def hang(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(10):
            found = await find_local_server({"hangs": port, "vLLM": port_of(chat_server)})
    assert found is not None
    assert found.kind == "vLLM"


async def test_nothing_anywhere_means_the_script():
    choice = await choose_llm(environ={}, ports=NOBODY)
    model = choice.open(load_persona("parley"))
    assert (model.name, model.where) == ("script", "offline")
    assert "Hello" in await text_of(model)


async def test_a_key_means_mistral():
    choice = await choose_llm(environ={"MISTRAL_API_KEY": "secret"}, ports=NOBODY)
    assert choice.servers[0].where == "api.mistral.ai"
    assert "secret" not in choice.why + repr(choice)
    await choice.close()


async def test_a_key_is_sent_without_the_end_of_its_line_and_refused_in_words(chat_server):
    chat_server.say("Hello.")
    spec = f"{chat_server.url}#tiny"
    choice = await choose_llm(spec, environ={"PARLEY_LLM_API_KEY": "abc\n"})
    await text_of(choice.open(load_persona("parley")))
    await choice.close()
    assert chat_server.headers[-1]["Authorization"] == "Bearer abc"
    with pytest.raises(ParleyError, match="PARLEY_LLM_API_KEY holds"):
        await choose_llm(spec, environ={"PARLEY_LLM_API_KEY": "schlüssel"})


async def test_a_server_without_tls_is_told_apart(chat_server):
    with pytest.raises(RemoteError, match="SSL"):
        await choose_llm(chat_server.url.replace("http", "https"), environ={})


async def test_an_address_takes_its_first_model_or_the_one_named(chat_server):
    chat_server.models = ["first", "second"]
    for spec, name in ((f"{chat_server.url}/v1", "first"), (f"{chat_server.url}#second", "second")):
        choice = await choose_llm(spec, environ={"PARLEY_LLM_API_KEY": "k"})
        assert choice.servers[0].name == name
        chat_server.say("ok")
        await text_of(choice.open(load_persona("parley")))
        assert chat_server.headers[-1]["Authorization"] == "Bearer k"
        await choice.close()


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("mistral", ParleyError),
        ("gpt", ParleyError),
        ("http://host:port", ParleyError),
        ("http://[half", ParleyError),
        ("http://me:secret@127.0.0.1:9", ParleyError),
        ("script,http://127.0.0.1:9#m", ParleyError),
        ("http://127.0.0.1:9", RemoteError),
    ],
)
async def test_specs_that_cannot_be(spec, error):
    with pytest.raises(error) as caught:
        await choose_llm(spec, environ={})
    assert caught.value.cure
    assert "secret@" not in str(caught.value)


async def test_the_next_one_answers_when_the_first_does_not(chat_server):
    chat_server.replies = [[500, {"message": "broken"}]]
    options = LlmOptions(retry_after_s=0.01)
    spec = f"{chat_server.url}#a,http://127.0.0.1:9#b,script"
    choice = await choose_llm(spec, options=options, environ={})
    model = choice.open(load_persona("parley"))
    assert "Hello" in await text_of(model)
    assert model.name == "a"
    assert model.where.endswith(", then b, then script")
    await choice.close()


async def test_warming_reads_the_instructions_and_survives_a_dead_server(chat_server):
    chat_server.say("H")
    choice = await choose_llm(f"http://127.0.0.1:9#dead,{chat_server.url}#a", environ={})
    await choice.warm(load_persona("parley"))
    assert "You are Parley" in chat_server.requests[0]["messages"][0]["content"]
    await choice.close()


async def test_when_all_fail_each_is_named_with_its_reason(chat_server):
    chat_server.replies = [[401, {"message": "no"}]]
    spec = f"{chat_server.url}#a,http://127.0.0.1:9#b"
    choice = await choose_llm(spec, options=LlmOptions(retry_after_s=0.01), environ={})
    with pytest.raises(LlmError, match=r"a at .* refused .* b at 127.0.0.1:9 broke off"):
        await text_of(choice.open(load_persona("parley")))
    await choice.close()


async def test_a_model_that_has_spoken_is_not_replaced(chat_server, chat_event):
    chat_server.replies = [[chat_event({"content": "Well"}), 0.05, chat_server.DIE]]
    choice = await choose_llm(f"{chat_server.url}#a,script", environ={})
    model = choice.open(load_persona("parley"))
    assert isinstance(model, FallbackModel)
    with pytest.raises(LlmError, match="broke off"):
        await text_of(model)
    await choice.close()


async def test_the_doctor_finds_a_brain_without_tools(chat_server):
    chat_server.replies = [[400, {"error": {"message": "gemma3:4b does not support tools"}}]]
    chat_server.say("Hello!")
    found = await check_llm(chat_server.url)
    assert (found.state, "Hello!" in found.says) == ("poor", True)
    assert (await check_llm("script")).state == "good"
