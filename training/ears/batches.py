"""Batches of the corpus: spoiled spectrograms, and what should be said at every step."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.config import delay_tokens
from asr.frontend import SILENCE
from backbone.tekken import Tekken
from training.ears.corpus import MEL_BINS, OPEN_FLOOR, TOKENS, UNKNOWN_PHONE, finished_shards
from training.ears.noise import spoil_mels
from training.ears.recipe import EarsRecipe
from training.ears.tokens import LEFT_PAD_TOKENS, TOKEN_S, stream_tokens
from training.ears.workers import Workers

CHARACTERS = " abcdefghijklmnopqrstuvwxyz'"  # class 0 of the CTC head is its blank
PHONE_DELAY_FRAMES = 5  # a phone is told 100 ms after it was heard: its end often decides it
_IGNORE = -100
_SILENT_SHARE, _SILENCE_TOKENS = 0.3, (20, 100)  # who waits, and for how long
_CPU = torch.device("cpu")


class _Clip(NamedTuple):
    """What a batch is made of: spectrogram, phones, and each word with its end in seconds."""

    mel: np.ndarray
    phones: np.ndarray
    words: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch.

    Attributes:
        mel: float32 [B, bins, 8 S], left padding included.
        tokens: The token before each position, some replaced by noise, int64 [B, S].
        targets: The token after each position, int64 [B, S]; -100 within the prompt.
        delay: In tokens, int64 [B].
        phones: int64 [B, 4 S]; -100 in the padding.
        characters: All rows' characters, int64 [sum of lengths].
        character_counts: int64 [B].
    """

    mel: Tensor
    tokens: Tensor
    targets: Tensor
    delay: Tensor
    phones: Tensor
    characters: Tensor
    character_counts: Tensor


class Corpus:
    """All clips of all finished shards, in memory; `refresh` takes in new ones.

    Args:
        folder: Of `training.ears.corpus`.
        held_out: Clips of the first shard that are kept for the validation curve.
        workers: Among whom the shards are shared out.
        device: Where batches are made.
    """

    def __init__(
        self,
        folder: Path,
        held_out: int,
        workers: Workers | None = None,
        device: torch.device = _CPU,
    ) -> None:
        self._folder, self._held_out, self._device = folder, held_out, device
        self._workers = workers or Workers()
        self._read: set[Path] = set()
        self._mels: list[np.ndarray] = []
        self._phones: list[np.ndarray] = []
        self._words: list[list[tuple[str, float]]] = []
        self.refresh()

    def refresh(self) -> None:
        """Read shards finished since the last time."""
        for path in finished_shards(self._folder):
            ours = int(path.stem) % self._workers.count == self._workers.rank
            if path in self._read or not ours:
                continue
            with np.load(path) as shard:
                self._mels.extend(shard["mels"])
                self._phones.extend(shard["phones"])
                for text in shard["words"]:
                    lines = [line.split("\t") for line in str(text).splitlines()]
                    self._words.append([(word, float(end)) for word, end in lines])
            self._read.add(path)

    def __len__(self) -> int:
        return len(self._mels) - self._held_out

    @property
    def held_out_indices(self) -> range:
        """Clips never trained on."""
        return range(self._held_out)

    def trained_index(self, number: int) -> int:
        """The corpus index of a training clip's number."""
        return number + self._held_out

    def batch(
        self, indices: list[int], delays: list[int], tekken: Tekken, recipe: EarsRecipe, seed: int
    ) -> Batch:
        """Make a batch; the same arguments give the same one on the same kind of device."""
        device = self._device
        generator = torch.Generator().manual_seed(seed)
        chance = random.Random(seed)
        clips = [self._after_silence(i, _silence_tokens(chance)) for i in indices]
        mel = torch.from_numpy(np.stack([clip.mel for clip in clips])).to(device).float()
        phones = torch.from_numpy(np.stack([clip.phones for clip in clips])).to(device).long()
        with device:
            mel = spoil_mels(mel, phones, torch.Generator(device).manual_seed(seed))
        left = mel.new_full((len(indices), MEL_BINS, 8 * LEFT_PAD_TOKENS), SILENCE)
        rows = np.stack(
            [
                stream_tokens(tekken, clip.words, delay, TOKENS)
                for clip, delay in zip(clips, delays, strict=True)
            ]
        )
        tokens = torch.from_numpy(rows)
        targets = tokens[:, 1:].clone()
        for row, delay in enumerate(delays):
            targets[row, : LEFT_PAD_TOKENS + delay] = _IGNORE
        inputs = tokens[:, :-1].clone()
        noise = torch.rand(inputs.shape, generator=generator) < recipe.token_noise
        noise &= targets != _IGNORE
        drawn = torch.randint(0, tekken.vocab_size, inputs.shape, generator=generator)
        silent = torch.rand(inputs.shape, generator=generator) < 0.5
        drawn[silent] = tekken.special("[STREAMING_PAD]")
        inputs = torch.where(noise, drawn, inputs)
        texts = [" ".join(word for word, _ in clip.words) for clip in clips]
        spelled = [[CHARACTERS.index(c) + 1 for c in text] for text in texts]
        return Batch(
            mel=torch.cat((left, mel), dim=2),
            tokens=inputs.to(device),
            targets=targets.to(device),
            delay=torch.tensor(delays, device=device),
            phones=_phone_targets(phones),
            characters=torch.tensor([c for row in spelled for c in row], dtype=torch.int64),
            character_counts=torch.tensor([len(row) for row in spelled]),
        )

    def _after_silence(self, index: int, tokens: int) -> _Clip:
        """A clip whose speaker begins so much later; what no longer fits is left out."""
        mel, phones = self._mels[index], self._phones[index]
        if not tokens:
            return _Clip(mel, phones, self._words[index])
        later = tokens * TOKEN_S
        words = [(word, end_s + later) for word, end_s in self._words[index]]
        return _Clip(
            np.pad(mel, ((0, 0), (8 * tokens, 0)), constant_values=OPEN_FLOOR)[:, : mel.shape[1]],
            np.pad(phones, (4 * tokens, 0))[: len(phones)],
            [(word, end_s) for word, end_s in words if end_s < TOKENS * TOKEN_S],
        )


def _silence_tokens(chance: random.Random) -> int:
    """How long nobody speaks: mostly no time, else often longer than the decoder looks back."""
    return chance.randint(*_SILENCE_TOKENS) if chance.random() < _SILENT_SHARE else 0


def _phone_targets(phones: Tensor) -> Tensor:
    """What the phone head should say, int64 [B, 4 S]; from the phones heard, int64 [B, 4 (S - left)]."""
    late = torch.zeros_like(phones)
    late[:, PHONE_DELAY_FRAMES:] = phones[:, :-PHONE_DELAY_FRAMES]
    late[late == UNKNOWN_PHONE] = _IGNORE
    left = phones.new_full((len(phones), 4 * LEFT_PAD_TOKENS), _IGNORE)
    return torch.cat((left, late), dim=1)


def draw_delays(recipe: EarsRecipe, chance: random.Random, count: int) -> list[int]:
    """Random delays in tokens."""
    return [delay_tokens(chance.choice(recipe.delays_ms)) for _ in range(count)]
