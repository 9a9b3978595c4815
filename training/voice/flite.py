"""The teacher: flite's statistical voices, run in process, with every phone's time.

flite's CLUSTERGEN voices predict a track of F0 and mel-cepstra and then filter an excitation. Both
halves are exported by the library, so a *speaker* can be made between them: F0 is moved and
stretched, the all-pass constant of the filter is bent (a longer or shorter vocal tract), phones are
lengthened, and the pitch of a question is made to rise. Nothing is warped after the fact, so a made
speaker is as clean as the voice it comes from.

The voices are CMU ARCTIC speakers (free for any use, see http://festvox.org/cmu_arctic); flite is
under a BSD-style licence of Carnegie Mellon University.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int, c_short, c_void_p
from dataclasses import dataclass
from functools import cache

import numpy as np

from common.errors import ParleyError

TEACHER_RATE_HZ = 16_000
TEACHER_VOICES = ("rms", "slt", "awb")
_FRAME_S = 0.005  # CLUSTERGEN advances by 5 ms


@dataclass(frozen=True, slots=True)
class Manner:
    """How a teacher voice is made into another speaker.

    Attributes:
        base: One of `TEACHER_VOICES`.
        pitch_hz: Mean F0 aimed at.
        liveliness: Factor on the excursions of log F0 around its mean; 1 leaves them alone.
        tract: Added to the all-pass constant (0.42 at 16 kHz): above 0 lengthens the vocal tract.
        slowness: Factor on every duration.
    """

    base: str
    pitch_hz: float
    liveliness: float = 1.0
    tract: float = 0.0
    slowness: float = 1.0


@dataclass(frozen=True, slots=True)
class Segment:
    """One phone or pause (`pau`) as it was spoken.

    Attributes:
        phone: CMU phone in lower case, without stress; `ax` for schwa.
        stress: "0" or "1", of the syllable.
        token: Index of the white-space separated token it belongs to; -1 for a pause.
        end_s: Where it ends, seconds from the start of the audio.
    """

    phone: str
    stress: str
    token: int
    end_s: float


class _Track(ctypes.Structure):
    _fields_ = [
        ("type", c_char_p),
        ("num_frames", c_int),
        ("num_channels", c_int),
        ("times", POINTER(c_float)),
        ("frames", POINTER(POINTER(c_float))),
    ]


class _Wave(ctypes.Structure):
    _fields_ = [
        ("type", c_char_p),
        ("sample_rate", c_int),
        ("num_samples", c_int),
        ("num_channels", c_int),
        ("samples", POINTER(c_short)),
    ]


class _Features(ctypes.Structure):
    """The head that voices and utterances share: features, and lookup functions or relations."""

    _fields_ = [("first", c_void_p), ("second", c_void_p)]


class _VoiceDb(ctypes.Structure):
    """`cst_cg_db`, the constants of a voice; its header promises never to reorder it."""

    _fields_ = [
        ("name", c_char_p),
        ("types", c_void_p),
        ("num_types", c_int),
        ("sample_rate", c_int),
        ("f0_mean", c_float),
        ("f0_stddev", c_float),
        ("num_f0_models", c_int),
        ("f0_trees", c_void_p),
        ("num_param_models", c_int),
        ("param_trees", c_void_p),
        ("spamf0_accent_tree", c_void_p),
        ("spamf0_phrase_tree", c_void_p),
        ("num_channels", c_void_p),
        ("num_frames", c_void_p),
        ("model_vectors", c_void_p),
        ("num_channels_spamf0_accent", c_int),
        ("num_frames_spamf0_accent", c_int),
        ("spamf0_accent_vectors", c_void_p),
        ("model_min", c_void_p),
        ("model_range", c_void_p),
        ("qtable", c_void_p),
        ("model_shape", c_int),
        ("frame_advance", c_float),
        ("num_dur_models", c_int),
        ("dur_stats", c_void_p),
        ("dur_cart", c_void_p),
        ("phone_states", c_void_p),
        ("do_mlpg", c_int),
        ("dynwin", c_void_p),
        ("dynwinsize", c_int),
        ("mlsa_alpha", c_float),
        ("mlsa_beta", c_float),
        ("multimodel", c_int),
        ("mixed_excitation", c_int),
        ("excitation_filters", c_int),
        ("excitation_order", c_int),
        ("excitation", c_void_p),
        ("spamf0", c_int),
        ("gain", c_float),
        ("phoneset", c_void_p),
        ("char_sym_map", c_void_p),
        ("sym_phone_map", c_void_p),
        ("freeable", c_int),
    ]


@cache
def _library() -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL("libflite.so.1", ctypes.RTLD_GLOBAL)
        for name in ("usenglish", "cmulex"):
            ctypes.CDLL(f"libflite_{name}.so.1", ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ParleyError(
            f"The teacher's library cannot be loaded: {error}.", "Install Debian's libflite1."
        ) from error
    for name, result, arguments in (
        ("flite_synth_text", c_void_p, [c_char_p, c_void_p]),
        ("delete_utterance", None, [c_void_p]),
        ("flite_feat_set_float", None, [c_void_p, c_char_p, c_float]),
        ("feat_val", c_void_p, [c_void_p, c_char_p]),
        ("val_track", POINTER(_Track), [c_void_p]),
        ("val_cg_db", POINTER(_VoiceDb), [c_void_p]),
        ("val_int", c_int, [c_void_p]),
        ("mlsa_resynthesis", POINTER(_Wave), [c_void_p, c_void_p, c_void_p, c_void_p, c_int]),
        ("delete_wave", None, [c_void_p]),
        ("mlpg", POINTER(_Track), [c_void_p, c_void_p]),
        ("delete_track", None, [c_void_p]),
        ("utt_relation", c_void_p, [c_void_p, c_char_p]),
        ("relation_head", c_void_p, [c_void_p]),
        ("item_next", c_void_p, [c_void_p]),
        ("path_to_item", c_void_p, [c_void_p, c_char_p]),
        ("item_feat_string", c_char_p, [c_void_p, c_char_p]),
        ("item_feat_float", c_float, [c_void_p, c_char_p]),
        ("ffeature_string", c_char_p, [c_void_p, c_char_p]),
        ("cmu_lex_init", c_void_p, []),
        ("lex_lookup", c_void_p, [c_void_p, c_char_p, c_char_p, c_void_p]),
        ("val_car", c_void_p, [c_void_p]),
        ("val_cdr", c_void_p, [c_void_p]),
        ("val_string", c_char_p, [c_void_p]),
        ("delete_val", None, [c_void_p]),
    ):
        function = _symbol(lib, name)
        function.restype, function.argtypes = result, arguments
        setattr(lib, name, function)
    lib.flite_init()
    return lib


def _symbol(lib: ctypes.CDLL, name: str) -> ctypes._CFuncPtr:
    """Find `name` in flite itself or, for the dictionary, in its own library."""
    if hasattr(lib, name):
        return getattr(lib, name)
    return getattr(ctypes.CDLL("libflite_cmulex.so.1"), name)


def pronounce(word: str) -> list[str]:
    """Phones of one word as flite's dictionary or its letter-to-sound rules give them.

    Returns:
        Phones in lower case; vowels carry their stress, "0" or "1".
    """
    lib = _library()
    head = lib.lex_lookup(_dictionary(), word.lower().encode(), None, None)
    phones, cell = [], head
    while cell:
        phones.append(lib.val_string(lib.val_car(cell)).decode())
        cell = lib.val_cdr(cell)
    if head:
        lib.delete_val(head)
    return phones


@cache
def _dictionary() -> int:
    return _library().cmu_lex_init()


class Teacher:
    """One flite voice that can speak in any `Manner`. One instance per process and voice."""

    def __init__(self, base: str):
        self._lib = _library()
        try:
            voices = ctypes.CDLL(f"libflite_cmu_us_{base}.so.1", ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise ParleyError(
                f"flite has no voice {base}.", f"Choose from {', '.join(TEACHER_VOICES)}."
            ) from error
        register = getattr(voices, f"register_cmu_us_{base}")
        register.restype, register.argtypes = c_void_p, [c_char_p]
        self._voice = register(None)
        self._voice_features = ctypes.cast(
            self._voice + ctypes.sizeof(c_char_p), POINTER(c_void_p)
        ).contents.value

    def speak(self, text: str, manner: Manner) -> tuple[np.ndarray, list[Segment]]:
        """Say `text`.

        Args:
            text: Words separated by single spaces, punctuation attached to them.
            manner: The speaker; its base must be this voice.

        Returns:
            float32 [samples] at 16 kHz within [-1, 1], and its segments in order.
        """
        lib = self._lib
        lib.flite_feat_set_float(self._voice_features, b"duration_stretch", manner.slowness)
        utterance = lib.flite_synth_text(text.encode(), self._voice)
        try:
            features = ctypes.cast(utterance, POINTER(_Features)).contents.first
            segments = self._segments(utterance)
            # A copy: the library's own lies in read-only memory.
            database = _VoiceDb.from_buffer_copy(
                lib.val_cg_db(lib.feat_val(features, b"cg_db")).contents
            )
            database.mlsa_alpha += manner.tract
            statistics = lib.val_track(lib.feat_val(features, b"param_track"))
            track = lib.mlpg(statistics, ctypes.byref(database))
            self._bend_pitch(track.contents, text, segments, manner)
            speed = lib.feat_val(features, b"mlsa_speed_param")
            wave = lib.mlsa_resynthesis(
                track,
                lib.val_track(lib.feat_val(features, b"str_track")),
                ctypes.byref(database),
                None,
                lib.val_int(speed) if speed else 0,
            )
            count = wave.contents.num_samples
            pcm = np.ctypeslib.as_array(wave.contents.samples, (count,)).astype(np.float32)
            lib.delete_wave(wave)
            lib.delete_track(track)
        finally:
            lib.delete_utterance(utterance)
        return pcm / 32_768.0, segments

    def _segments(self, utterance: int) -> list[Segment]:
        lib, segments, seen = self._lib, [], []
        item = lib.relation_head(lib.utt_relation(utterance, b"Segment"))
        while item:
            phone = lib.item_feat_string(item, b"name").decode()
            token = lib.path_to_item(item, b"R:SylStructure.parent.parent.R:Token.parent")
            if phone != "pau" and token and token not in seen:
                seen.append(token)
            segments.append(
                Segment(
                    phone,
                    lib.ffeature_string(item, b"R:SylStructure.parent.stress").decode(),
                    seen.index(token) if phone != "pau" and token else -1,
                    lib.item_feat_float(item, b"end"),
                )
            )
            item = lib.item_next(item)
        return segments

    @staticmethod
    def _bend_pitch(track: _Track, text: str, segments: list[Segment], manner: Manner) -> None:
        """Move F0 (channel 0, Hz, 0 = unvoiced) to the manner and give punctuation its tune."""
        frames = track.frames
        f0 = np.array([frames[i][0] for i in range(track.num_frames)])
        voiced = f0 > 0
        if not voiced.any():
            return
        log_f0 = np.log(np.maximum(f0, 1.0))
        shape = (log_f0 - log_f0[voiced].mean()) * manner.liveliness
        shape += _tune(text, segments, len(f0))
        bent = np.where(voiced, manner.pitch_hz * np.exp(shape), 0.0)
        for i in np.flatnonzero(voiced):
            frames[i][0] = bent[i]


def _tune(text: str, segments: list[Segment], n_frames: int) -> np.ndarray:
    """What each punctuation mark adds to log F0 before it: a question rises, a comma lifts a little.

    CLUSTERGEN's own trees do not know a question mark, so its questions fall.
    """
    tokens, added = text.split(), np.zeros(n_frames)
    for index, segment in enumerate(segments):
        last = index + 1 == len(segments) or segments[index + 1].token != segment.token
        if segment.token < 0 or not last or segment.token >= len(tokens):
            continue
        mark = tokens[segment.token][-1]
        length_s, rise = {"?": (0.45, 0.5), ",": (0.22, 0.10), "!": (0.30, 0.08)}.get(
            mark, (0.0, 0.0)
        )
        if not length_s:
            continue
        end = min(round(segment.end_s / _FRAME_S), n_frames)
        start = max(end - round(length_s / _FRAME_S), 0)
        added[start:end] += rise * np.linspace(0.0, 1.0, end - start)
    return added
