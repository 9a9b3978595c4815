"""`parley say`: a text to a wav, with the voice that speaks in calls."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from tts.interface import SpokenWord, TtsEngine


@dataclass(frozen=True, slots=True)
class _Spoken:
    pcm: np.ndarray
    words: list[SpokenWord]
    frames: int
    first_frame_s: float
    elapsed_s: float
    codes: np.ndarray | None


def say(
    text: Annotated[str, typer.Argument(help="What to say; read from stdin when left out.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The wav to write.")] = Path("out.wav"),
    voice: Annotated[str, typer.Option(help="See `parley voice list`.")] = "",
    tts: Annotated[
        str, typer.Option(help="Voice model: nano, espeak, mistral or a server's address.")
    ] = "nano",
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder of a Voxtral TTS checkpoint.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**63 - 1, help="The same seed says it the same way."),
    ] = None,
    codes: Annotated[
        Path | None, typer.Option(help="Also write the codes, as `parley codec decode` reads them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures and word times.")] = False,
) -> None:
    """Speak a text into a 24 kHz wav. Plays nothing.

    Examples:
        parley say "Good morning, how can I help?" -o morning.wav

        parley say --voice ruth --seed 7 --json < letter.txt | jq .rtf
    """
    if not text and not sys.stdin.isatty():
        text = sys.stdin.read()
    asyncio.run(_say(text, out, voice or None, str(checkpoint or tts), seed, codes, as_json))


async def _say(
    text: str,
    out: Path,
    voice: str | None,
    spec: str,
    seed: int | None,
    codes: Path | None,
    as_json: bool,
) -> None:
    from cli.output import check_writable
    from common.audiofile import write_wav
    from common.errors import ParleyError
    from tts.interface import SAMPLE_RATE_HZ

    if not text.strip():
        raise ParleyError("There is nothing to say.", "Give a text, or send one to stdin.")
    if out.suffix.lower() != ".wav":
        raise ParleyError(f"{out} is no name for a wav.", "End it in .wav.")
    for path in (out, codes):
        if path is not None:
            check_writable(path)
    began = time.perf_counter()
    engine = await _open(spec)
    try:
        load_s = time.perf_counter() - began
        spoken = await _speak(engine, text, voice, seed, progress=sys.stderr.isatty())
        voice = voice or engine.voices()[0].name
    finally:
        await engine.close()
    if not spoken.frames:
        raise ParleyError(
            "Nothing in this text can be spoken.", "Give words of the voice's language."
        )
    write_wav(out, spoken.pcm, SAMPLE_RATE_HZ)
    if codes is not None:
        if spoken.codes is None:  # the speech is kept: it may have been paid for
            raise ParleyError(f"{engine.info.name} has no codes.", "Use a Voxtral TTS checkpoint.")
        _save_codes(codes, spoken.codes)
    seconds = len(spoken.pcm) / SAMPLE_RATE_HZ
    silent = [word.text for word in spoken.words if word.start_samples == word.end_samples]
    if unsaid := [text for text in silent if any(map(str.isalnum, text))]:
        typer.echo(f"Not said, for want of a way to say it: {' '.join(unsaid)}", err=True)
    if as_json:
        report = _report(spoken, seconds) | {"voice": voice, "load_s": round(load_s, 3)}
        typer.echo(json.dumps({"file": str(out), "tts": engine.info.name, **report}))
    else:
        typer.echo(f"{out}: {seconds:.1f} s, said by {voice} in {spoken.elapsed_s:.1f} s")


async def _open(spec: str) -> TtsEngine:
    from pipelines.engines import open_tts

    if (folder := _checkpoint_folder(spec)) is None:
        return await open_tts(spec)
    from tts.engine import VoxtralTtsEngine

    # Nobody listens while it is made: never wait for playback to catch up.
    return VoxtralTtsEngine.load(folder, max_streams=1, ahead_s=float("inf"))


def _checkpoint_folder(spec: str) -> Path | None:
    from pipelines.engines import NANO_TTS

    folder = NANO_TTS if spec == "nano" else Path(spec).expanduser()
    return folder if (folder / "params.json").is_file() else None


async def _speak(
    engine: TtsEngine, text: str, voice: str | None, seed: int | None, *, progress: bool
) -> _Spoken:
    import numpy as np
    from rich.console import Console

    from tts.interface import SAMPLE_RATE_HZ

    stream = await engine.open(voice=voice, seed=seed)
    began = time.perf_counter()
    stream.write(text)
    stream.end_text()
    pieces: list[np.ndarray] = []
    words: list[SpokenWord] = []
    first_s = 0.0
    with Console(stderr=True, quiet=not progress).status("speaking") as status:
        async for frame in stream.frames():
            first_s = first_s or time.perf_counter() - began
            pieces.append(frame.pcm)
            words += frame.words
            status.update(f"{(frame.start_samples + len(frame.pcm)) / SAMPLE_RATE_HZ:.0f} s spoken")
    elapsed_s = time.perf_counter() - began
    pcm = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    codes = getattr(stream, "codes", None)
    return _Spoken(pcm, words, len(pieces), first_s, elapsed_s, codes)


def _save_codes(path: Path, codes: np.ndarray) -> None:
    import numpy as np

    with path.open("wb") as file:  # np.save would add .npy to a name of one's own choosing
        np.save(file, codes)


def _report(spoken: _Spoken, seconds: float) -> dict[str, Any]:
    from tts.interface import SAMPLE_RATE_HZ

    return {
        "frames": spoken.frames,
        "audio_s": round(seconds, 3),
        "first_frame_ms": round(spoken.first_frame_s * 1000, 1),
        "rtf": round(spoken.elapsed_s / seconds, 4),
        "words": [
            {
                "word": word.text,
                "start_s": round(word.start_samples / SAMPLE_RATE_HZ, 3),
                "end_s": round(word.end_samples / SAMPLE_RATE_HZ, 3),
            }
            for word in spoken.words
        ],
    }
