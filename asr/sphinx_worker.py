"""The process that runs one `Listener` for `asr.sphinx`.

pocketsphinx holds Python's interpreter lock while it decodes: in the caller's process it would
stop the event loop, and with it the audio, for tens of milliseconds. So each listener has a
process of its own. It ends when its standard input does, whatever became of its parent.

Commands on standard input: one letter, a 64-bit little-endian number, and for audio that many
bytes. Answers on standard output: one JSON object per line.

    A n + n bytes   audio, 16-bit samples
    F id            flush; answered with that id
    C samples       commit
    R 0             a new caller
"""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import asdict
from typing import BinaryIO

from asr.interface import Hypothesis, Word
from asr.sphinx_listener import Listener

HEADER = struct.Struct("<cQ")


def encode(hypothesis: Hypothesis, flush_id: int | None) -> bytes:
    """One hypothesis as a line of JSON."""
    words = [
        [w.text, w.start_samples, w.end_samples, round(w.confidence, 4)] for w in hypothesis.words
    ]
    return json.dumps({**asdict(hypothesis), "words": words, "flush_id": flush_id}).encode() + b"\n"


def decode(line: bytes) -> tuple[Hypothesis, int | None]:
    """The inverse of `encode`."""
    fields = json.loads(line)
    flush_id = fields.pop("flush_id")
    words = tuple(Word(*word) for word in fields.pop("words"))
    return Hypothesis(words=words, **fields), flush_id


def serve(listener: Listener, commands: BinaryIO, answers: BinaryIO) -> None:
    """Obey `commands` until they end; write a hypothesis whenever it has changed."""
    told: tuple[object, ...] | None = None

    def tell(hypothesis: Hypothesis, flush_id: int | None) -> None:
        answers.write(encode(hypothesis, flush_id))
        answers.flush()

    tell(listener.hypothesis(), None)  # ready
    while header := commands.read(HEADER.size):
        command, number = HEADER.unpack(header)
        if command == b"A":
            listener.feed(commands.read(number))
        elif command == b"C":
            listener.commit(number)
        elif command == b"R":
            listener.reset()
            told = None
        elif command == b"F":
            tell(listener.flush(), number)
        hypothesis = listener.hypothesis()
        # The last word's end creeps on with every frame, and so does a pause: told when a word
        # changes or another quarter of the pause has passed, not fifty times a second.
        news = (hypothesis.text, hypothesis.stable, int(4 * (hypothesis.pause or 0)))
        if news != told:
            told = news
            tell(hypothesis, None)


if __name__ == "__main__":
    serve(Listener(), sys.stdin.buffer, sys.stdout.buffer)
