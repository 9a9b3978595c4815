"""Batches cut from a corpus folder: waveforms with phone labels for the codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.voice.corpus import Utterance, read
from tts.interface import FRAME_SAMPLES

PHONES = (
    "pau",
    *("aa", "ae", "ah", "ao", "aw", "ax", "ay", "b", "ch", "d", "dh", "eh", "er", "ey", "f", "g"),
    *("hh", "ih", "iy", "jh", "k", "l", "m", "n", "ng", "ow", "oy", "p", "r", "s", "sh", "t", "th"),
    *("uh", "uw", "v", "w", "y", "z", "zh"),
)
LABELS_PER_FRAME = 8  # one per 10 ms
_LABEL_SAMPLES = FRAME_SAMPLES // LABELS_PER_FRAME


class SpokenCorpus:
    """All utterances of a corpus folder, audio memory-mapped."""

    def __init__(self, folder: Path):
        self.utterances: list[Utterance] = []
        self._audio: list[np.ndarray] = []
        mapped: dict[Path, np.ndarray] = {}
        for raw, utterance in read(folder):
            if raw not in mapped:
                mapped[raw] = np.memmap(raw, "<i2", "r")
            self.utterances.append(utterance)
            self._audio.append(mapped[raw])
        self._labels = [_labels(utterance) for utterance in self.utterances]

    def __len__(self) -> int:
        return len(self.utterances)

    def wave(self, index: int, first_frame: int = 0, n_frames: int | None = None) -> np.ndarray:
        """float32 samples of an utterance or of a run of its frames."""
        utterance = self.utterances[index]
        n_frames = utterance.n_frames - first_frame if n_frames is None else n_frames
        start = utterance.offset_samples + first_frame * FRAME_SAMPLES
        return self._audio[index][start : start + n_frames * FRAME_SAMPLES].astype(
            np.float32
        ) * np.float32(1 / 32_768)

    def crops(
        self, batch: int, frames: int, chance: np.random.Generator, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Random pieces, on `device`.

        Returns:
            float32 [batch, frames * 1920] waveforms, int64 [batch, frames * 8] indices of `PHONES`;
            shorter utterances are followed by silence.
        """
        waves = np.zeros((batch, frames * FRAME_SAMPLES), np.float32)
        labels = np.zeros((batch, frames * LABELS_PER_FRAME), np.int64)
        for row in range(batch):
            index = int(chance.integers(len(self)))
            length = self.utterances[index].n_frames
            first = int(chance.integers(0, max(length - frames, 0) + 1))
            taken = min(frames, length - first)
            waves[row, : taken * FRAME_SAMPLES] = self.wave(index, first, taken)
            labels[row, : taken * LABELS_PER_FRAME] = self._labels[index][
                first * LABELS_PER_FRAME : (first + taken) * LABELS_PER_FRAME
            ]
        return torch.from_numpy(waves).to(device), torch.from_numpy(labels).to(device)


def _labels(utterance: Utterance) -> np.ndarray:
    labels = np.zeros(utterance.n_frames * LABELS_PER_FRAME, np.int64)
    start = 0
    for segment in utterance.segments:
        end = round(segment.end_s * 100)
        labels[start:end] = PHONES.index(segment.phone)
        start = max(start, end)
    return labels
