"""Who speaks in the corpus: the voices that ship, many passers-by, and ten kept for the test.

A clone is learnt, not built in: every training utterance is spoken after a few seconds of the same
speaker saying something else. So the corpus needs far more speakers than ship; the held-out ten are
never seen in training and are what cloning is measured on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.voice.flite import Manner


@dataclass(frozen=True, slots=True)
class Shipped:
    """A voice of the package.

    Attributes:
        name: How it is asked for.
        description: A few words to choose by.
        manner: How its teacher spoke.
        share: How often it speaks in the corpus; those that are hard to understand practise more.
    """

    name: str
    description: str
    manner: Manner
    share: float = 1.0


SHIPPED: tuple[Shipped, ...] = (
    Shipped("ada", "woman, calm and clear", Manner("slt", 172.0)),
    Shipped("james", "man, steady", Manner("rms", 104.0)),
    Shipped("fiona", "woman, bright and quick", Manner("slt", 205.0, 1.3, -0.03, 0.93), 2.0),
    Shipped("angus", "man, Scottish colour", Manner("awb", 128.0, 1.1)),
    Shipped("walter", "older man, deep and slow", Manner("rms", 84.0, 0.9, 0.035, 1.12), 2.0),
    Shipped("ruth", "older woman, low and warm", Manner("slt", 148.0, 0.9, 0.03, 1.08), 2.0),
    Shipped("toby", "young man, lively", Manner("rms", 132.0, 1.35, -0.03, 0.94)),
    Shipped("mae", "young woman, light", Manner("awb", 214.0, 1.2, -0.05, 0.98)),
)


def passers_by(count: int, chance: random.Random) -> list[Manner]:
    """Draw `count` speakers over the whole range of pitch, tract, liveliness and pace."""
    drawn = []
    for _ in range(count):
        base = chance.choice(("rms", "slt", "awb"))
        low, high = {"rms": (78, 170), "slt": (125, 245), "awb": (85, 225)}[base]
        # High voices come with short tracts more often than not, as in people.
        height = chance.random()
        tract = 0.045 - 0.09 * min(max(height + chance.gauss(0, 0.25), 0.0), 1.0)
        drawn.append(
            Manner(
                base,
                round(low * (high / low) ** height, 1),
                round(chance.uniform(0.7, 1.4), 2),
                round(tract, 3),
                round(chance.uniform(0.9, 1.15), 2),
            )
        )
    return drawn


def training_speakers(count: int) -> list[Manner]:
    """The shipped voices, then `count` passers-by; the same list every time."""
    return [voice.manner for voice in SHIPPED] + passers_by(count, random.Random(11))


def held_out_speakers() -> list[Manner]:
    """Ten speakers no model has heard."""
    return passers_by(10, random.Random(1_000_003))
