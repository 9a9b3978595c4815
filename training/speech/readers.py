"""More of festival's voices from abroad: those that cannot be told sounds and times, but can read.

A Russian cut into units of any length (Debian's `festvox-ru`, free for any use) and a Catalan woman
made by statistics (`festvox-ca-ona-hts`, LGPL-2.1-or-later). They read English in their own letters,
as RHVoice's do (`rhvoice.py`); flite's most similar voice says the same, and its times are moved over.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.speech.accents import CATALAN, RUSSIAN, in_letters
from training.speech.align import like
from training.speech.espeak import resampled
from training.speech.festival import Festival
from training.speech.flite import Flite
from training.speech.utterance import Utterance
from training.voice.flite import Manner


@dataclass(frozen=True, slots=True)
class Reader:
    """One of the voices.

    Attributes:
        name: What festival calls it.
        folder: Below festival's voices.
        like: flite's voice and pitch most like it.
        letters: Phone to letters of its language.
    """

    name: str
    folder: str
    like: tuple[str, float]
    letters: str


READERS = (
    Reader("msu_ru_nsh_clunits", "russian/msu_ru_nsh_clunits", ("rms", 104.0), RUSSIAN),
    Reader("upc_ca_ona_hts", "catalan/upc_ca_ona_hts", ("slt", 172.0), CATALAN),
)


@dataclass(frozen=True, slots=True)
class ReaderManner:
    """One speaker.

    Attributes:
        reader: Whose voice.
        tract: Above 1 raises all resonances, the pitch and the pace.
        accent: Seed of the choices where the language has no such sound.
    """

    reader: Reader
    tract: float = 1.0
    accent: int = 0


def random_reader(chance: random.Random) -> ReaderManner:
    """Draw a speaker."""
    return ReaderManner(
        chance.choice(READERS), chance.uniform(0.85, 1.2), chance.randrange(1_000_000)
    )


class Readers:
    """All of them. One instance per process.

    Args:
        flite: The one of this process.
        festival: The one of this process.
    """

    def __init__(self, flite: Flite, festival: Festival) -> None:
        self._flite, self._festival = flite, festival

    def say(self, text: str, manner: ReaderManner) -> Utterance | None:
        """Say a text; None when flite reads some of it as something else, or festival gives up.

        Raises:
            ParleyError: The voice is not installed.
        """
        reader = manner.reader
        model = self._flite.say(text, Manner(*reader.like))
        if model is None:
            return None
        written = in_letters(model, reader.letters, random.Random(manner.accent), text[-1])
        utterance = f'(Utterance Text "{written}")'
        spoken = self._festival.speak(reader.name, reader.folder, utterance)
        if spoken is None:
            return None
        rate_hz, wave = spoken
        return like(resampled(wave, rate_hz * manner.tract), model)
