"""What a nano voice checkpoint can and cannot do, through the same engine a call uses.

Sentences come from the conversation grammar under a seed that training never used; every one is also
spoken by the teacher, so each figure has the teacher's beside it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from common.audiofile import write_wav
from training.text.conversation import Conversation, held_out
from training.voice.corpus import speak
from training.voice.flite import Manner, Segment, Teacher
from training.voice.judge import (
    blemishes,
    final_rise_semitones,
    periodicity,
    plain_words,
    rate,
    sounding_until_s,
    speaker_traits,
    word_ends,
    word_errors,
)
from training.voice.speakers import SHIPPED, held_out_speakers, training_speakers
from tts.checkpoint import load_codec
from tts.codec import Codec
from tts.engine import VoxtralTtsEngine
from tts.interface import FRAME_SAMPLES, SAMPLE_RATE_HZ, SpokenWord
from tts.schedule import FRAME_S
from tts.voices import VoiceShelf, consent_of

_SEED = 20_261_121
_TOGETHER = 4
RUNAWAY_FRAMES_PER_CHARACTER = 1.6
"""Speech takes about 0.9; a clause cut off by the engine's own limit has taken 3."""
_CLONE_TAKES = 5
_CLONE_TEXT = (
    "Thank you for calling. I have found your order, and it will arrive on Thursday morning."
)
_REFERENCE_TEXT = (
    "Good evening. I would like to book a table for four people, if you have one by the window."
)


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance of the engine.

    Attributes:
        pcm: float32 [samples] at 24 kHz.
        words: As released.
        first_frame_s: From text to first frame.
        ended: Whether it ended by itself, judged by its length.
    """

    pcm: np.ndarray
    words: tuple[SpokenWord, ...]
    first_frame_s: float
    ended: bool


def sentences(count: int) -> list[str]:
    """Agent turns of the grammar that are kept for tests."""
    talk, found = Conversation(_SEED), []
    while len(found) < count:
        text = talk.say("agent")
        if held_out(text) and text not in found:
            found.append(text)
    return found


async def say(engine: VoxtralTtsEngine, voice: str, text: str, seed: int = 1) -> Spoken:
    """Speak one text to its end."""
    stream = await engine.open(voice=voice, seed=seed)
    began_s = time.perf_counter()
    stream.write(text)
    stream.end_text()
    first_s, pieces, words = 0.0, [], []
    async for frame in stream.frames():
        first_s = first_s or time.perf_counter() - began_s
        pieces.append(frame.pcm)
        words += frame.words
    pcm = np.concatenate(pieces) if pieces else np.zeros(FRAME_SAMPLES, np.float32)
    longest = RUNAWAY_FRAMES_PER_CHARACTER * len(text) + 20
    ended = 0 < len(pcm) // FRAME_SAMPLES < longest
    return Spoken(pcm, tuple(words), first_s, ended)


def _true_word_ends(segments: Sequence[Segment]) -> dict[int, float]:
    """When each white-space token ends, seconds."""
    return {segment.token: segment.end_s for segment in segments if segment.token >= 0}


async def evaluate(folder: Path, *, per_voice: int, ends: int) -> dict[str, Any]:
    """Measure a checkpoint.

    Args:
        folder: The checkpoint.
        per_voice: Sentences per shipped voice for word error, length, levels and speed.
        ends: Further sentences, spoken only to see that they end.

    Returns:
        Figures by name, the teacher's and the codec's beside the model's.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as own:
        engine = VoxtralTtsEngine.load(
            folder, max_streams=_TOGETHER, voices_dir=Path(own), ahead_s=float("inf")
        )
        report = await _evaluate(engine, folder, Path(own), per_voice, ends)
        await engine.close()
    return report


