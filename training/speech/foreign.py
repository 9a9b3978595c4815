"""English through festival's diphone voices: throats from abroad, and two Americans.

They were cut from recordings of people, as some voices of the test were, but of other people: nine
Czechs, Finns, Italians and an Indian, a Briton (Debian contrib's `festvox-rablpc16k`; his
pronunciation dictionary is not free and not used), and the Americans `kal` and `ked`. espeak-ng says
what phones a sentence has and when; each becomes the nearest sound of the voice, as in a strong
accent; festival joins the diphones. So the labels are exact, and what is heard is a person's
spectrum.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from training.speech.accents import accent
from training.speech.espeak import Espeak, EspeakManner, resampled
from training.speech.festival import VOICES, Festival, not_there
from training.speech.utterance import Timed, Utterance

_ITALIAN = (
    "aa:a1 ae:E1,a1 ah:a ao:O1 aw:a1+u ay:a1+i ch:tS dh:d,v,z eh:E1 er:E1+r ey:e1+i hh: ih:i "
    "iy:i1 jh:dZ ng:ng,n+g ow:o1+u oy:O1+i sh:S th:t,f,s uh:u uw:u1 y:j zh:Z sil:#"
)
_CZECH = (
    "aa:a:,a ae:e,e: ah:a,e ao:o: aw:a+u ay:a+j ch:c~ dh:d,z eh:e er:e+r ey:e+j hh:h ih:i iy:i: "
    "jh:dz~ ng:n*,n+g ow:o+u oy:o+j sh:s~ th:t,f,s uh:u uw:u: w:u,v y:j zh:z~ sil:#"
)
_FINNISH = (
    "aa:a: ae:@,@: ah:a,7 ao:o: aw:a+u ay:a+i ch:t+S dh:d eh:e er:7+r ey:e+i hh:h ih:i iy:i: "
    "jh:d+S,t+S ng:N,n+g ow:o+u oy:o+i sh:S th:t,s uh:u uw:u: w:w,v y:j z:s zh:S sil:#"
)
_INDIAN = (
    "ae:eh ah:a ao:oo,oh aw:aw d:D er:a+r ey:ee hh:h jh:j ng:n+g ow:oo,oh oy:oh+ih t:T z:s,j "
    "w:v,w zh:sh sil:pau"
)
_BRITISH = (
    "aa:aa,o ae:a ah:uh,@ ao:oo aw:au ay:ai eh:e er:@@,@@+r ey:ei hh:h ih:i iy:ii jh:jh ng:ng ow:ou "
    "oy:oi uw:uu zh:zh sil:#"
)
_AMERICAN = "ae:ae ah:ah,ax ao:ao aw:aw er:er ey:ey hh:hh jh:jh ng:ng ow:ow oy:oy zh:zh sil:pau"
_NO_DICTIONARY = '(define (setup_oald_lex) t)(lex.create "oald")(lex.set.phoneset "mrpa")'
_PLAIN = (
    "b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "w", "y", "aa", "ay",
    "ch", "dh", "eh", "ih", "iy", "sh", "th", "uh", "uw",
)  # fmt: skip
_STOP_S = 0.01
# Languages that end no word in a voiced sound end it in its voiceless twin.
_VOICELESS = {"b": "p", "d": "t", "g": "k", "v": "f", "z": "s", "z~": "s~", "dz~": "c~", "n*": "n"}


@dataclass(frozen=True, slots=True)
class Throat:
    """One of festival's voices.

    Attributes:
        name: What festival calls it.
        folder: Below festival's voices.
        pitch_hz: The person's own.
        sounds: English phone to sounds of the language; several choices after commas.
        share: How often it is drawn.
        first: What festival must be told before it can have the voice.
    """

    name: str
    folder: str
    pitch_hz: float
    sounds: str
    share: float = 1.0
    first: str = ""


THROATS = (
    Throat("lp_diphone", "italian/lp_diphone", 190, _ITALIAN),
    Throat("pc_diphone", "italian/pc_diphone", 115, _ITALIAN),
    Throat("czech_dita", "czech/czech_dita", 190, _CZECH),
    Throat("czech_krb", "czech/czech_krb", 170, _CZECH),
    Throat("czech_machac", "czech/czech_machac", 115, _CZECH),
    Throat("czech_ph", "czech/czech_ph", 115, _CZECH),
    Throat("hy_fi_mv_diphone", "finnish/hy_fi_mv_diphone", 110, _FINNISH),
    Throat("suo_fi_lj_diphone", "finnish/suo_fi_lj_diphone", 190, _FINNISH),
    Throat("hindi_NSK_diphone", "hindi/hindi_NSK_diphone", 125, _INDIAN),
    Throat("rab_diphone", "english/rab_diphone", 105, _BRITISH, 3.0, _NO_DICTIONARY),
)
AMERICANS = (
    Throat("kal_diphone", "english/kal_diphone", 105, _AMERICAN),
    Throat("ked_diphone", "english/ked_diphone", 105, _AMERICAN),
)


@dataclass(frozen=True, slots=True)
class ForeignManner:
    """One speaker from abroad.

    Attributes:
        throat: Whose diphones.
        words_per_minute: Pace.
        pitch: Factor on the person's own.
        liveliness: Standard deviation of log F0 from vowel to vowel.
        tract: Above 1 raises all resonances (and the pace).
        accent: Seed of the choices where the language has no such sound.
    """

    throat: Throat
    words_per_minute: int
    pitch: float
    liveliness: float
    tract: float
    accent: int


def random_foreigner(chance: random.Random) -> ForeignManner:
    """Draw a speaker with an accent."""
    return _random_manner(chance, THROATS)


def random_american(chance: random.Random) -> ForeignManner:
    """Draw a speaker with hardly any."""
    return _random_manner(chance, AMERICANS)


def _random_manner(chance: random.Random, throats: tuple[Throat, ...]) -> ForeignManner:
    return ForeignManner(
        throat=chance.choices(throats, [throat.share for throat in throats])[0],
        words_per_minute=chance.randint(120, 190),
        pitch=chance.uniform(0.8, 1.25),
        liveliness=chance.uniform(0.0, 0.15),
        tract=chance.uniform(0.88, 1.14),
        accent=chance.randrange(1_000_000),
    )


class _Sound(NamedTuple):
    """One sound of the voice's language, and the English phone that it is part of."""

    name: str
    length_s: float
    phone: str


