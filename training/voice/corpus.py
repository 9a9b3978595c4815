"""The spoken corpus: sentences, speakers, audio at 24 kHz and the time of every phone.

A corpus folder holds `speakers.json` and numbered shards, each a raw int16 file and a JSON-lines file
with one utterance a line. Shards are made independently (one process each) and a finished shard is
never made again, so an interrupted build goes on where it stopped.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import gcd
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from common.errors import ParleyError
from training.processes import side_by_side
from training.voice.flite import TEACHER_RATE_HZ, Manner, Segment, Teacher
from training.voice.speakers import SHIPPED, training_speakers
from training.voice.text import Sentences
from tts.interface import FRAME_SAMPLES, SAMPLE_RATE_HZ

LEAD_S = 0.04
TAIL_S = {",": 0.08, "": 0.14}
LEVEL_RMS = 0.1  # of speech, about -22 dBFS over an utterance: room for every voice's peaks
PEAK = 0.9
# What the teacher would spell letter by letter, as it can say it.
_RESPELLED = {"mm-hm": "umhum", "mhm": "umhum", "hmm": "hum", "mm": "um"}


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """What a corpus is made of.

    Attributes:
        utterances: How many sentences, in whole shards.
        passers_by: Speakers besides the shipped ones.
        shipped_share: Part of the utterances spoken by the shipped voices.
        random_share: Part of the utterances made of random words.
        longest_s: Utterances above this are not kept.
        shard_utterances: Sentences tried per shard.
        seed: Of sentences and of who speaks them.
    """

    utterances: int = 28_000
    passers_by: int = 4_000
    shipped_share: float = 0.35
    random_share: float = 0.3
    longest_s: float = 8.0
    shard_utterances: int = 250
    seed: int = 3


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence as it was spoken.

    Attributes:
        text: Words and punctuation.
        speaker: Index into `speakers.json`.
        offset_samples: Where it starts in its shard, a multiple of 1,920.
        n_frames: Length in 80 ms frames.
        segments: Phones and pauses in order; times count from its own start.
    """

    text: str
    speaker: int
    offset_samples: int
    n_frames: int
    segments: tuple[Segment, ...]


def speak(teacher: Teacher, text: str, manner: Manner) -> tuple[np.ndarray, list[Segment]]:
    """Speak one sentence as the corpus keeps it.

    Returns:
        float32 [n_frames * 1920] at 24 kHz, levelled, silence trimmed; segments with times to match.
    """
    sayable = re.sub(r"(?i)\b(mm-hm|mhm|hmm|mm)\b", lambda m: _RESPELLED[m[0].lower()], text)
    pcm, segments = teacher.speak(sayable, manner)
    spoken = [i for i, segment in enumerate(segments) if segment.phone != "pau"]
    start_s = segments[spoken[0] - 1].end_s if spoken[0] else 0.0
    start_s = max(start_s - LEAD_S, 0.0)
    end_s = segments[spoken[-1]].end_s + TAIL_S.get(text[-1], TAIL_S[""])
    up = gcd(SAMPLE_RATE_HZ, TEACHER_RATE_HZ)
    wide = resample_poly(pcm, SAMPLE_RATE_HZ // up, TEACHER_RATE_HZ // up).astype(np.float32)
    wide = wide[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)]
    loud = np.abs(wide) > 0.02
    gain = LEVEL_RMS / max(float(np.sqrt((wide[loud] ** 2).mean())) if loud.any() else 1.0, 1e-3)
    wide *= min(gain, PEAK / max(float(np.abs(wide).max()), 1e-3))
    fade = min(240, len(wide))
    wide[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    padded = np.zeros(-(-len(wide) // FRAME_SAMPLES) * FRAME_SAMPLES, np.float32)
    padded[: len(wide)] = wide
    length_s = len(padded) / SAMPLE_RATE_HZ
    moved = [
        Segment(s.phone, s.stress, s.token, round(min(max(s.end_s - start_s, 0.0), length_s), 3))
        for s in segments[: spoken[-1] + 1]
    ]
    moved.append(Segment("pau", "0", -1, length_s))
    return padded, moved


def _shard(folder: Path, index: int, options: CorpusOptions) -> None:
    chance = random.Random(options.seed * 100_003 + index)
    sentences = Sentences(options.seed * 100_003 + index, options.random_share)
    speakers = training_speakers(options.passers_by)
    shares = [voice.share for voice in SHIPPED]
    teachers: dict[str, Teacher] = {}
    offset, lines = 0, []
    raw = folder / f"{index:04d}.pcm"
    with raw.with_suffix(".part").open("wb") as audio:
        for _ in range(options.shard_utterances):
            if chance.random() < options.shipped_share:
                speaker = chance.choices(range(len(SHIPPED)), shares)[0]
            else:
                speaker = chance.randrange(len(SHIPPED), len(speakers))
            manner = speakers[speaker]
            teacher = teachers.setdefault(manner.base, Teacher(manner.base))
            text = sentences.next()
            pcm, segments = speak(teacher, text, manner)
            if not 0.3 <= len(pcm) / SAMPLE_RATE_HZ <= options.longest_s:
                continue
            audio.write((pcm * 32_767).astype("<i2").tobytes())
            line = Utterance(text, speaker, offset, len(pcm) // FRAME_SAMPLES, tuple(segments))
            lines.append(json.dumps(asdict(line), separators=(",", ":")))
            offset += len(pcm)
    raw.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
    raw.with_suffix(".part").rename(raw)


def build(folder: Path, options: CorpusOptions, processes: int) -> None:
    """Make every missing shard of the corpus in `folder`; more utterances may be asked for later.

    Raises:
        ParleyError: Its other shards were made with other options, or the teacher is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / "options.json"
    if about.exists():
        made = json.loads(about.read_text()) | {"utterances": options.utterances}
        if other := [key for key, value in asdict(options).items() if made.get(key) != value]:
            raise ParleyError(
                f"The corpus in {folder} was made with other options: {', '.join(other)}.",
                "Make this one in another folder.",
            )
    speakers = training_speakers(options.passers_by)
    (folder / "speakers.json").write_text(json.dumps([asdict(s) for s in speakers], indent=1))
    about.write_text(json.dumps(asdict(options), indent=1))
    wanted = range(-(-options.utterances // options.shard_utterances))
    missing = [(folder, i, options) for i in wanted if not (folder / f"{i:04d}.pcm").exists()]
    side_by_side(_shard, missing, processes, "speaking the corpus")


def read(folder: Path) -> Iterator[tuple[Path, Utterance]]:
    """Every utterance of every finished shard with the raw file that holds it."""
    for raw in sorted(folder.glob("*.pcm")):
        for line in raw.with_suffix(".jsonl").read_text().splitlines():
            fields = json.loads(line)
            fields["segments"] = tuple(Segment(**segment) for segment in fields["segments"])
            yield raw, Utterance(**fields)