async def _evaluate(
    engine: VoxtralTtsEngine, folder: Path, own: Path, per_voice: int, ends: int
) -> dict[str, Any]:
    codec = load_codec(folder)
    texts = sentences(per_voice * len(SHIPPED) + ends)
    jobs = [
        (voice, texts[i * per_voice + k])
        for i, voice in enumerate(SHIPPED)
        for k in range(per_voice)
    ]
    await say(engine, SHIPPED[0].name, "Hello.")
    made, taught, copied, rows = [], [], [], []
    for voice, text in track(jobs, description="speaking"):
        ours = await say(engine, voice.name, text)
        pcm, segments = speak(Teacher(voice.manner.base), text, voice.manner)
        with torch.inference_mode():
            copy = codec.decode(codec.encode(torch.from_numpy(pcm)[None]))[0].numpy()
        made.append((text, ours.pcm))
        taught.append((text, pcm))
        copied.append((text, copy))
        rows.append({"text": text, "ours": ours, "teacher": pcm, "segments": segments})
    report: dict[str, Any] = {"sentences": len(jobs)}
    said = {"nano": made, "codec": copied, "teacher": taught}
    counted = {name: word_errors(pairs, ours=True) for name, pairs in said.items()}
    report["word_error_our_lm"] = {name: _r(rate(c)) for name, c in counted.items()}
    report["word_error_by_voice"] = {
        voice.name: {
            name: _r(rate(c[i * per_voice : (i + 1) * per_voice])) for name, c in counted.items()
        }
        for i, voice in enumerate(SHIPPED)
    }
    report["word_error_bundled_lm"] = {
        name: _r(rate(word_errors(pairs, ours=False))) for name, pairs in said.items()
    }
    report["periodicity"] = {
        name: _r(np.nanmean([periodicity(pcm) for _, pcm in pairs])) for name, pairs in said.items()
    }
    ratios = [len(row["ours"].pcm) / len(row["teacher"]) for row in rows]
    report["length_ratio"] = {"mean": _r(np.mean(ratios)), "sd": _r(np.std(ratios))}
    report["word_end_error_ms"] = _word_times(rows)
    report["pauses_ms"] = {
        name: _r(np.median([len(p) / SAMPLE_RATE_HZ - sounding_until_s(p) for p in pcms]) * 1000)
        for name, pcms in (("nano", [pcm for _, pcm in made]), ("teacher", [p for _, p in taught]))
    }
    report["final_rise_semitones"] = _rises(made, taught)
    report["first_frame_ms"] = _r(np.median([row["ours"].first_frame_s for row in rows]) * 1000)
    report["real_time_factor"] = _r(np.mean((await engine.metrics()).step_ms) / (1000 * FRAME_S))
    marks = [blemishes(row["ours"].pcm) for row in rows]
    report["levels"] = {key: _r(np.mean([m[key] for m in marks])) for key in marks[0]}
    report["levels"]["highest_peak"] = _r(max(m["peak"] for m in marks))
    report["levels"]["spread_db"] = _r(np.std([m["dbfs"] for m in marks]))
    report["cloning"] = await _cloning(engine, codec, folder, own)
    endings = [row["ours"].ended for row in rows]
    rest = texts[len(jobs) :]
    for first in track(range(0, len(rest), _TOGETHER), description="ending"):
        said_together = await asyncio.gather(
            *(
                say(engine, SHIPPED[(first + i) % len(SHIPPED)].name, text)
                for i, text in enumerate(rest[first : first + _TOGETHER])
            )
        )
        endings += [spoken.ended for spoken in said_together]
    report["ended"] = {"of": len(endings), "share": _r(np.mean(endings))}
    return report