class Foreign:
    """All of them. One instance per process.

    Args:
        espeak: The one of this process.
        festival: The one of this process.
    """

    def __init__(self, espeak: Espeak, festival: Festival) -> None:
        self._espeak, self._festival = espeak, festival
        self._pairs: dict[str, set[str]] = {}

    def say(self, text: str, manner: ForeignManner) -> Utterance | None:
        """Say a text; None where festival gives up on it.

        Raises:
            ParleyError: festival or the voice is not installed.
        """
        said = self._espeak.say(text, EspeakManner("en-us", manner.words_per_minute))
        if said is None:
            return None
        chance = random.Random(manner.accent)
        sounds = _sounds(manner.throat.sounds, chance)
        throat = manner.throat
        if throat.name not in self._pairs:
            self._pairs[throat.name] = _pairs(throat)
        spelled = [
            _Sound(sound, length, phone.text)
            for phone in said.phones
            for sound, length in _shared(phone, sounds[phone.text])
        ]
        spelled = _joinable(spelled, sounds["sil"][0], self._pairs[throat.name])
        tune = _tune(spelled, text, throat.pitch_hz * manner.pitch, manner.liveliness, chance)
        rows = " ".join(
            f"({name} {length:.4f} ({length / 2:.4f} {f0:.1f}))"
            for (name, length, _), f0 in zip(spelled, tune, strict=True)
        )
        utterance = f"(Utterance Segments ({rows}))"
        spoken = self._festival.speak(throat.name, throat.folder, utterance, throat.first)
        if spoken is None:
            return None
        rate_hz, wave = spoken
        squeeze = 1.0 / manner.tract
        return Utterance(
            resampled(wave, rate_hz * manner.tract),
            tuple(word.scaled(squeeze) for word in said.words),
            tuple(phone.scaled(squeeze) for phone in said.phones),
        )


def _pairs(throat: Throat) -> set[str]:
    """The diphones that a voice has, as `"a-b"`."""
    try:
        index = next((VOICES / throat.folder / "group").glob("*.group")).read_bytes()
    except (OSError, StopIteration) as error:
        raise not_there(throat.name) from error
    header, _, body = index.partition(b"EST_Header_End\n")
    count = int(header.split(b"NumEntries")[1].split()[0])
    return {line.split()[0].decode() for line in body.split(b"\n", count)[:count]}


def _joinable(spelled: list[_Sound], silence: str, pairs: set[str]) -> list[_Sound]:
    """Put a stop of 10 ms between sounds that no word of the language has side by side."""
    out = spelled[:1]
    for sound in spelled[1:]:
        before = out[-1].name
        twin = _VOICELESS.get(before, before)
        if f"{before}-{sound.name}" in pairs:
            pass
        elif f"{twin}-{sound.name}" in pairs:
            out[-1] = out[-1]._replace(name=twin)
        elif sound.length_s > 2 * _STOP_S:
            out.append(_Sound(silence, _STOP_S, "sil"))
            sound = sound._replace(length_s=sound.length_s - _STOP_S)
        out.append(sound)
    return out


def _sounds(table: str, chance: random.Random) -> dict[str, list[str]]:
    """English phone to a speaker's sounds; phones that are not in the table are themselves."""
    drawn = accent(table, chance)
    own = {phone: [s for s in sounds.split("+") if s] for phone, sounds in drawn.items()}
    return {phone: [phone] for phone in _PLAIN} | own


def _shared(phone: Timed, sounds: list[str]) -> Iterator[tuple[str, float]]:
    length = phone.end_s - phone.start_s
    for i, sound in enumerate(sounds):
        share = 1.0 if len(sounds) == 1 else (0.6 if i == 0 else 0.4)
        yield sound, length * share


def _tune(
    spelled: list[_Sound],
    text: str,
    pitch_hz: float,
    liveliness: float,
    chance: random.Random,
) -> list[float]:
    """F0 in the middle of each sound: falling through the sentence, rising to a question's end."""
    ends = np.cumsum([length for _, length, _ in spelled])
    left_s = ends[-1] - ends
    out, bump = [], 0.0
    for (_, _, phone), end, left in zip(spelled, ends, left_s, strict=True):
        if phone[0] in "aeiou":
            bump = chance.gauss(0, liveliness)
        fall = 0.1 - 0.22 * end / ends[-1]
        rise = 0.4 * max(0.0, 1 - left / 0.45) if text.endswith("?") else 0.0
        out.append(pitch_hz * math.exp(fall + bump + rise))
    return out
