"""`python -m benchmarks.loop_work`: what runs on the event loop itself, piece by piece.

Everything that computes has a thread or a process of its own but for these, which are called so
often, or need so little, that handing them over would cost more. In core-milliseconds on one core;
what the loop can spare is well below the 20 ms between two packets of a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table

from agent.clauses import ClauseSplitter
from agent.own_voice import OwnVoiceGate
from agent.persona import load_persona, small_talk
from agent.script import Dialogue, ScriptPlayer
from cli.output import run_program
from tts.speakable import speakable

_CLAUSE = "On May 3, 2026 we paid $1,234.56 for 20 km to example.com, and Dr. Smith was late. "
_QUESTIONS = ("how do you work", "what is the weather", "something else entirely different")
_FRAMES = 1_000
_TURNS = 60


def main() -> None:
    """Measure each piece and print a table."""
    table = Table(*("on the event loop", "each time", "p50, ms", "p99, ms"))
    for name, often, work in (
        ("own-voice gate", "20 ms of a call", _gate()),
        ("clauses of a reply", "token", _clauses()),
        ("text made speakable", "clause of 80 characters", _speakable()),
        ("offline script", "turn", _script()),
    ):
        took_ms = [1000 * _took_s(step) for step in work]
        p50, p99 = np.percentile(took_ms, [50, 99])
        table.add_row(name, often, f"{p50:.2f}", f"{p99:.2f}")
    Console().print(table)


def _took_s(step: Callable[[], object]) -> float:
    began_s = time.thread_time()
    step()
    return time.thread_time() - began_s


def _gate() -> Iterable[Callable[[], object]]:
    """An echo 100 ms late and 12 dB quieter, found and followed."""
    gate, chance = OwnVoiceGate(), np.random.default_rng(0)
    said = chance.standard_normal((_FRAMES + 5, 480)) * 0.1
    for now in range(_FRAMES):
        heard = 0.25 * said[now][::3].repeat(2) + 1e-3 * chance.standard_normal(320)
        yield partial(_hear, gate, said[now + 5], heard)


def _hear(gate: OwnVoiceGate, sent: np.ndarray, heard: np.ndarray) -> None:
    gate.sent(sent)
    gate.hear(heard)


def _clauses() -> Iterable[Callable[[], object]]:
    splitter = ClauseSplitter()
    for token in (_CLAUSE * 100).split(" "):
        yield partial(splitter.push, f"{token} ")


def _speakable() -> Iterable[Callable[[], object]]:
    for number in range(_TURNS):
        yield partial(speakable, f"{number}. {_CLAUSE}")


def _script() -> Iterable[Callable[[], object]]:
    persona, now = load_persona("parley"), datetime.now()
    player, state = ScriptPlayer(persona.script, small_talk()), Dialogue()
    for number in range(_TURNS):
        yield partial(player.reply, state, _QUESTIONS[number % 3], now)


if __name__ == "__main__":
    run_program(main)
