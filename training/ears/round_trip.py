"""Our voice heard by our ears: `python -m training.ears.round_trip asr/nano sphinx-ours`.

Sentences of the conversation grammar that no training of the ears says are spoken by the nano voice
with all its speakers in turn, and each recogniser hears them as a stream, clean. The words of the
grammar are known to ears and voice alike: this is the loop without the world.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rapidfuzz.distance import Levenshtein
from rich.progress import track

from asr.interface import SAMPLE_RATE_HZ
from cli.output import run_program
from common.resample import resample
from training.ears.clips import grammar_sentences
from training.ears.evaluate import error_rate, never_said, open_ear
from training.text.conversation import spoken
from training.voice.evaluate import say
from tts.engine import VoxtralTtsEngine
from tts.interface import SAMPLE_RATE_HZ as VOICE_RATE_HZ

_SILENCE = np.zeros(SAMPLE_RATE_HZ // 2, np.float32)


async def speak(voice: Path, texts: list[str]) -> list[np.ndarray]:
    """Each text by the next of the checkpoint's voices; float32 at 16 kHz between silences."""
    engine = VoxtralTtsEngine.load(voice)
    names = [info.name for info in engine.voices()]
    try:
        spoken_by = [
            (await say(engine, names[number % len(names)], text)).pcm
            for number, text in enumerate(track(texts, "speaking"))
        ]
    finally:
        await engine.close()
    narrow = [resample(pcm, VOICE_RATE_HZ, SAMPLE_RATE_HZ) for pcm in spoken_by]
    return [np.concatenate([_SILENCE, pcm, _SILENCE]).astype(np.float32) for pcm in narrow]


def main(
    ears: Annotated[list[str], typer.Argument(help="sphinx-ours, sphinx-bundled or a folder.")],
    voice: Annotated[Path, typer.Option(help="Checkpoint that speaks.")] = Path("tts/nano"),
    count: Annotated[int, typer.Option(help="Sentences.")] = 200,
    out: Annotated[Path, typer.Option(help="JSON with every sentence as heard.")] = Path(
        "runs/ears/round-trip.json"
    ),
    not_in: Annotated[
        Path | None, typer.Option(help="Only sentences that no clip of this corpus says.")
    ] = None,
    delay_ms: Annotated[int, typer.Option(help="For checkpoints that hear.")] = 480,
) -> None:
    """Print the word error rate of each recogniser, with its 90 % interval."""
    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    texts = grammar_sentences(count)
    if not_in:
        new = never_said(texts, not_in)
        texts = [text for text in texts if text in new]
    clips = asyncio.run(speak(voice, texts))
    heard: dict[str, list[tuple[str, str]]] = {}
    for name in ears:
        ear, pairs = open_ear(name, delay_ms), []
        heard[name] = []
        for text, pcm in zip(track(texts, name), clips, strict=True):
            said, words = spoken(text), ear.hear(pcm).words
            pairs.append((Levenshtein.distance(said, words), len(said)))
            heard[name].append((" ".join(said), " ".join(words)))
        rate, low, high = error_rate(pairs)
        typer.echo(
            f"{name}: {rate:.1f} % of words wrong ({low:.1f}–{high:.1f}, {len(texts)} sentences)"
        )
    out.write_text(json.dumps(heard, indent=1))


if __name__ == "__main__":
    run_program(main)
