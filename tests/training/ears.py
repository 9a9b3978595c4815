"""A recipe, a tokenizer and clips for tests of the ears' training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from training.ears.corpus import MEL_BINS, MEL_FRAMES, PHONE_FRAMES
from training.ears.recipe import EarsRecipe
from training.ears.tokens import learn_pieces, write_tekken

RECIPES = Path(__file__).parents[2] / "training/ears"
RECIPE = EarsRecipe.load(RECIPES / "nano.yaml")


def tokenizer(folder: Path) -> Path:
    words = Counter({"hello": 9, "help": 5, "yellow": 3, "it's": 2, "held": 4})
    write_tekken(folder / "tekken.json", learn_pieces(words, 270), delay_ms=480)
    return folder / "tekken.json"


def shard(folder: Path, clips: int, words: str, name: str = "1") -> None:
    folder.mkdir(exist_ok=True)
    chance = np.random.default_rng(0)
    mels = chance.uniform(-1, 1, (clips, MEL_BINS, MEL_FRAMES)).astype(np.float16)
    phones = chance.integers(0, 40, (clips, PHONE_FRAMES)).astype(np.uint8)
    np.savez(folder / f"{name}.npz", mels=mels, phones=phones, words=np.array([words] * clips))
