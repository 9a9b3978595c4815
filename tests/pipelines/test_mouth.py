from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from common.errors import EngineFull, ParleyError
from pipelines.mouth import Mouth, Reply
from pipelines.playout import Playout
from tts.interface import SpeechStream, SpokenWord, TtsEngine
from tts.speakable import Spoken, speakable


class Watching:
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_text(self, reply: Reply) -> None:
        self.told.append("text")

    def on_clause(self, reply: Reply, clause: str) -> None:
        self.told.append(f"clause {clause}")

    def on_frame(self, reply: Reply) -> None:
        if "frame" not in self.told:
            self.told.append("frame")

    def on_voice_failure(self, reply: Reply, error: ParleyError) -> None:
        self.told.append(f"failure {error.cause}")


@pytest.fixture
async def mouth(engines):
    mouth = Mouth(engines.tts, None, speakable, Playout(), Watching())
    mouth.watching = mouth._watcher
    yield mouth
    await mouth.close()


async def play(mouth: Mouth, most_s: float = 20.0) -> np.ndarray:
    """Pull everything that is said, much faster than real time."""
    heard = []
    for _ in range(int(most_s * 50)):
        pcm = mouth.playout.pull(480)
        heard.append(np.zeros(480, np.float32) if pcm is None else pcm)
        await asyncio.sleep(0.001)
        if mouth.idle:
            break
    return np.concatenate(heard)


async def test_text_becomes_speech_and_every_written_word_is_heard(mouth):
    reply = mouth.say(Reply(1), "It costs $7.50 today. 🎉 Dr. Smith agreed!")
    pcm = await play(mouth)
    assert np.abs(pcm).max() > 0.1
    assert reply.cut(0).heard == "It costs $7.50 today. 🎉 Dr. Smith agreed!"
    assert reply.cut(0).unheard == ""
    assert mouth.watching.told[0] == "text"
    assert mouth.watching.told[1].startswith("clause It costs $7.50")
    assert "frame" in mouth.watching.told


async def test_a_cut_divides_what_was_written_where_the_sound_stopped(mouth):
    reply = mouth.say(Reply(1), "It costs $7.50 today and $12 tomorrow, which is a lot of money.")
    while reply.written_samples < 24_000 * 1.8:
        mouth.playout.pull(480)
        await asyncio.sleep(0.001)
    (dropped,) = mouth.silence()
    assert dropped is reply
    cut = reply.cut(0)
    assert cut.heard.startswith("It costs $7.50")
    assert cut.unheard.endswith("a lot of money.")
    assert reply.cut(24_000).heard != cut.heard  # a second of it is still on its way


async def test_a_reply_thrown_away_is_never_heard(mouth):
    reply = Reply(1, held=True)
    mouth.write(reply, "Nobody shall hear this. ")
    await asyncio.sleep(0.1)
    mouth.drop(reply)
    mouth.write(reply, "Nor this. ")
    mouth.end(reply)
    assert mouth.playout.pull(480) is None
    assert mouth.idle


async def test_of_a_held_reply_one_clause_is_prepared_and_the_rest_follows_when_it_is_let_go(mouth):
    reply = Reply(1, held=True)
    mouth.write(reply, "The first clause. The second clause. The third clause. ")
    mouth.end(reply)
    await asyncio.sleep(0.2)
    assert len(reply.clauses) == 1
    assert reply.peek(4_800).size == 4_800
    assert mouth.playout.pull(480) is None
    mouth.let_go(reply)
    await play(mouth)
    assert reply.cut(0).heard == "The first clause. The second clause. The third clause."
    assert reply.done


FULL = EngineFull("All voices are speaking.")


class Refusing:
    """An engine that refuses so many times."""

    def __init__(self, engine: TtsEngine, times: int, error: Exception = FULL) -> None:
        self._engine, self._times, self._error = engine, times, error

    async def open(self, **given: Any) -> SpeechStream:
        self._times -= 1
        if self._times >= 0:
            raise self._error
        return await self._engine.open(**given)


async def test_a_reply_waits_for_a_voice_to_be_free(mouth, engines, monkeypatch):
    monkeypatch.setattr(mouth, "_engine", Refusing(engines.tts, 5))
    reply = mouth.say(Reply(1), "Hello there.")
    assert np.abs(await play(mouth)).max() > 0.1
    assert reply.cut(0).heard == "Hello there."
    assert not [told for told in mouth.watching.told if told.startswith("failure")]


async def test_nobody_is_told_that_a_reply_given_up_found_no_voice(mouth, engines, monkeypatch):
    monkeypatch.setattr(mouth, "_engine", Refusing(engines.tts, 1_000))
    mouth.drop(mouth.say(Reply(1), "Hello."))
    await asyncio.sleep(0.2)
    assert not [told for told in mouth.watching.told if told.startswith("failure")]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FULL, "failure All voices are speaking."),
        (ZeroDivisionError(), "failure The voice failed."),
    ],
)
async def test_a_voice_that_does_not_open_is_told_and_the_mouth_goes_on(
    mouth, engines, monkeypatch, error, told
):
    monkeypatch.setattr(mouth, "_engine", Refusing(engines.tts, 1_000, error))
    monkeypatch.setattr("pipelines.mouth._FULL_FOR_S", 0.001)
    reply = mouth.say(Reply(1), "Hello.")
    await play(mouth)
    assert mouth.watching.told[-1] == told
    assert mouth.idle
    assert reply.cut(0).heard == ""
    monkeypatch.setattr(mouth, "_engine", engines.tts)
    mouth.say(Reply(2), "Hello.")
    assert np.abs(await play(mouth)).max() > 0.1


async def test_an_unknown_voice_is_told(engines):
    mouth = Mouth(engines.tts, "nobody", speakable, Playout(), watching := Watching())
    mouth.say(Reply(1), "Hello.")
    await asyncio.sleep(0.05)
    assert watching.told[-1].startswith("failure")
    await mouth.close()


def test_words_said_as_several_or_as_nothing_are_counted_as_written():
    reply = Reply(1)
    words = [Spoken("$7", "seven dollars"), Spoken("🎉", ""), Spoken("now", "now")]
    reply.expect("$7 🎉 now", words)
    for index, part in enumerate(("seven", "dollars", "now")):
        assert reply.ledger.words_heard(0) == 0
        reply.spoke(SpokenWord(part, index * 100, index * 100 + 100))
    reply.ledger.wrote(200)
    assert reply.cut(0).heard == "$7"
    reply.ledger.wrote(100)
    assert reply.cut(0).heard == "$7 🎉 now"
