"""How well the ears hear: `python -m training.ears.evaluate sphinx-ours sphinx-bundled asr/nano`.

A checkpoint's figures bear its folder's name, or another: `before=runs/ears/older`.

Every recogniser hears the same clips (`training.ears.clips`), 80 ms at a time, as a caller's audio
arrives; what counts is the text of its flush half a second after the last word. Word error rates
carry a 90 % interval from resampling sentences. Times are CPU time of the one thread that works, so
that they hold on a machine shared with others.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import torch
import typer
from pydantic import BaseModel
from rapidfuzz.distance import Levenshtein
from rich.progress import track

from asr import sphinx_listener
from asr.checkpoint import load_model
from asr.config import TOKEN_SAMPLES, delay_tokens
from asr.interface import SAMPLE_RATE_HZ, Hypothesis
from asr.offline import step
from asr.steps import Steps
from asr.stream import Listener
from asr.words import StreamingIds
from backbone.tekken import Tekken
from cli.output import run_program
from common.pcm import to_pcm16
from training.ears.clips import CONDITIONS, FAMILIES, TestClip, read, spoiled
from training.ears.corpus import finished_shards
from training.text.conversation import spoken

WEIGHTS = "consolidated.safetensors"
_RESAMPLES = 400

Figures = dict[str, dict[str, dict[str, dict[str, float]]]]
"""Recogniser, family and condition to the figures of `judge`."""


@dataclass(slots=True)
class Heard:
    """What one recogniser made of one clip."""

    words: list[str]
    chunk_s: list[float] = field(default_factory=list)  # work per 80 ms
    flush_s: float = 0.0


class Ear(Protocol):
    """A recogniser under test."""

    def hear(self, pcm: np.ndarray) -> Heard:
        """Recognise one clip as a stream."""


class SphinxEar:
    """pocketsphinx in this process, its work measured without the way to a worker and back.

    Args:
        lm: `"ours"` or `"bundled"`.
    """

    def __init__(self, lm: str) -> None:
        options = sphinx_listener.ListenerOptions(lm=lm)  # type: ignore[arg-type]
        self._listener = sphinx_listener.Listener(options)

    def hear(self, pcm: np.ndarray) -> Heard:
        """Recognise one clip as a stream."""
        self._listener.reset()
        chunk_s = []
        for start in range(0, len(pcm), TOKEN_SAMPLES):
            audio = to_pcm16(pcm[start : start + TOKEN_SAMPLES])
            began = time.thread_time()
            self._listener.feed(audio)
            chunk_s.append(time.thread_time() - began)
        began = time.thread_time()
        said = self._listener.flush()
        return _heard(said, chunk_s, time.thread_time() - began)


class VoxtralEar:
    """A Voxtral Realtime checkpoint, one stream at a time.

    Args:
        folder: The checkpoint.
        delay_ms: How far the text lags.
    """

    def __init__(self, folder: Path, delay_ms: int) -> None:
        tekken = Tekken.load(folder / "tekken.json")
        ids = StreamingIds.of(tekken)
        left = int(tekken.audio["streaming_n_left_pad_tokens"])
        model = load_model(folder, dtype=torch.float32)
        self._steps = Steps(model, ids, 1, left)
        self._delay = delay_tokens(delay_ms)
        self._new = lambda: Listener.on(self._steps, tekken, self._delay)

    @torch.inference_mode()
    def hear(self, pcm: np.ndarray) -> Heard:
        """Recognise one clip as a stream."""
        listener = self._new()
        self._steps.seat(0, self._delay)
        chunk_s = []
        for start in range(0, len(pcm), TOKEN_SAMPLES):
            listener.feed(pcm[start : start + TOKEN_SAMPLES].astype(np.float32))
            began = time.thread_time()
            while listener.ready_tokens():
                step(self._steps, [listener])
            chunk_s.append(time.thread_time() - began)
        began = time.thread_time()
        listener.finish()
        while listener.ready_tokens():
            step(self._steps, [listener])
        return _heard(listener.hypothesis(final=True), chunk_s, time.thread_time() - began)


def _heard(said: Hypothesis, chunk_s: list[float], flush_s: float) -> Heard:
    return Heard(spoken(said.text), chunk_s, flush_s)


def error_rate(pairs: Sequence[tuple[int, int]]) -> tuple[float, float, float]:
    """Word error rate in percent of (wrong words, words) per sentence, and its 90 % interval.

    Wrong words are counted by Levenshtein distance: replaced, missing and invented ones.
    """
    chance = random.Random(0)

    def rate(chosen: Sequence[tuple[int, int]]) -> float:
        return 100 * sum(e for e, _ in chosen) / max(1, sum(n for _, n in chosen))

    resampled = sorted(rate(chance.choices(pairs, k=len(pairs))) for _ in range(_RESAMPLES))
    return rate(pairs), resampled[_RESAMPLES // 20], resampled[-_RESAMPLES // 20]


def judge(ear: Ear, clips: Sequence[TestClip], condition: str) -> dict[str, float]:
    """One cell of the table."""
    pairs, chunks, flushes, audio_s = [], [], [], 0.0
    for number, clip in enumerate(clips):
        heard = ear.hear(spoiled(clip, condition, number))
        reference = clip.text.split()
        pairs.append((Levenshtein.distance(reference, heard.words), len(reference)))
        chunks += heard.chunk_s
        flushes.append(heard.flush_s)
        audio_s += len(clip.pcm) / SAMPLE_RATE_HZ
    rate, low, high = error_rate(pairs)
    return {
        "wer": round(rate, 1),
        "wer_low": round(low, 1),
        "wer_high": round(high, 1),
        "clips": len(clips),
        "rtf": round((sum(chunks) + sum(flushes)) / audio_s, 3),
        "chunk_ms_mean": round(1000 * float(np.mean(chunks)), 1),
        "chunk_ms_p99": round(1000 * float(np.percentile(chunks, 99)), 1),
        "flush_ms_p50": round(1000 * float(np.percentile(flushes, 50)), 1),
        "flush_ms_p95": round(1000 * float(np.percentile(flushes, 95)), 1),
        "flush_ms_max": round(1000 * max(flushes), 1),
    }


def open_ear(name: str, delay_ms: int) -> Ear:
    """`sphinx-ours`, `sphinx-bundled`, or the folder of a checkpoint."""
    if name.startswith("sphinx-"):
        return SphinxEar(name.removeprefix("sphinx-"))
    return VoxtralEar(Path(name), delay_ms)


def sha256(path: Path) -> str:
    """What tells a file from all others, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Evaluation(BaseModel):
    """All that was measured so far.

    Attributes:
        figures: By recogniser, family and condition, as `judge` gives them.
        weights: Of each checkpoint among the recognisers, their file's SHA-256.
    """

    figures: Figures = {}
    weights: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """What is in a file; empty if there is none."""
        return cls.model_validate_json(path.read_text()) if path.exists() else cls()


