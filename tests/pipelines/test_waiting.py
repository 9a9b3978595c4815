"""What a caller hears, and what is remembered, while an answer is long in coming. In virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from agent.eventlog import EventLog
from agent.llm import LlmError, Message, Piece, TextDelta, ToolCall, ToolSchema
from agent.persona import Persona
from agent.tools import tool
from pipelines.conversation import Conversation
from pipelines.engines import Engines
from tests.pipelines.any_call import Ears, Judges, VirtualTime, Voice, words_in

SILENCE = np.zeros(320, np.float32)
NEVER_S = 1e6
ANSWER = "Lima is the capital."


@tool(filler="looking it up")
async def look_up(seconds: float) -> str:
    """Look something up."""
    await asyncio.sleep(seconds)
    return "It was found."


@tool(time_limit_s=4.0, answer_follows=False)
async def note_down(seconds: float) -> str:
    """Note something down."""
    await asyncio.sleep(seconds)
    return "It is noted."


class Slow:
    """A language model that takes its time; with `calls` it first wants those tools, one by one."""

    name, where = "slow", "in the test"

    def __init__(self, first_s: float, *calls: ToolCall, dies: bool = False):
        self._first_s, self._calls, self._dies = first_s, list(calls), dies

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> AsyncIterator[Piece]:
        await asyncio.sleep(self._first_s)
        if self._dies:
            raise LlmError("The model is dead.")
        if self._calls:
            yield self._calls.pop(0)
        else:
            yield TextDelta(ANSWER)

    async def close(self) -> None:
        pass


class Wait:
    """One typed question, and what follows.

    Attributes:
        heard: Every word the caller heard, with the second after the question at which it began.
        states: What the page showed, each with its second.
        answered: The seconds at which it was told how long the answer took.
    """

    def __init__(self, model: Slow, *, fate: str = "well", **persona: Any):
        voice, self.model = Voice(random.Random(1)), model
        voice.fates = {fate: 1}
        ears = Ears(random.Random(1), [])
        ears._dies_at = 10**9
        self._engines, self._voice = Engines(ears, voice), voice
        given: dict[str, Any] = {
            "filler": ["patience please", "bear with me"],
            "tools": [
                *(f"{__name__}:look_up", f"{__name__}:note_down"),
                "tests.pipelines.any_call:end_call",  # no thread: they know no virtual time
            ],
        }
        self._persona = Persona(
            name="slow",
            goodbye=["farewell"],
            failure="so sorry",
            idle_after_s=0,
            **(given | persona),
        )
        self.heard: list[tuple[float, str]] = []
        self.states: list[tuple[float, str]] = []
        self.answered: list[float] = []
        self._at = 0

    async def run(self, script: Callable[[Wait], Awaitable[None]]) -> Wait:
        log = EventLog()
        log.subscribe(self._note)
        self.call = Conversation(self._engines, self.model, self._persona, log=log)
        await self.call.start()
        await script(self)
        self.memory = [(m["role"], m.get("content")) for m in self.call.context.get_messages()]
        await self.call.close()
        return self

    async def pass_s(self, seconds: float) -> None:
        for _ in range(round(50 * seconds)):
            self.call.hear(SILENCE)
            self._at += 1
            pcm = self.call.pull(480)
            for number in np.flatnonzero(words_in(pcm) > 20) if pcm is not None else ():
                word = self._voice.words[number][0]
                if not self.heard or self.heard[-1][1] != word:
                    self.heard.append((self._at / 50, word))
            await asyncio.sleep(0.02)

    @property
    def text(self) -> str:
        return " ".join(word for _, word in self.heard)

    def second(self, word: str) -> float:
        return next(second for second, heard in self.heard if heard == word)

    def _note(self, entry: dict[str, Any]) -> None:
        if entry["kind"] == "state":
            self.states.append((self._at / 50, entry["state"]))
        if entry["kind"] == "latency":
            self.answered.append(self._at / 50)


@pytest.fixture
def wait(monkeypatch):
    def wait(model: Slow, script: Any = 60.0, **persona: Any) -> Wait:
        judges = Judges(random.Random(1))
        monkeypatch.setattr("pipelines.listener.VoiceJudge", lambda: judges)
        monkeypatch.setattr("pipelines.listener.TurnJudge", lambda: judges)
        monkeypatch.setattr("pipelines.conversation.warm_judges", lambda: None)

        async def ask(call: Wait) -> None:
            call.call.typed("what is the capital of Peru")
            await call.pass_s(script)

        with asyncio.Runner(loop_factory=VirtualTime) as runner:
            return runner.run(Wait(model, **persona).run(script if callable(script) else ask))

    return wait


def test_a_quick_answer_needs_no_filler(wait):
    call = wait(Slow(1.8))
    assert call.text == ANSWER
    assert call.memory[-1] == ("assistant", ANSWER)


def test_a_slow_answer_is_bridged_by_words_that_nobody_remembers(wait):
    call = wait(Slow(4.0))
    assert call.text == f"patience please {ANSWER}"
    assert call.second("patience") == pytest.approx(2.1, abs=0.2)
    assert call.second("Lima") == pytest.approx(4.1, abs=0.2)
    assert call.memory == [("user", "what is the capital of Peru"), ("assistant", ANSWER)]
    assert [state for _, state in call.states] == [
        *("thinking", "speaking", "thinking", "speaking", "listening")
    ]


def test_a_very_slow_answer_is_bridged_again_and_not_too_often(wait):
    call = wait(Slow(27.0))
    assert call.text == f"patience please bear with me patience please {ANSWER}"
    assert call.second("bear") == pytest.approx(9.1, abs=0.5)


def test_words_on_their_way_make_a_filler_that_nobody_heard_yet_needless(wait):
    call = wait(Slow(2.05), fate="dawdles")  # the filler is being synthesised
    assert len(call._voice.words) > len(ANSWER.split())
    assert call.text == ANSWER


def test_an_answer_that_never_comes_is_given_up_and_the_page_listens(wait):
    call = wait(Slow(NEVER_S), 90.0)
    assert call.text == "patience please bear with me patience please so sorry"
    assert call.states[-1][1] == "listening"
    assert call.memory[-1] == ("assistant", "so sorry")


def test_a_persona_without_such_words_stays_silent_and_gives_up_too(wait):
    call = wait(Slow(NEVER_S), language="sw", filler=[])
    assert call.text == "so sorry"
    assert call.second("so") == pytest.approx(30.2, abs=0.5)


def test_a_model_that_fails_late_is_apologised_for_after_the_filler(wait):
    call = wait(Slow(3.0, dies=True))
    assert call.text == "patience please so sorry"


def test_who_speaks_into_a_filler_is_answered_with_all_they_said(wait):
    async def script(call: Wait) -> None:
        call.call.typed("what is the capital")
        await call.pass_s(2.3)
        call.call.typed("of Peru")
        await call.pass_s(20.0)

    call = wait(Slow(4.0), script)
    assert call.text.endswith(ANSWER)
    assert call.memory == [
        ("user", "what is the capital"),
        ("user", "of Peru"),
        ("assistant", ANSWER),
    ]


def test_a_slow_tool_asks_for_patience_in_its_own_words_once(wait):
    call = wait(Slow(0.2, ToolCall("1", "look_up", {"seconds": 3.0})))
    assert call.text == f"looking it up {ANSWER}"
    assert call.second("looking") == pytest.approx(1.0, abs=0.2)
    call = wait(Slow(1.8, ToolCall("1", "look_up", {"seconds": 3.0})))
    assert call.text == f"patience please {ANSWER}"


def test_a_slow_tool_without_words_of_its_own_is_bridged_as_a_slow_model_is(wait):
    call = wait(Slow(0.2, ToolCall("1", "note_down", {"seconds": 3.0})))
    assert call.text == "patience please"
    assert call.states[-1][1] == "listening"


def test_a_tool_that_ends_the_matter_without_a_word_leaves_the_page_listening(wait):
    call = wait(Slow(0.2, ToolCall("1", "note_down", {"seconds": 0.1})))
    assert call.text == ""
    assert call.states[-1][1] == "listening"


def test_a_filler_is_not_the_answer_whose_latency_is_told(wait):
    for first_s in (2.3, 4.0):  # the answer follows at once, or after a silence
        call = wait(Slow(first_s))
        assert call.text == f"patience please {ANSWER}"
        assert call.answered == [pytest.approx(call.second("Lima"), abs=0.05)]


def test_a_call_does_not_end_on_a_filler(wait):
    async def script(call: Wait) -> None:
        call.call.typed("cancel my table, goodbye")
        await call.pass_s(20.0)

    call = wait(Slow(0.2, ToolCall("1", "look_up", {"seconds": 3.0})), script)
    assert call.text == f"looking it up {ANSWER}"
    assert call.call.end_reason == "goodbye"
    call = wait(Slow(2.3, ToolCall("1", "end_call", {})), script)
    assert call.text == "patience please farewell"
    assert call.call.end_reason == "goodbye"
