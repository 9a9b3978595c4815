"""`parley transcribe`: recordings to words, as they would appear live."""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from asr.interface import AsrEngine, Hypothesis, Word

_STEP_MS = 80


@dataclass(frozen=True, slots=True)
class _Transcript:
    final: Hypothesis
    audio_s: float
    elapsed_s: float
    tokens: list[int] | None


def _delay_ms(value: int | None) -> int | None:
    if value is not None and value % _STEP_MS:
        raise typer.BadParameter(f"{value} is not a multiple of {_STEP_MS}.")
    return value


def transcribe(
    files: Annotated[
        list[Path], typer.Argument(help="Recordings: wav, flac, mp3, opus; any rate.")
    ],
    asr: Annotated[
        str, typer.Option(help="Ears: sphinx (the default), nano, mistral or a server's address.")
    ] = "",
    checkpoint: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of a Voxtral Realtime checkpoint."),
    ] = None,
    delay_ms: Annotated[
        int | None,
        typer.Option(
            min=80,
            max=2400,
            callback=_delay_ms,
            help="How far words trail the voice, in steps of 80.",
        ),
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime",
            help="Feed the audio no faster than it was spoken, as remote ears always get it.",
        ),
    ] = False,
    tokens: Annotated[
        bool,
        typer.Option(
            "--tokens",
            help="Add the raw token ids, one per 80 ms, on a line below; nano's by default.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per file instead of text.")
    ] = False,
) -> None:
    """Write down what recordings say.

    Words appear as they would in a live call. With several files each starts on a line of its own.

    Examples:
        parley transcribe interview.mp3

        parley transcribe --asr nano --delay-ms 480 --json call.wav | jq .text
    """
    if asr and checkpoint:
        raise typer.BadParameter("--asr and --checkpoint both name ears: give one of them.")
    asyncio.run(_transcribe_all(files, asr, checkpoint, delay_ms, realtime, tokens, as_json))


async def _transcribe_all(
    files: list[Path],
    asr: str,
    checkpoint: Path | None,
    delay_ms: int | None,
    realtime: bool,
    tokens: bool,
    as_json: bool,
) -> None:
    from asr.interface import SAMPLE_RATE_HZ
    from cli.output import show_error
    from common.audiofile import read_audio
    from common.errors import AudioError, ParleyError
    from pipelines.engines import DEFAULT_ASR, open_asr

    spec = str(checkpoint) if checkpoint else asr or ("nano" if tokens else DEFAULT_ASR)
    engine = await open_asr(spec, delay_ms=delay_ms, max_streams=1)
    unread = 0
    try:
        if delay_ms and not engine.info.delay_ms:
            raise ParleyError(
                f"The words of {engine.info.name} have no delay to choose.",
                "Leave out --delay-ms, or name other ears with --asr.",
            )
        for path in files:
            try:
                pcm = read_audio(path, SAMPLE_RATE_HZ)
            except AudioError as error:  # the others are no worse for it
                show_error(error)
                unread += 1
                continue
            show = _ignore if as_json else _Live().show
            result = await _transcribe(engine, pcm, delay_ms, realtime, tokens, show)
            if as_json:
                typer.echo(json.dumps(_as_json(path, engine, delay_ms, result)))
                continue
            typer.echo()
            if result.tokens is not None:
                typer.echo(" ".join(map(str, result.tokens)))
    finally:
        await engine.close()
    if unread:
        raise typer.Exit(1)


async def _transcribe(
    engine: AsrEngine,
    pcm: np.ndarray,
    delay_ms: int | None,
    realtime: bool,
    tokens: bool,
    show: Callable[[Hypothesis], None],
) -> _Transcript:
    from asr.interface import SAMPLE_RATE_HZ
    from asr.remote.stream import RemoteAsrStream
    from common.errors import ParleyError

    stream = await engine.open(delay_ms=delay_ms)
    if tokens and not hasattr(stream, "token_ids"):
        await stream.close()
        raise ParleyError(
            "These ears have no tokens.", "Use --asr nano or --checkpoint with --tokens."
        )
    # Remote ears' words have no times but those at which they arrive, and their line has its limits.
    realtime = realtime or isinstance(stream, RemoteAsrStream)
    whole = WholeTranscript()
    began = time.perf_counter()

    async def follow() -> None:
        async for hypothesis in stream.events():
            show(whole.with_older(hypothesis))

    follower = asyncio.create_task(follow())
    try:
        chunk = SAMPLE_RATE_HZ * _STEP_MS // 1000 if realtime else 10 * SAMPLE_RATE_HZ
        for start in range(0, len(pcm), chunk):
            stream.feed(pcm[start : start + chunk])
            due = began + (start + chunk) / SAMPLE_RATE_HZ
            await asyncio.sleep(max(0.0, due - time.perf_counter()) if realtime else 0)
        final = whole.with_older(await stream.flush())
        elapsed_s = time.perf_counter() - began
        show(final)
        ids = list(stream.token_ids()) if tokens else None  # type: ignore[attr-defined]
    finally:
        await stream.close()
        await follower
    return _Transcript(final, len(pcm) / SAMPLE_RATE_HZ, elapsed_s, ids)


def _as_json(
    path: Path, engine: AsrEngine, delay_ms: int | None, result: _Transcript
) -> dict[str, Any]:
    from asr.interface import SAMPLE_RATE_HZ

    words = [
        {
            "word": word.text,
            "start_s": round(word.start_samples / SAMPLE_RATE_HZ, 3),
            "end_s": round(word.end_samples / SAMPLE_RATE_HZ, 3),
            "confidence": round(word.confidence, 3),
        }
        for word in result.final.words
    ]
    report = {
        "file": str(path),
        "text": result.final.text,
        "words": words,
        "audio_s": round(result.audio_s, 3),
        "rtf": round(result.elapsed_s / result.audio_s, 4) if result.audio_s else None,
        "delay_ms": delay_ms or engine.info.delay_ms,
        "asr": engine.info.name,
    }
    if result.tokens is not None:
        report["tokens"] = result.tokens
    return report


def _ignore(_: Hypothesis) -> None:
    pass


class WholeTranscript:
    """All the words of a recording: ears keep only the latest few hundred of what goes on for long."""

    def __init__(self) -> None:
        self._stable: list[Word] = []

    def with_older(self, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis with the words before it that the ears have forgotten."""
        words = hypothesis.words
        older = self._stable
        if words:
            older = older[: bisect_left(older, words[0].start_samples, key=_start_samples)]
        self._stable = older + list(words[: hypothesis.stable])
        stable = len(older) + hypothesis.stable
        return replace(hypothesis, words=(*older, *words), stable=stable)


def _start_samples(word: Word) -> int:
    return word.start_samples


class _Live:
    """Prints stable words once, one after the other."""

    def __init__(self) -> None:
        self._shown = 0

    def show(self, hypothesis: Hypothesis) -> None:
        stable = len(hypothesis.words) if hypothesis.final else hypothesis.stable
        for word in hypothesis.words[self._shown : stable]:
            typer.echo((" " if self._shown else "") + word.text, nl=False)
            self._shown += 1
