"""espeak-ng in process: a formant synthesiser, hundreds of times real time, with word and phone events.

Its voices sound like no one, but there are very many of them and every sound they make is labelled
to the sample. espeak-ng (GPL-3.0-or-later) is used as a program's library; nothing of it is shipped.
"""

from __future__ import annotations

import ctypes
import random
import re
from ctypes import POINTER, c_char_p, c_int, c_short, c_uint, c_void_p
from dataclasses import dataclass
from itertools import pairwise

import av
import numpy as np

from asr.interface import SAMPLE_RATE_HZ
from common.errors import ParleyError
from training.speech.utterance import Timed, Utterance
from training.text.conversation import spoken

_RETRIEVE, _PHONEME_EVENTS = 2, 1
_WORD, _END, _PHONE = 1, 0, 7
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7
_UTF8 = 1

ACCENTS = ("en-us",) * 5 + ("en-gb", "en-gb", "en-us-nyc", "en-gb-x-rp", "en-029", "en-gb-x-gbclan")
VARIANTS = (
    "", "m1", "m2", "m3", "m4", "m6", "m7", "m8", "f1", "f2", "f3", "f5", "klatt", "klatt2",
    "klatt3", "klatt4", "klatt5", "klatt6", "adam", "Alex", "Alicia", "Andy", "anika", "Annie",
    "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward",
    "edward2", "Gene", "Gene2", "grandma", "grandpa", "gustave", "Henrique", "Hugo", "iven",
    "iven2", "Jacky", "john", "kaukovalta", "Lee", "linda", "marcelo", "Marco", "Mario", "max",
    "Michael", "michel", "miguel", "Mike", "norbert", "pablo", "paul", "pedro", "quincy", "Diogo",
    "Denis", "rob", "sandro", "shelby", "steph", "steph2", "steph3", "travis", "victor", "zac",
)  # fmt: skip
HELD_OUT_VARIANTS = ("m5", "f4", "Andrea", "robert", "Nguyen")
HELD_OUT_ACCENTS = ("en-gb-scotland", "en-us", "en-gb-x-gbcwmd")

_CMU = {
    "0": "aa", "3": "er", "3:": "er", ";": "y", "?": "t", "@": "ah", "@-": "ah", "@2": "ah",
    "@5": "ah", "@L": "l", "A:": "aa", "A@": "aa", "D": "dh", "E": "eh", "I": "ih", "I#": "ih",
    "I2": "ih", "IR": "er", "N": "ng", "O": "ao", "O2": "aa", "O:": "ao", "O@": "ao", "OI": "oy",
    "S": "sh", "T": "th", "U": "uh", "U@": "uh", "V": "ah", "VR": "er", "Z": "zh", "a": "ae",
    "a#": "ah", "aI": "ay", "aI2": "ay", "aI@": "ay", "aU": "aw", "aU@": "aw", "aa": "ae",
    "b": "b", "d": "d", "dZ": "jh", "e@": "eh", "eI": "ey", "f": "f", "g": "g", "h": "hh",
    "i": "iy", "i:": "iy", "i@": "ih", "i@3": "ih", "j": "y", "k": "k", "l": "l", "m": "m",
    "n": "n", "n-": "n", "o@": "ao", "oU": "ow", "p": "p", "r": "r", "r-": "r", "s": "s",
    "t": "t", "t#": "t", "t2": "t", "tS": "ch", "t[": "t", "u:": "uw", "v": "v", "w": "w",
    "w#": "w", "x": "k", "z": "z",
}  # fmt: skip


