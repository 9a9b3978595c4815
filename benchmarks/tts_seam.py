"""`python -m benchmarks.tts_seam`: what is heard where one clause ends and the next begins.

The same pairs of clauses are spoken twice, the second clause carrying on from the frames of the first
or starting afresh from the voice. The codec's state goes on across the seam either way. Beside each
figure stands the same figure at places inside clauses, which is what it should be like.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from cli.output import run_program
from pipelines.engines import NANO_TTS
from tts.engine import VoxtralTtsEngine
from tts.interface import FRAME_SAMPLES, SAMPLE_RATE_HZ

CLAUSES = (
    "Good morning,",
    "this is the front desk.",
    "I can help you with a booking,",
    "or answer a question about our opening hours.",
    "We are open every day,",
    "from eight in the morning until six.",
    "Let me check that for you,",
    "it will only take a moment.",
)
NEAR_SAMPLES = SAMPLE_RATE_HZ * 3 // 10
PITCH_HZ = (60.0, 400.0)
WINDOW_SAMPLES = SAMPLE_RATE_HZ * 4 // 100
QUIET_DBFS = -45.0
VOICED = 0.5


def run(
    checkpoint: Annotated[
        Path, typer.Option(help="Folder of a Voxtral TTS checkpoint.")
    ] = NANO_TTS,
    seeds: Annotated[int, typer.Option(help="How often each pair is spoken.")] = 3,
) -> None:
    """Measure click, level and pitch at seams and inside clauses; one JSON object per way."""
    for carry_on in (True, False):
        figures = asyncio.run(_measure(checkpoint, seeds, carry_on))
        print(json.dumps({"carry_on": carry_on} | figures))


async def _measure(checkpoint: Path, seeds: int, carry_on: bool) -> dict[str, float]:
    engine = VoxtralTtsEngine.load(
        checkpoint, max_streams=1, ahead_s=float("inf"), carry_on=carry_on
    )
    found: dict[str, list[float]] = defaultdict(list)
    try:
        for seed in range(seeds):
            for pair in zip(CLAUSES[::2], CLAUSES[1::2], strict=True):
                pcm, seam = await _speak(engine, pair, seed)
                inside = (seam // 2, (seam + len(pcm)) // 2)
                for where, places in (("seam", (seam,)), ("inside", inside)):
                    for name, value in _figures(pcm, places):
                        found[f"{name}, {where}"].append(value)
    finally:
        await engine.close()
    return {name: round(float(np.median(values)), 3) for name, values in sorted(found.items())}


async def _speak(
    engine: VoxtralTtsEngine, pair: tuple[str, str], seed: int
) -> tuple[np.ndarray, int]:
    """Speak two clauses; returns the audio and the sample at which the second begins."""
    stream = await engine.open(seed=seed)
    for clause in pair:
        stream.write(clause)
    stream.end_text()
    pieces, words, seam = [], 0, 0
    async for frame in stream.frames():
        pieces.append(frame.pcm)
        words += len(frame.words)
        if not seam and words >= len(pair[0].split()):
            seam = frame.start_samples  # the first clause's last word comes with the next frame
    return np.concatenate(pieces), seam


def _figures(pcm: np.ndarray, places: Iterable[int]) -> Iterable[tuple[str, float]]:
    for at in places:
        near = pcm[max(0, at - FRAME_SAMPLES) : at + FRAME_SAMPLES]
        # 1 is the largest step between neighbouring samples anywhere near.
        yield "click", abs(pcm[at] - pcm[at - 1]) / (np.abs(np.diff(near)).max() + 1e-9)
        before, after = _speech(pcm[:at][::-1])[::-1], _speech(pcm[at:])
        if len(before) and len(after):
            yield "level jump dB", abs(_level_dbfs(before) - _level_dbfs(after))
            pitches = _pitch_hz(before), _pitch_hz(after)
            if all(pitches):
                yield "pitch jump semitones", abs(12 * np.log2(pitches[1] / pitches[0]))


def _speech(pcm: np.ndarray) -> np.ndarray:
    """The first 300 ms of speech in `pcm`, pauses left out."""
    windows = pcm[: len(pcm) // WINDOW_SAMPLES * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES)
    loud = [window for window in windows if _level_dbfs(window) > QUIET_DBFS]
    return np.concatenate(loud)[:NEAR_SAMPLES] if loud else np.zeros(0, np.float32)


def _level_dbfs(pcm: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(pcm, dtype=np.float64)) + 1e-12))


def _pitch_hz(pcm: np.ndarray) -> float:
    """Median pitch of the voiced windows by autocorrelation; 0 when none is voiced."""
    shortest, longest = (round(SAMPLE_RATE_HZ / hz) for hz in reversed(PITCH_HZ))
    found = []
    for start in range(0, len(pcm) - 2 * longest, WINDOW_SAMPLES):
        window = pcm[start : start + 2 * longest] - pcm[start : start + 2 * longest].mean()
        spectrum = np.fft.rfft(window, 4 * longest)
        correlation = np.fft.irfft(spectrum * spectrum.conj())[: longest + 1]
        lag = shortest + int(correlation[shortest:].argmax())
        if correlation[lag] > VOICED * correlation[0]:
            found.append(SAMPLE_RATE_HZ / lag)
    return float(np.median(found)) if found else 0.0


if __name__ == "__main__":
    run_program(run)