def never_said(texts: Iterable[str], corpus: Path) -> set[str]:
    """Those sentences that occur in no clip of a corpus."""
    said = []
    for path in finished_shards(corpus):
        with np.load(path) as shard:
            for lines in shard["words"]:
                said.append(" ".join(line.split("\t")[0] for line in str(lines).splitlines()))
    everything = f" {' | '.join(said)} "
    return {text for text in texts if f" {' '.join(spoken(text))} " not in everything}


def main(
    ears: Annotated[
        list[str], typer.Argument(help="sphinx-ours, sphinx-bundled, FOLDER or NAME=FOLDER.")
    ],
    clips: Annotated[Path, typer.Option(help="Made by training.ears.clips.")] = Path(
        "runs/ears/clips.npz"
    ),
    out: Annotated[Path, typer.Option(help="JSON with every figure.")] = Path(
        "runs/ears/evaluation.json"
    ),
    limit: Annotated[int, typer.Option(help="Clips per family; 0 for all.")] = 0,
    conditions: Annotated[
        list[str] | None, typer.Option(help="One only; can be given several times.")
    ] = None,
    families: Annotated[
        list[str] | None, typer.Option(help="One only; can be given several times.")
    ] = None,
    not_in: Annotated[
        Path | None, typer.Option(help="Only sentences that no clip of this corpus says.")
    ] = None,
    delay_ms: Annotated[int, typer.Option(help="For checkpoints.")] = 480,
) -> None:
    """Judge recognisers side by side and print a table; figures are added to OUT."""
    torch.set_num_threads(1)
    for given, known in ((families, FAMILIES), (conditions, CONDITIONS)):
        if unknown := set(given or ()) - set(known):
            raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(known)}.")
    every = read(clips)
    if not_in:
        new = never_said((clip.text for clip in every), not_in)
        every = [clip for clip in every if clip.text in new]
    out.parent.mkdir(parents=True, exist_ok=True)
    found = Evaluation.read(out)
    for given in ears:
        name, _, folder = given.rpartition("=")
        ear = open_ear(folder, delay_ms)
        name = name or Path(folder).name
        if isinstance(ear, VoxtralEar):
            weights = sha256(Path(folder) / WEIGHTS)
            if found.weights.get(name) != weights:  # other ears: what is known is of no use
                found.figures.pop(name, None)
            found.weights[name] = weights
        rows = [(f, c) for f in families or FAMILIES for c in conditions or CONDITIONS]
        for family, condition in track(rows, name):
            chosen = [clip for clip in every if clip.family == family]
            chosen = chosen[: limit or None]
            cells = found.figures.setdefault(name, {}).setdefault(family, {})
            cells[condition] = judge(ear, chosen, condition)
            out.write_text(found.model_dump_json(indent=1))
    typer.echo(table(found.figures))


def table(figures: Figures) -> str:
    """Word error rates as a Markdown table, one column per recogniser."""
    names = list(figures)
    lines = [f"| clips | condition | {' | '.join(names)} |", "|---|---|" + "---:|" * len(names)]
    for family in FAMILIES:
        for condition in CONDITIONS:
            cells = [figures[n].get(family, {}).get(condition) for n in names]
            if any(cells):
                texts = [f"{c['wer']} ({c['wer_low']}–{c['wer_high']})" if c else "" for c in cells]
                lines.append(f"| {family} | {condition} | {' | '.join(texts)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_program(main)
