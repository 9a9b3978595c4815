"""RHVoice: hidden Markov models of thirteen people.

Four speak English; Russians, Ukrainians, Kyrgyz and a speaker of Esperanto read it from their own
letters, which write what is heard: a heavy accent. All come from Debian's non-free `rhvoice-english`,
`-russian`, `-ukrainian`, `-kyrgyz` and `-esperanto`; by Debian's account library and these voices are
LGPL-2.1-or-later. Voices with a licence of their own are left out, and nothing is shipped. The
library tells where words are only to a tenth of a second, so flite's most similar voice says the
same, and its times are moved over.
"""

from __future__ import annotations

import ctypes
import random
from ctypes import POINTER, c_char_p, c_double, c_int, c_short, c_uint, c_void_p
from dataclasses import dataclass

import numpy as np

from common.errors import ParleyError
from training.speech import CURE
from training.speech.accents import ESPERANTO, KYRGYZ, RUSSIAN, UKRAINIAN, in_letters
from training.speech.align import like
from training.speech.espeak import resampled
from training.speech.flite import Flite
from training.speech.utterance import Utterance
from training.voice.flite import Manner

_MAN, _WOMAN, _SCOT = ("rms", 104.0), ("slt", 172.0), ("awb", 128.0)


@dataclass(frozen=True, slots=True)
class Model:
    """One of RHVoice's voices.

    Attributes:
        name: What RHVoice calls it.
        like: flite's voice and pitch most like it.
        letters: Phone to letters of its language; empty for English.
    """

    name: str
    like: tuple[str, float]
    letters: str = ""


ENGLISH = (Model("bdl", _MAN), Model("clb", _WOMAN), Model("slt", _WOMAN), Model("alan", _SCOT))
ABROAD = (
    Model("aleksandr", _MAN, RUSSIAN),
    Model("anna", _WOMAN, RUSSIAN),
    Model("elena", _WOMAN, RUSSIAN),
    Model("irina", _WOMAN, RUSSIAN),
    Model("anatol", _MAN, UKRAINIAN),
    Model("natalia", _WOMAN, UKRAINIAN),
    Model("azamat", _MAN, KYRGYZ),
    Model("nazgul", _WOMAN, KYRGYZ),
    Model("spomenka", _WOMAN, ESPERANTO),
)
_ABROAD_SHARE = 0.4
_PLAIN_TEXT, _FREE_RATE = 0, 1

_SetRate = ctypes.CFUNCTYPE(c_int, c_int, c_void_p)
_Play = ctypes.CFUNCTYPE(c_int, POINTER(c_short), c_uint, c_void_p)


class _Callbacks(ctypes.Structure):
    _fields_ = [
        ("set_sample_rate", _SetRate),
        ("play_speech", _Play),
        ("unused", c_void_p * 7),
    ]


class _Init(ctypes.Structure):
    _fields_ = [
        ("data_path", c_char_p),
        ("config_path", c_char_p),
        ("resource_paths", POINTER(c_char_p)),
        ("callbacks", _Callbacks),
        ("options", c_uint),
    ]


class _Params(ctypes.Structure):
    _fields_ = [
        ("voice_profile", c_char_p),
        ("absolute", c_double * 3),  # rate, pitch, volume
        ("relative", c_double * 3),
        ("punctuation_mode", c_int),
        ("punctuation_list", c_char_p),
        ("capitals_mode", c_int),
        ("flags", c_int),
    ]


@dataclass(frozen=True, slots=True)
class RhvoiceManner:
    """One speaker.

    Attributes:
        model: Whose voice.
        rate: Factor on the voice's own pace.
        pitch: Factor on its pitch.
        tract: Above 1 raises all resonances (and the pace).
        accent: Seed of the choices where the language has no such sound.
    """

    model: Model
    rate: float = 1.0
    pitch: float = 1.0
    tract: float = 1.0
    accent: int = 0


def random_rhvoice(chance: random.Random) -> RhvoiceManner:
    """Draw a speaker."""
    return RhvoiceManner(
        model=chance.choice(ABROAD if chance.random() < _ABROAD_SHARE else ENGLISH),
        rate=chance.uniform(0.75, 1.3),
        pitch=chance.uniform(0.8, 1.25),
        tract=chance.uniform(0.9, 1.12),
        accent=chance.randrange(1_000_000),
    )


class Rhvoice:
    """The library; one instance per process.

    Args:
        flite: The one of this process.

    Raises:
        ParleyError: The library or its voices are not installed.
    """

    def __init__(self, flite: Flite) -> None:
        self._flite = flite
        try:
            self._lib = ctypes.CDLL("libRHVoice.so.5")
        except OSError as error:
            raise ParleyError(f"RHVoice's library cannot be loaded: {error}.", CURE) from error
        self._rate_hz = 0
        self._pieces: list[np.ndarray] = []
        # The library keeps pointers to these.
        self._callbacks = _Callbacks(_SetRate(self._set_rate), _Play(self._collect))
        init = _Init(b"/usr/share/RHVoice", b"/etc/RHVoice", None, self._callbacks, 0)
        lib = self._lib
        lib.RHVoice_new_tts_engine.restype = c_void_p
        lib.RHVoice_new_message.restype = c_void_p
        lib.RHVoice_new_message.argtypes = [
            c_void_p, c_char_p, c_uint, c_int, POINTER(_Params), c_void_p,
        ]  # fmt: skip
        lib.RHVoice_speak.argtypes = lib.RHVoice_delete_message.argtypes = [c_void_p]
        self._engine = lib.RHVoice_new_tts_engine(ctypes.byref(init))
        if not self._engine:
            raise ParleyError("RHVoice has no voices.", CURE)

    def _set_rate(self, rate_hz: int, _: object) -> int:
        self._rate_hz = rate_hz
        return 1

    def _collect(self, samples, count, _) -> int:  # type: ignore[no-untyped-def]
        self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 1

    def say(self, text: str, manner: RhvoiceManner) -> Utterance | None:
        """Say a text; None when flite reads some of it as something else.

        Raises:
            ParleyError: The voice is not installed.
        """
        model = self._flite.say(text, Manner(*manner.model.like))
        if model is None:
            return None
        written = text.replace("-", " ")
        if manner.model.letters:
            written = in_letters(
                model, manner.model.letters, random.Random(manner.accent), text[-1]
            )
        relative = (c_double * 3)(manner.rate, manner.pitch, 1.0)
        params = _Params(
            manner.model.name.encode(), (c_double * 3)(), relative, 0, None, 0, _FREE_RATE
        )
        data = written.encode()
        self._pieces = []
        message = self._lib.RHVoice_new_message(
            self._engine, data, len(data), _PLAIN_TEXT, ctypes.byref(params), None
        )
        if not message:
            raise ParleyError(f"RHVoice has no voice '{manner.model.name}'.", CURE)
        self._lib.RHVoice_speak(message)
        self._lib.RHVoice_delete_message(message)
        if not self._pieces:
            return None
        wave = np.concatenate(self._pieces)
        return like(resampled(wave, self._rate_hz * manner.tract), model)
