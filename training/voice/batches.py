"""Batches for the speech model: whole prompts, and what should be said and looked at after them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from training.voice.aligned import Aligned
from training.voice.lexicon import FIRST_ID, UNITS
from tts.config import END_AUDIO, N_SPECIAL_CODES, TtsConfig
from tts.phonemes import MARKS
from tts.prompt import prompt_ids, rope_positions
from tts.schedule import FRAME_S

if TYPE_CHECKING:
    from training.voice.speech import SpeechRun

_MARKS = [FIRST_ID + UNITS.index(mark) for mark in MARKS]


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts with their targets, padded on the right.

    Attributes:
        ids: int64 [B, S] token ids; what stands at frames is ignored.
        positions: int64 [B, S] RoPE positions.
        frame_at: bool [B, S] where frames (of voice or target) are embedded.
        codes: int64 [F, codebooks] those frames, row by row.
        target: bool [F] whether a frame is of the target (and may be disturbed).
        predicts: bool [B, S] positions whose hidden state predicts a frame or END.
        semantic: int64 [P] emitted semantic code wanted there.
        sounding: bool [P] whether it is a frame and not END.
        acoustic: float32 [Q, codes] latents wanted at sounding positions.
        attend: float32 [P, 3, S] where heads 0, 1 and 2 should look.
    """

    ids: Tensor
    positions: Tensor
    frame_at: Tensor
    codes: Tensor
    target: Tensor
    predicts: Tensor
    semantic: Tensor
    sounding: Tensor
    acoustic: Tensor
    attend: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on `device`."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class SpeechExamples:
    """Draws batches of utterances of similar length, each with a voice of its own speaker.

    Args:
        sizes: Of the model.
        utterances: To draw from.
        run: Says how long references are and whose.
        references: Raw codes [frames, codebooks] of the references that ship, by speaker.
    """

    def __init__(
        self,
        sizes: TtsConfig,
        utterances: list[Aligned],
        run: SpeechRun,
        references: dict[int, np.ndarray],
    ):
        said = Counter(utterance.speaker for utterance in utterances)
        # Who is heard only once has nothing else to be known by.
        self.utterances = [u for u in utterances if said[u.speaker] > 1]
        self.sizes, self.run, self._references = sizes, run, references
        self._lengths = np.array([len(u.codes) + len(u.ids) for u in self.utterances])
        self._of_speaker: dict[int, list[int]] = defaultdict(list)
        for index, utterance in enumerate(self.utterances):
            self._of_speaker[utterance.speaker].append(index)

    def draw(self, chance: np.random.Generator) -> Batch:
        """A random batch."""
        like = self._lengths[chance.integers(len(self._lengths))]
        near = np.argsort(np.abs(self._lengths - like) + chance.random(len(self._lengths)) * 4)
        rows = chance.choice(near[: self.run.batch * 4], self.run.batch, replace=False)
        return self.collate([int(row) for row in rows], chance)

    def collate(self, rows: list[int], chance: np.random.Generator) -> Batch:
        """The given utterances, each after a random voice of its speaker."""
        parts = [(self.utterances[row], self._voice(row, chance)) for row in rows]
        prompts = [prompt_ids(self.sizes, len(v), u.ids.tolist()) for u, v in parts]
        longest = max(len(p) + len(u.codes) for p, (u, _) in zip(prompts, parts, strict=True))
        shape = (len(parts), longest)
        ids, positions = torch.zeros(2, *shape, dtype=torch.int64)
        frame_at, predicts = torch.zeros(2, *shape, dtype=torch.bool)
        codes, target, semantic, acoustic, attend = [], [], [], [], []
        for b, ((utterance, voice), prompt) in enumerate(zip(parts, prompts, strict=True)):
            n, t = len(prompt), len(utterance.codes)
            ids[b, :n] = torch.tensor(prompt)
            at = rope_positions(self.sizes, len(voice), len(utterance.ids), t)
            positions[b, : n + t] = at
            frame_at[b, 2 : 2 + len(voice)] = True
            frame_at[b, n : n + t] = True
            predicts[b, n - 1 : n + t] = True
            codes += [voice, utterance.codes]
            target += [np.zeros(len(voice), bool), np.ones(t, bool)]
            semantic += [utterance.codes[:, 0] + N_SPECIAL_CODES, [END_AUDIO]]
            acoustic.append(utterance.acoustic)
            attend.append(attention_wanted(utterance, len(voice) + 3, longest))
        wanted = torch.from_numpy(np.concatenate(semantic).astype(np.int64))
        return Batch(
            ids,
            positions,
            frame_at,
            torch.from_numpy(np.concatenate(codes).astype(np.int64)),
            torch.from_numpy(np.concatenate(target)),
            predicts,
            wanted,
            wanted != END_AUDIO,
            torch.from_numpy(np.concatenate(acoustic).astype(np.float32)),
            torch.from_numpy(np.concatenate(attend)),
        )

    def _voice(self, row: int, chance: np.random.Generator) -> np.ndarray:
        """Raw codes [frames + 1, codebooks] of the speaker saying something else; END last."""
        run, speaker = self.run, self.utterances[row].speaker
        if speaker in self._references and chance.random() < run.shipped_references:
            return self._ended(self._references[speaker])
        others = [i for i in self._of_speaker[speaker] if i != row]
        wanted = int(chance.integers(run.shortest_voice_frames, run.longest_voice_frames + 1))
        pieces, length = [], 0
        while length < wanted:
            pieces.append(self.utterances[others[chance.integers(len(others))]].codes)
            length += len(pieces[-1])
        codes = np.concatenate(pieces)
        first = int(chance.integers(0, length - wanted + 1))
        return self._ended(codes[first : first + wanted])

    @staticmethod
    def _ended(codes: np.ndarray) -> np.ndarray:
        end = np.full_like(codes[:1], -N_SPECIAL_CODES)
        end[:, 0] = END_AUDIO - N_SPECIAL_CODES
        return np.concatenate([codes, end])


def attention_wanted(utterance: Aligned, text_start: int, length: int) -> np.ndarray:
    """Where heads should look, float32 [frames + 1, 3, length].

    By the share of each unit in the frame predicted, the same in the next frame, and the first mark
    not yet over.
    """
    n_units, n_frames = len(utterance.ids), len(utterance.codes)
    frame_s = np.arange(n_frames)[:, None] * FRAME_S
    start_s, end_s = utterance.times_s.T
    overlap = np.minimum(end_s, frame_s + FRAME_S) - np.maximum(start_s, frame_s)
    overlap = np.clip(overlap, 0.0, None)
    empty = overlap.sum(1) < 1e-6
    overlap[empty, -1] = 1.0
    overlap /= overlap.sum(1, keepdims=True)
    wanted = np.zeros((n_frames + 1, 3, length), np.float32)
    text = slice(text_start, text_start + n_units)
    wanted[:-1, 0, text] = overlap
    wanted[:-2, 1, text] = overlap[1:]
    wanted[-1, 0, text.stop - 1] = wanted[-2:, 1, text.stop - 1] = 1.0
    marks = np.append(np.flatnonzero(np.isin(utterance.ids, _MARKS)), n_units - 1)
    frames = np.arange(n_frames + 1)
    over = np.searchsorted(end_s[marks[:-1]], frames * FRAME_S, side="right")
    wanted[frames, 2, text_start + marks[over]] = 1.0
    return wanted
