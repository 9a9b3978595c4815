"""Whatever caller and engines do, these things hold. `any_call.py` makes them do it."""

from __future__ import annotations

import asyncio
import random
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loguru import logger

from agent.eventlog import EventLog
from agent.heard import CUT_NOTE
from agent.persona import Persona
from agent.replay import replay
from pipelines.conversation import Conversation
from pipelines.engines import Engines
from pipelines.phone.line import PhoneLine
from tests.pipelines.any_call import (
    Brain,
    Caller,
    Chaos,
    Ears,
    Judges,
    VirtualTime,
    Voice,
    words_in,
)

_REST_S = 120.0
_QUIET_S = 5.0  # longer than the ears are late
_UNREMEMBERED = {"hmm", "moment", "please", "patience"}


def persona(rng: random.Random) -> Persona:
    here = "tests.pipelines.any_call"
    return Persona(
        name="any",
        pace=rng.choice(["eager", "balanced", "patient"]),
        greeting=["hello caller"],
        goodbye=["farewell"],
        disclosure=rng.choice(["", "", "this call is noted"]),
        idle=["anybody there?", "still there?"],
        idle_after_s=rng.choice([0, 7, 15]),
        acknowledge=["hmm"],
        filler=["patience"],
        failure="sorry no answer",
        tools=[f"{here}:look_up", f"{here}:note_down", f"{here}:end_call"],
    )


class Call:
    """One call by its seed, and what is known of it."""

    def __init__(self, seed: int, log: Path):
        self.rng = rng = random.Random(seed)
        self.judges = Judges(rng)
        self.caller = Caller(rng, self.judges)
        self.voice = Voice(rng)
        self.ears = Ears(rng, self.caller.said)
        self.brain = Brain(rng)
        self.page = Page()
        self.log = log
        self.entries: list[dict[str, Any]] = []
        self.at_samples = 0
        self.heard = np.zeros(1024, int)
        self.order: list[int] = []

    async def run(self) -> None:
        rng = self.rng
        log = EventLog(self.log, with_words=True)
        log.subscribe(self._note)
        self.call = Conversation(Engines(self.ears, self.voice), self.brain, persona(rng), log=log)
        await self.call.start()
        self.call.greet()
        await self._misbehave(rng.uniform(2.0, 30.0))
        stays = rng.random() < 0.8 and not self.call.ended.is_set()
        if stays:
            await self._come_to_rest()
            await asyncio.sleep(0.1)
        self.complete = stays and self.call.end_reason in ("", "goodbye")
        await self.call.close()
        await asyncio.sleep(0)

    async def _misbehave(self, seconds: float) -> None:
        rng, keys = self.rng, PhoneLine(self.call)
        until = self.at_samples + 16_000 * seconds
        often = rng.choice([1, 1, 1, 4])
        while self.at_samples < until and not self.call.ended.is_set():
            await self._tick()
            what = rng.random() / often
            if what < 0.001:
                self.call.typed(rng.choice(["hello", "what about Paris?", "goodbye", " "]))
            elif what < 0.002:
                self.call.stop_pressed()
            elif what < 0.003:
                keys.key(rng.choice("0123456789*#"))
            elif what < 0.0035:  # on hold
                await asyncio.sleep(rng.uniform(0.1, 15.0))
            elif what < 0.005:  # the machine stalls, then all comes at once
                for _ in range(rng.randint(2, 100)):
                    self._frame()

    async def _come_to_rest(self) -> None:
        """Nobody says anything any more."""
        until = self.at_samples + 16_000 * _REST_S
        rested_from = self.at_samples
        while not self.call.ended.is_set() and self.at_samples < rested_from + 16_000 * _QUIET_S:
            assert self.at_samples < until, "somebody waits for ever"
            await self._tick(silent=True)
            if not self.call.at_rest:
                rested_from = self.at_samples

    async def _tick(self, *, silent: bool = False) -> None:
        self._frame(silent=silent)
        await asyncio.sleep(0.02)

    def _frame(self, *, silent: bool = False) -> None:
        self.at_samples += 320
        self.call.hear(self.caller.speak(self.at_samples, silent=silent))
        pcm = self.call.pull(480)
        if pcm is not None:
            counts = words_in(pcm)
            self.heard += counts
            self.order += [n for n in np.flatnonzero(counts > 20) if n not in self.order]

    def _note(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)
        self.page.take(entry)
        if entry["kind"] in ("decision", "agent_text", "state"):
            self.caller.react(self.at_samples)

    def heard_words(self, *, remembered: bool = False) -> re.Pattern[str]:
        """What may be said to have been heard: words that were cut about in the middle may be missing."""
        pattern = ""
        for number in self.order:
            word, length = self.voice.words[number]
            word = bare(word)
            share = self.heard[number] / length
            if share < 0.35 or (remembered and word in _UNREMEMBERED):
                continue
            sure = share > 0.65 and number in self.voice.told
            pattern += f"{word} " if sure else f"({word} )?"
        return re.compile(pattern)


