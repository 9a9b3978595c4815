"""`python -m benchmarks.tts_words`: how well a voice knows which of its words have been heard.

Speaks sentences, aligns the audio with the same words by pocketsphinx, and counts at every frame how
many words are over by the voice's own account and by the aligner's. What the agent needs is to be
right to one word. With `--tts espeak`, whose word times are exact, the figures are the aligner's own
error.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import numpy as np
import typer

from cli.output import run_program
from pipelines.engines import open_tts
from training.voice.judge import word_ends
from tts.interface import FRAME_SAMPLES, SAMPLE_RATE_HZ, SpokenWord, TtsEngine

SENTENCES = (
    "good morning and thank you for calling the front desk",
    "we are open every day from eight in the morning until six in the evening",
    "your order left our house this morning and should be with you on friday",
    "i am sorry but i did not understand what you said could you say it again",
    "let me check that for you it will only take a moment",
    "the table by the window is free at seven for two people",
    "please tell me your name and the number of your booking",
    "the weather will be cold and wet tomorrow so take a coat with you",
)


def run(
    tts: Annotated[str, typer.Option(help="As for `parley serve`.")] = "nano",
    seeds: Annotated[int, typer.Option(help="How often each sentence is spoken.")] = 2,
) -> None:
    """Print one JSON object: share of frames right to 0 and 1 words, and errors of word ends."""
    print(json.dumps(asyncio.run(_measure(tts, seeds))))


async def _measure(spec: str, seeds: int) -> dict[str, float]:
    engine = await open_tts(spec)
    counts, ends_ms, failed = [], [], 0
    try:
        for sentence in SENTENCES:
            for seed in range(seeds):
                pcm, words = await _speak(engine, sentence, seed)
                own = np.array([word.end_samples for word in words])
                ends_s = word_ends(pcm, sentence.split())
                if ends_s is None or len(ends_s) != len(own):
                    failed += 1
                    continue
                judged = np.array(ends_s) * SAMPLE_RATE_HZ
                frames = np.arange(FRAME_SAMPLES, len(pcm) + 1, FRAME_SAMPLES)
                over = [(ends[None] <= frames[:, None]).sum(1) for ends in (own, judged)]
                counts.append(over[0] - over[1])
                # The last word ends with the audio; there is nothing to get wrong.
                ends_ms.append(np.abs(own - judged)[:-1] * 1000 / SAMPLE_RATE_HZ)
    finally:
        await engine.close()
    off, late_ms = np.abs(np.concatenate(counts)), np.concatenate(ends_ms)
    return {
        "utterances": len(counts),
        "not_aligned": failed,
        "frames_exact": round(float((off == 0).mean()), 3),
        "frames_within_1_word": round(float((off <= 1).mean()), 4),
        "end_error_median_ms": round(float(np.median(late_ms)), 1),
        "end_error_p95_ms": round(float(np.percentile(late_ms, 95)), 1),
    }


async def _speak(
    engine: TtsEngine, sentence: str, seed: int
) -> tuple[np.ndarray, list[SpokenWord]]:
    stream = await engine.open(seed=seed)
    stream.write(f"{sentence.capitalize()}.")
    stream.end_text()
    pieces, words = [], list[SpokenWord]()
    async for frame in stream.frames():
        pieces.append(frame.pcm)
        words += frame.words
    return np.concatenate(pieces), words


if __name__ == "__main__":
    run_program(run)
