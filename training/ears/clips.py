"""The clips the ears are judged on: unseen sentences, seen and unseen voices, clean and spoiled.

Families:
    trained   voices as in training (espeak and flite by turns) and sentences of the conversation
              grammar that are kept out of it
    foreign   the same for festival's foreign voices, whose accents are as heavy as in training
    strangers all those sentences by the voices of `pico` and `mbrola`, by turns
    espeak    espeak-ng accents and variants kept out of training
    flite     CMU ARCTIC speakers in manners kept out of training (the base voices are trained on)
    kal, ked  festival's diphone voices of two Americans, as it makes them speak by itself; trained on
              since `own`, with other durations and another tune
    pico      SVOX Pico's statistical American and British woman: a synthesiser never trained on
    mbrola    MBROLA's diphone voices of three Americans: another
    people    eight two-word recordings of a person, from Debian's alsa-utils

All but the first three say sentences written by hand (`natural.txt`), so no grammar of ours has an
advantage, and each family says all of them. The conditions spoil the same audio.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from asr.interface import SAMPLE_RATE_HZ
from cli.output import run_program
from common.audiofile import read_audio
from common.errors import ParleyError
from training.speech import CURE, strangers
from training.speech.augment import add_at, coloured_noise, phone_band, room
from training.speech.espeak import Espeak, random_manner
from training.speech.festival import Festival
from training.speech.flite import Flite
from training.speech.foreign import Foreign, random_foreigner
from training.text.conversation import Conversation, held_out, spoken
from training.voice.speakers import held_out_speakers, passers_by

# Other synthesisers' voices, by turns.
_OTHERS = {
    "kal": ("kal",),
    "ked": ("ked",),
    "pico": ("pico", "pico-gb"),
    "mbrola": ("us1", "us2", "us3"),
}
FAMILIES = ("trained", "foreign", "strangers", "espeak", "flite", *_OTHERS, "people")
CONDITIONS = ("clean", "20 dB", "10 dB", "5 dB", "phone", "room")
PEOPLE = Path("/usr/share/sounds/alsa")
_SENTENCES = Path(__file__).with_name("natural.txt")
_SILENCE_SAMPLES = 8_000  # before and after: half a second, as callers leave
_SEED = 77
_GRAMMAR_SENTENCES = 90
_GRAMMAR_SEED = 4_711


@dataclass(frozen=True, slots=True)
class TestClip:
    """One clip.

    Attributes:
        family: One of `FAMILIES`.
        text: What is said, as `spoken` writes it.
        pcm: float32 [samples] at 16 kHz, clean.
        said_s: Where speech ends, in seconds.
    """

    family: str
    text: str
    pcm: np.ndarray
    said_s: float


def sentences() -> list[str]:
    """The hand-written sentences."""
    lines = _SENTENCES.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def grammar_sentences(count: int) -> list[str]:
    """Different sentences of the grammar that no training says, callers' and agents' by turns."""
    talk = Conversation(_GRAMMAR_SEED)
    found: list[str] = []
    while len(found) < count:
        text = talk.say("agent" if len(found) % 2 else "caller")
        if held_out(text) and text not in found:
            found.append(text)
    return found


def _of_the_grammar(espeak: Espeak, flite: Flite) -> list[TestClip]:
    clips, festival = [], Festival()
    foreign = Foreign(espeak, festival)
    for number, text in enumerate(track(grammar_sentences(_GRAMMAR_SENTENCES), "the grammar")):
        chance = random.Random(f"{_GRAMMAR_SEED} {number}")
        family = "foreign" if number % 3 == 2 else "trained"
        if family == "foreign":
            said = foreign.say(text, random_foreigner(chance))
        elif number % 3:
            said = flite.say(text, passers_by(1, chance)[0])
        else:
            said = espeak.say(text, random_manner(chance))
        assert said is not None
        stranger = strangers.VOICES[number % len(strangers.VOICES)]
        clips.append(_clip(family, text, said.pcm))
        clips.append(_clip("strangers", text, strangers.say(text, stranger)))
    festival.close()
    return clips


def _voices(espeak: Espeak, flite: Flite) -> dict[str, Callable[[str, int], np.ndarray]]:
    speakers = held_out_speakers()

    def by_espeak(text: str, number: int) -> np.ndarray:
        said = espeak.say(text, random_manner(random.Random(number), held_out=True))
        assert said is not None
        return said.pcm

    def by_flite(text: str, number: int) -> np.ndarray:
        said = flite.say(text, speakers[number % len(speakers)])
        assert said is not None
        return said.pcm

    def by_another(voices: tuple[str, ...], text: str, number: int) -> np.ndarray:
        return strangers.say(text, voices[number % len(voices)])

    others = {family: partial(by_another, voices) for family, voices in _OTHERS.items()}
    return {"espeak": by_espeak, "flite": by_flite, **others}


def make(path: Path) -> None:
    """Write all clean clips.

    Raises:
        ParleyError: A synthesiser is not installed, or the recordings are not.
    """
    recordings = sorted(PEOPLE.glob("*_*.wav"))
    if not recordings:
        raise ParleyError(f"There are no recordings in {PEOPLE}.", CURE)
    espeak, flite, texts = Espeak(), Flite(), sentences()
    clips = _of_the_grammar(espeak, flite)
    for family, say in _voices(espeak, flite).items():
        for number, text in enumerate(track(texts, family)):
            clips.append(_clip(family, text, say(text, number)))
    for recording in recordings:
        pcm = read_audio(recording, SAMPLE_RATE_HZ)
        clips.append(_clip("people", recording.stem.replace("_", " "), pcm))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        family=np.array([c.family for c in clips]),
        text=np.array([c.text for c in clips]),
        said_s=np.array([c.said_s for c in clips]),
        samples=np.array([len(c.pcm) for c in clips]),
        pcm=np.concatenate([(c.pcm * 32767).astype(np.int16) for c in clips]),
    )


def _clip(family: str, text: str, pcm: np.ndarray) -> TestClip:
    silence = np.zeros(_SILENCE_SAMPLES, np.float32)
    loud = np.flatnonzero(np.abs(pcm) > 0.02 * np.abs(pcm).max())
    pcm = 0.4 * pcm[: loud[-1] + 800] / np.abs(pcm).max()
    padded = np.concatenate([silence, pcm, silence]).astype(np.float32)
    said_s = (_SILENCE_SAMPLES + loud[-1]) / SAMPLE_RATE_HZ
    return TestClip(family, " ".join(spoken(text)), padded, said_s)


def read(path: Path) -> list[TestClip]:
    """Read what `make` wrote."""
    data = np.load(path)
    starts = np.concatenate([[0], np.cumsum(data["samples"])])
    pcm = data["pcm"].astype(np.float32) / 32767
    return [
        TestClip(str(f), str(t), pcm[a:b], float(s))
        for f, t, s, a, b in zip(
            data["family"], data["text"], data["said_s"], starts, starts[1:], strict=False
        )
    ]


def spoiled(clip: TestClip, condition: str, number: int) -> np.ndarray:
    """A clip's audio in one of `CONDITIONS`; `number` seeds the noise."""
    chance = np.random.default_rng(_SEED * 1000 + number)
    if condition.endswith("dB"):
        return add_at(clip.pcm, coloured_noise(len(clip.pcm), chance), float(condition[:-2]))
    if condition == "phone":
        hiss = add_at(clip.pcm, coloured_noise(len(clip.pcm), chance), 30)
        return phone_band(hiss)
    if condition == "room":
        return add_at(room(clip.pcm, 0.35, 6.0, chance), coloured_noise(len(clip.pcm), chance), 25)
    return clip.pcm


def main(
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("runs/ears/clips.npz"),
) -> None:
    """Make the clean clips; spoiling them is part of the evaluation."""
    make(out)


if __name__ == "__main__":
    run_program(main)