class _Identity(ctypes.Union):
    _fields_ = [("number", c_int), ("name", c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", c_int),
        ("unique", c_uint),
        ("text_position", c_int),
        ("length", c_int),
        ("audio_position_ms", c_int),
        ("sample", c_int),
        ("user_data", c_void_p),
        ("id", _Identity),
    ]


_Callback = ctypes.CFUNCTYPE(c_int, POINTER(c_short), c_int, POINTER(_Event))


@dataclass(frozen=True, slots=True)
class EspeakManner:
    """One espeak speaker.

    Attributes:
        voice: Accent and variant, as `en-us+f3`.
        words_per_minute: Pace, about 80 to 450.
        pitch: 0 to 99.
        liveliness: Range of the pitch, 0 to 99.
        word_gap: Extra silence between words, in 10 ms.
        tract: Above 1 raises all resonances, as a shorter vocal tract does (and the pace).
    """

    voice: str = "en-us"
    words_per_minute: int = 170
    pitch: int = 50
    liveliness: int = 50
    word_gap: int = 0
    tract: float = 1.0


def random_manner(chance: random.Random, *, held_out: bool = False) -> EspeakManner:
    """Draw a speaker; the held-out ones share no voice with the others."""
    variant = chance.choice(HELD_OUT_VARIANTS if held_out else VARIANTS)
    accent = chance.choice(HELD_OUT_ACCENTS if held_out else ACCENTS)
    return EspeakManner(
        voice=accent + (f"+{variant}" if variant else ""),
        words_per_minute=chance.randint(120, 225),
        pitch=chance.randint(15, 85),
        liveliness=chance.randint(30, 85),
        word_gap=chance.choice((0, 0, 0, 0, 1, 2)),
        tract=chance.uniform(0.86, 1.16),
    )


class Espeak:
    """The library; one instance per process, for it keeps its state in globals."""

    def __init__(self) -> None:
        try:
            self._lib = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise ParleyError(
                f"espeak-ng's library cannot be loaded: {error}.", "Install Debian's espeak-ng."
            ) from error
        self._rate_hz = self._lib.espeak_Initialize(_RETRIEVE, 500, None, _PHONEME_EVENTS)
        self._lib.espeak_Synth.argtypes = [
            c_char_p, ctypes.c_size_t, c_uint, c_int, c_uint, c_uint, POINTER(c_uint), c_void_p,
        ]  # fmt: skip
        self._callback = _Callback(self._collect)
        self._lib.espeak_SetSynthCallback(self._callback)
        self._pieces: list[np.ndarray] = []
        self._words: list[tuple[int, float]] = []  # place in the text, seconds
        self._phones: list[tuple[str, float]] = []

    def _collect(self, wave, count, events) -> int:  # type: ignore[no-untyped-def]
        """Copy one block of audio and its events; called back by the library."""
        if wave and count > 0:
            self._pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
        i = 0
        while events[i].type != _END:
            at_s = events[i].sample / self._rate_hz
            if events[i].type == _WORD:
                self._words.append((events[i].text_position - 1, at_s))
            elif events[i].type == _PHONE:
                self._phones.append((bytes(events[i].id.string).decode(errors="ignore"), at_s))
            i += 1
        return 0

    def say(self, text: str, manner: EspeakManner) -> Utterance | None:
        """Say a text of plain words and punctuation; None when it made no sound."""
        lib = self._lib
        lib.espeak_SetVoiceByName(manner.voice.encode())
        for parameter, value in (
            (_RATE, manner.words_per_minute),
            (_PITCH, manner.pitch),
            (_RANGE, manner.liveliness),
            (_WORD_GAP, manner.word_gap),
        ):
            lib.espeak_SetParameter(parameter, value, 0)
        self._pieces, self._words, self._phones = [], [], []
        data = text.encode()
        lib.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        if not self._pieces or not self._phones:
            return None
        wave = np.concatenate(self._pieces)
        total_s = len(wave) / self._rate_hz
        marks = [*self._phones, ("", total_s)]
        phones = [
            Timed(_CMU.get(name, "sil"), start, end) for (name, start), (_, end) in pairwise(marks)
        ]
        words = _word_times(text, self._words, phones, total_s)
        pcm = resampled(wave, self._rate_hz * manner.tract)
        squeeze = 1.0 / manner.tract
        return Utterance(
            pcm,
            tuple(word.scaled(squeeze) for word in words),
            tuple(phone.scaled(squeeze) for phone in phones),
        )


def _word_times(
    text: str, events: list[tuple[int, float]], phones: list[Timed], total_s: float
) -> list[Timed]:
    """Times of the words of `spoken(text)`.

    espeak merges some function words ("of the") into one event: those share its time by letters.
    """
    starts: dict[int, float] = {}
    for place, at_s in events:
        starts.setdefault(place, at_s)
    # Each run of letters in the text is a word; hyphenated and stripped ones follow `spoken`.
    runs = [(m.start(), spoken(m.group())) for m in re.finditer(r"[A-Za-z'-]+", text)]
    runs = [(place, words) for place, words in runs if words]
    if not runs:
        return []
    begins = [starts.get(place) for place, _ in runs]
    begins[0] = begins[0] if begins[0] is not None else phones[0].start_s
    out: list[Timed] = []
    i = 0
    while i < len(runs):
        j = i + 1
        while j < len(runs) and begins[j] is None:
            j += 1
        start = begins[i] or 0.0
        limit = (begins[j] if j < len(runs) else total_s) or total_s
        voiced = [p.end_s for p in phones if p.text != "sil" and start - 1e-3 <= p.start_s < limit]
        end = min(limit, voiced[-1]) if voiced else limit
        group = [word for _, words in runs[i:j] for word in words]
        letters = sum(len(word) + 1 for word in group)
        at = start
        for word in group:
            until = at + (end - start) * (len(word) + 1) / letters
            out.append(Timed(word, at, until))
            at = until
        i = j
    return out


def resampled(wave: np.ndarray, rate_hz: float) -> np.ndarray:
    """int16 at any rate to float32 at 16 kHz."""
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE_HZ)
    frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
    frame.sample_rate = round(rate_hz)
    parts = [out.to_ndarray()[0] for given in (frame, None) for out in resampler.resample(given)]
    return np.clip(np.concatenate(parts), -1.0, 1.0)