def _word_times(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Released word ends against a forced alignment of the very same audio.

    `teacher_within_80_ms` is what that alignment makes of the teacher, whose word ends are known: no
    voice can be measured better. `of_teacher` compares with when the teacher ended the word, stretched
    to our length: how far we keep its rhythm, not how good the times are.
    """
    off, known, rhythm = [], [], []
    for row in rows:
        ours, text = row["ours"], row["text"]
        true, words = list(_true_word_ends(row["segments"]).values()), text.split()
        spelled = [word for part in words for word in plain_words(part)]
        if not len(true) == len(ours.words) == len(words) == len(spelled):
            continue
        released = np.array([word.end_samples / SAMPLE_RATE_HZ for word in ours.words])
        # The last word ends with the audio; there is nothing to get wrong.
        rhythm += list((released - np.array(true) * len(ours.pcm) / len(row["teacher"]))[:-1])
        for found, ends, errors in (
            (word_ends(ours.pcm, spelled), released, off),
            (word_ends(row["teacher"], spelled), np.array(true), known),
        ):
            if found is not None:
                errors += list((ends - np.array(found))[:-1])
    size = np.abs(off) * 1000
    return {
        "words": len(off),
        "median": _r(np.median(size)),
        "within_80_ms": _r(np.mean(size <= 80)),
        "bias": _r(np.mean(off) * 1000),
        "teacher_within_80_ms": _r(np.mean(np.abs(known) <= 0.08)),
        "of_teacher_within_80_ms": _r(np.mean(np.abs(rhythm) <= 0.08)),
    }


def _rises(
    made: list[tuple[str, np.ndarray]], taught: list[tuple[str, np.ndarray]]
) -> dict[str, dict[str, float]]:
    """Median final rise of questions and of statements, ours and the teacher's."""
    return {
        kind: {
            name: _r(
                np.nanmedian([final_rise_semitones(p) for t, p in said if (t[-1] == "?") == asks])
            )
            for name, said in (("nano", made), ("teacher", taught))
        }
        for kind, asks in (("questions", True), ("statements", False))
    }


async def _cloning(
    engine: VoxtralTtsEngine, codec: Codec, folder: Path, own: Path
) -> dict[str, Any]:
    """Clone the ten held-out speakers from one sentence each; who is each clone closest to?

    Traits are compared as a speaker recogniser would: what codec and model do to every voice is
    learnt from the shipped voices (shift and spread between them and their teachers) and allowed
    for. A speaker is known by the mean of several readings, for the teacher's breath is random; each
    take of a clone has a recording and a seed of its own.
    """
    shelf = VoiceShelf(folder, own)
    manners = held_out_speakers()
    speakers = [*manners, *(voice.manner for voice in SHIPPED)]
    few, takes = len(speakers), range(1, _CLONE_TAKES + 1)
    speakers += training_speakers(24)[len(SHIPPED) :]
    readings = [[_traits(_CLONE_TEXT, manner) for manner in speakers] for _ in takes]
    references = np.mean(readings, axis=0)
    made = [[await _said_traits(engine, voice.name, take) for voice in SHIPPED] for take in takes]
    off = (np.array(made) - references[len(manners) : few]).reshape(-1, references.shape[1])
    shift, within = off.mean(0), np.hypot(off.std(0), 0.1 * references.std(0) + 1e-4)
    closer = np.zeros((len(takes), len(manners), len(speakers)), bool)
    for take in takes:
        for index, manner in enumerate(manners):
            pcm, _ = speak(Teacher(manner.base), _REFERENCE_TEXT, manner)
            write_wav(recording := own / "recording.wav", pcm, SAMPLE_RATE_HZ)
            name = f"heldout{index}-{take}"
            shelf.add(name, recording, consent_of("nobody", "to be measured"), codec)
            clone = await _said_traits(engine, name, take)
            far = np.linalg.norm((clone - shift - references) / within, axis=1)
            closer[take - 1, index] = far < far[index]
    return {
        "of": len(manners),
        "takes": _CLONE_TAKES,
        **_ranked(closer[:, :, :few]),
        "with_strangers": _ranked(closer),
    }


def _ranked(closer: np.ndarray) -> dict[str, Any]:
    """Where each clone's own speaker came; from bool [takes, clones, speakers], who was closer."""
    ranks = closer.sum(2) + 1
    return {
        "closest_to_own": (ranks == 1).sum(1).tolist(),
        "against": closer.shape[2],
        "ranks": ranks.tolist(),
    }


async def _said_traits(engine: VoxtralTtsEngine, voice: str, seed: int) -> np.ndarray:
    return speaker_traits((await say(engine, voice, _CLONE_TEXT, seed)).pcm)


def _traits(text: str, manner: Manner) -> np.ndarray:
    return speaker_traits(speak(Teacher(manner.base), text, manner)[0])


def _r(value: float | np.floating[Any]) -> float:
    return round(float(value), 3)