class Page:
    """What `web/static/js/transcript.js` shows."""

    def __init__(self) -> None:
        self.replies: dict[int, list[dict[str, Any]]] = {}
        self.order: list[dict[str, Any]] = []
        self.state = "listening"

    def take(self, event: dict[str, Any]) -> None:
        match event:
            case {"kind": "caller_words", "turn": turn, "final": True}:
                reply = self._reply(turn)
                if not reply["spoken"]:
                    reply["words"].clear()
            case {"kind": "agent_text", "turn": turn, "text": text}:
                if self._reply(turn)["ended"]:
                    self._another(turn)
                self._reply(turn)["words"] += text.split()
            case {"kind": "agent_words", "turn": turn, "spoken": spoken}:
                reply = self._reply(turn)
                assert not reply["ended"], "words of a reply that had ended"
                assert spoken <= len(reply["words"]), "more words than were shown"
                self._heard(reply, spoken)
            case {"kind": "agent_cut", "turn": turn, "heard": heard, "unheard": unheard}:
                reply = self._reply(turn)
                if reply["ended"]:  # all of it was heard
                    assert not unheard
                elif heard.strip():
                    assert reply["words"] == f"{heard} {unheard}".split()
                    self._heard(reply, len(heard.split()))
                    reply["ended"] = True
                else:
                    reply["words"].clear()
            case {"kind": "state", "state": state}:
                self.state = state
                if state != "listening":
                    return
                for replies in self.replies.values():
                    reply = replies[-1]
                    if reply["words"] and reply["spoken"] >= len(reply["words"]):
                        reply["ended"] = True

    def heard(self) -> str:
        shown = [reply["words"][: reply["spoken"]] for reply in self.order]
        return flat(word for words in shown for word in words)

    def unended(self) -> list[dict[str, Any]]:
        every = [reply for replies in self.replies.values() for reply in replies]
        return [reply for reply in every if reply["words"] and not reply["ended"]]

    def _heard(self, reply: dict[str, Any], words: int) -> None:
        reply["spoken"] = words
        if reply not in self.order:
            self.order.append(reply)

    def _reply(self, turn: int) -> dict[str, Any]:
        return self.replies[turn][-1] if turn in self.replies else self._another(turn)

    def _another(self, turn: int) -> dict[str, Any]:
        reply = {
            "turn": turn,
            "number": sum(map(len, self.replies.values())),
            "words": [],
            "spoken": 0,
            "ended": False,
        }
        self.replies.setdefault(turn, []).append(reply)
        return reply


def flat(words: Iterable[str]) -> str:
    return "".join(f"{bare(word)} " for word in words if bare(word))


def bare(word: str) -> str:
    return re.sub(r"\W", "", word).lower()


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """What was logged as an error, but for what the engines do."""
    found: list[str] = []

    def take(message: Any) -> None:
        error = message.record["exception"]
        by_design = error and isinstance(error.value, Chaos)
        if not by_design and message.record["function"] != "push_error_frame":
            found.append(str(message))

    logger.remove()
    sink = logger.add(take, level="ERROR")
    yield found
    logger.remove(sink)
    logger.add(sys.stderr)


@pytest.fixture
def play(monkeypatch, tmp_path, errors):
    def play(seed: int) -> Call:
        log = tmp_path / f"{seed}.jsonl"
        call = Call(seed, log)
        monkeypatch.setattr("pipelines.listener.VoiceJudge", lambda: call.judges)
        monkeypatch.setattr("pipelines.listener.TurnJudge", lambda: call.judges)
        monkeypatch.setattr("pipelines.conversation.warm_judges", lambda: None)
        # The disk is a real one and knows no virtual time.
        monkeypatch.setattr("common.privatefile._LAST_WORDS_S", None)
        with asyncio.Runner(loop_factory=VirtualTime) as runner:
            runner.run(call.run())
            left = asyncio.all_tasks(runner.get_loop())
        call.left = left
        return call

    return play


def check(call: Call, errors: list[str]) -> None:
    assert errors == []
    # Nothing is left behind.
    left = {task.get_name() for task in call.left}
    assert {name for name in left if "_speculation_timeout" not in name} == set()  # pipecat's: 5 s
    assert (call.voice.streams, call.ears.open_streams, call.brain.running) == (set(), 0, 0)
    # The log replays.
    assert replay(call.log).difference == ""
    if call.complete:
        # What is remembered is what was heard, and what was asked.
        memory = call.call.context.get_messages()
        said = " ".join(str(m.get("content") or "") for m in memory if m["role"] == "assistant")
        remembered = flat(said.replace(CUT_NOTE, " ").split())
        assert call.heard_words(remembered=True).fullmatch(remembered), remembered
        # So does the page.
        assert call.heard_words().fullmatch(call.page.heard()), call.page.heard()
        assert call.page.unended() == []
        assert call.page.state == "listening" or call.call.end_reason == "goodbye"
        assert [m["content"] for m in memory if m["role"] == "user"] == committed(call)
    unanswered(call)


def committed(call: Call) -> list[str]:
    texts: list[str] = []
    speculating = False
    for entry in call.entries:
        if entry["kind"] != "decision":
            continue
        match entry["type"]:
            case "Speculate":
                speculating = True
            case "Commit":
                speculating = False
                texts.append(entry["text"])
            case "DropSpeculation":
                if not speculating:
                    texts.pop()
                speculating = False
    return texts


def unanswered(call: Call) -> None:
    """Every turn is answered, or people are told why not, or the caller did not wait for it."""
    waits = None
    for entry in call.entries:
        kind = entry.get("type") or entry["kind"]
        if kind == "Commit":
            waits = entry
        elif kind in ("DropSpeculation", "TurnStarted", "Interrupt", "error", "bye") or (
            kind == "agent_words" and waits and entry["turn"] > 0
        ):
            waits = None
    assert waits is None or not call.complete, f"nobody answered {waits}"


@pytest.mark.parametrize("seed", [0, 3, 8, 10, 13, 34])
def test_any_call(seed: int, play, errors) -> None:
    check(play(seed), errors)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(400))
def test_many_calls(seed: int, play, errors) -> None:
    check(play(seed), errors)
