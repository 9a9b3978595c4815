"""Utterances as the speech model sees them: text units with their times, and codes.

The units come from the very front end that will be used later; the times come from the teacher's
segments, aligned word by word. Where the teacher said a word quite differently from the dictionary,
its own phones become the units, so that sound and spelling never disagree.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from common.errors import ParleyError
from training.voice.corpus import Utterance
from training.voice.data import SpokenCorpus
from training.voice.flite import Segment
from training.voice.lexicon import FIRST_ID, UNITS, VOWELS
from tts.codec import Codec
from tts.phonemes import CLOSING_GAPS, GAP, MARKS, Phonemes
from tts.schedule import FRAME_S
from tts.voices import fingerprint

_BATCH = 16
_MARKS = {GAP, *CLOSING_GAPS.values(), *MARKS}


@dataclass(frozen=True, slots=True)
class Aligned:
    """One utterance, ready to be learnt.

    Attributes:
        ids: int64 [units] text units.
        times_s: float64 [units, 2] start and end of each, in order, covering the whole audio.
        codes: int16 [frames, 1 + acoustic] raw codes.
        acoustic: float16 [frames, acoustic] what the acoustic codes were rounded from, in [-1, 1].
        speaker: Whose voice.
    """

    ids: np.ndarray
    times_s: np.ndarray
    codes: np.ndarray
    acoustic: np.ndarray
    speaker: int


def align(utterance: Utterance, front_end: Phonemes) -> tuple[np.ndarray, np.ndarray] | None:
    """Text units of an utterance and when each is spoken.

    Returns:
        ids int64 [units] and times float64 [units, 2], seconds; None if words cannot be matched.
    """
    tokens = utterance.text.split()
    spoken: dict[int, list[tuple[Segment, float]]] = defaultdict(list)
    start_s = 0.0
    for segment in utterance.segments:
        if segment.phone != "pau":
            spoken[segment.token].append((segment, start_s))
        start_s = segment.end_s
    ids, spans = front_end.encode(utterance.text)
    of_token = np.repeat(np.arange(len(tokens)), [len(token) + 1 for token in tokens])
    names = [UNITS[i - FIRST_ID] for i in ids]
    by_token: dict[int, list[str]] = defaultdict(list)
    after: dict[int, str] = {}  # the last gap or mark after a token, or inside it
    for name, (begin, _) in zip(names, spans, strict=True):
        token = int(of_token[min(begin, len(of_token) - 1)])
        if name in _MARKS:
            after[token] = name
        else:
            by_token[token].append(name)
    if set(by_token) != set(spoken) or not spoken:
        return None
    out: list[str] = []
    times: list[tuple[float, float]] = []
    last = max(spoken)
    for token in sorted(spoken):
        segments = spoken[token]
        units, cuts = _match(by_token[token], segments)
        if out and out[-1] not in _MARKS:
            out.append(GAP)
            times.append((times[-1][1], times[-1][1]))
        if times:  # a gap or mark lasts until the next word begins
            times[-1] = (times[-1][0], segments[0][1])
        out += units
        times += cuts
        mark = after.get(token)
        if mark and (mark != GAP or token != last):
            out.append(mark)
            times.append((times[-1][1], times[-1][1]))
    times[0] = (0.0, times[0][1])
    times[-1] = (times[-1][0], utterance.n_frames * FRAME_S)
    return np.array([FIRST_ID + UNITS.index(name) for name in out]), np.array(times)


def _match(
    units: list[str], segments: list[tuple[Segment, float]]
) -> tuple[list[str], list[tuple[float, float]]]:
    """Give the units of a word the times of its segments, by the cheapest edit path."""
    said = [segment.phone for segment, _ in segments]
    plain = [unit.rstrip("01") for unit in units]
    rows, columns = len(plain) + 1, len(said) + 1
    cost = np.zeros((rows, columns))
    cost[:, 0], cost[0] = np.arange(rows), np.arange(columns)
    for i in range(1, rows):
        for j in range(1, columns):
            swap = cost[i - 1, j - 1] + _swap(plain[i - 1], said[j - 1])
            cost[i, j] = min(swap, cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    if cost[-1, -1] > 0.5 * len(said):
        units = [_named(segment) for segment, _ in segments]
        return units, [(start, segment.end_s) for segment, start in segments]
    ends, i, j = [0.0] * len(units), rows - 1, columns - 1
    while i:
        if j and cost[i, j] == cost[i - 1, j - 1] + _swap(plain[i - 1], said[j - 1]):
            ends[i - 1] = segments[j - 1][0].end_s
            i, j = i - 1, j - 1
        elif cost[i, j] == cost[i - 1, j] + 1:
            ends[i - 1] = segments[max(j - 1, 0)][0].end_s
            i -= 1
        else:
            j -= 1
    ends[-1] = segments[-1][0].end_s
    starts = [segments[0][1], *ends[:-1]]
    return units, list(zip(starts, ends, strict=True))


def _swap(a: str, b: str) -> float:
    if a == b:
        return 0.0
    return 0.4 if a in VOWELS and b in VOWELS else 1.0


def _named(segment: Segment) -> str:
    if segment.phone not in VOWELS:
        return segment.phone
    return segment.phone + ("1" if segment.stress == "1" and segment.phone != "ax" else "0")


@torch.no_grad()
def encode_corpus(codec: Codec, folder: Path, front_end: Phonemes) -> list[Aligned]:
    """Align and encode a whole corpus folder; utterances that do not align are left out."""
    speech = SpokenCorpus(folder)
    codec.eval()
    semantic_dim = codec.config.semantic_dim
    order = sorted(range(len(speech)), key=lambda i: speech.utterances[i].n_frames)
    done: list[Aligned] = []
    starts = range(0, len(order), _BATCH)
    for first in track(starts, description="encoding the corpus"):
        rows = order[first : first + _BATCH]
        waves = [torch.from_numpy(speech.wave(i)) for i in rows]
        wave = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        latents = codec.latents(wave)
        codes = codec.quantizer.encode(latents)
        acoustic = latents[..., semantic_dim:].tanh()
        for row, index in enumerate(rows):
            utterance = speech.utterances[index]
            if aligned := align(utterance, front_end):
                n = utterance.n_frames
                done.append(
                    Aligned(
                        *aligned,
                        codes[row, :n].numpy().astype(np.int16),
                        acoustic[row, :n].numpy().astype(np.float16),
                        utterance.speaker,
                    )
                )
    return done


def save(path: Path, utterances: list[Aligned], codec: Codec) -> None:
    """Write utterances encoded by `codec` as one NumPy archive."""
    np.savez(
        path,
        codec=np.array(fingerprint(codec)),
        lengths=np.array([(len(u.ids), len(u.codes), u.speaker) for u in utterances]),
        ids=np.concatenate([u.ids for u in utterances]),
        times_s=np.concatenate([u.times_s for u in utterances]),
        codes=np.concatenate([u.codes for u in utterances]),
        acoustic=np.concatenate([u.acoustic for u in utterances]),
    )


def load(path: Path, codec: Codec) -> list[Aligned]:
    """Read what `save` wrote.

    Raises:
        ParleyError: Another codec encoded it: its codes mean other sounds.
    """
    with np.load(path) as held:
        if "codec" not in held or str(held["codec"]) != fingerprint(codec):
            raise ParleyError(
                f"{path} was encoded by another codec than the one to learn for.",
                "Run `python -m training.voice encode` again.",
            )
        lengths = held["lengths"]
        units, frames = np.cumsum(lengths[:-1, :2], axis=0).T
        ids, times_s = (np.split(held[name], units) for name in ("ids", "times_s"))
        codes, acoustic = (np.split(held[name], frames) for name in ("codes", "acoustic"))
    return [
        Aligned(*parts, speaker=int(row[2]))
        for *parts, row in zip(ids, times_s, codes, acoustic, lengths, strict=True)
    ]
