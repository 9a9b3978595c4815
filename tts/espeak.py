"""espeak-ng behind the `TtsEngine` interface: a robotic voice that every Debian machine has.

It is the voice of last resort and the caller in our tests: formant synthesis, hundreds of times
faster than real time, with exact word positions. The library is loaded from the system (GPL-3.0,
never shipped with Parley).
"""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import itemgetter

import numpy as np

from common.errors import ParleyError
from common.resample import resample
from tts.interface import FRAME_SAMPLES, SAMPLE_RATE_HZ, SpeechFrame, SpokenWord, TtsInfo, VoiceInfo

VOICES = (
    VoiceInfo("en-us", "en-US", "American English, male", "GPL-3.0"),
    VoiceInfo("en-us+f3", "en-US", "American English, female", "GPL-3.0"),
    VoiceInfo("en-gb", "en-GB", "British English, male", "GPL-3.0"),
    VoiceInfo("en-gb+f4", "en-GB", "British English, female", "GPL-3.0"),
    VoiceInfo("en-us+m7", "en-US", "American English, deep", "GPL-3.0"),
)
_RATE_WPM = 165
_PEAK = 0.5  # espeak's own level is close to full scale; speech at -6 dBFS leaves headroom

# Constants of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 0x02
_CHARS_UTF8 = 1
_EVENT_LIST_TERMINATED, _EVENT_WORD = 0, 1
_PARAMETER_RATE = 1


class _EventId(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class _Library:
    """The process-wide espeak-ng library; not re-entrant, so every call holds the lock."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise ParleyError(
                "The espeak-ng library is not installed.",
                "Install it (Debian: apt install espeak-ng) or choose another voice with --tts.",
            )
        self._lock = threading.Lock()
        self._lib = ctypes.CDLL(name)
        self.sample_rate_hz = self._lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, None, 0)
        if self.sample_rate_hz <= 0:
            raise ParleyError("espeak-ng found no voice data.", "Install espeak-ng-data.")
        self._pcm: list[np.ndarray] = []
        self._words: list[tuple[int, int]] = []
        self._callback = _Callback(self._on_audio)  # kept alive: C holds a bare pointer to it
        self._lib.espeak_SetSynthCallback(self._callback)

    def _on_audio(self, wav, n_samples: int, event) -> int:  # type: ignore[no-untyped-def]
        if n_samples > 0:
            self._pcm.append(np.ctypeslib.as_array(wav, (n_samples,)).copy())
        i = 0
        while event[i].type != _EVENT_LIST_TERMINATED:
            if event[i].type == _EVENT_WORD:
                self._words.append((event[i].text_position - 1, event[i].sample))
            i += 1
        return 0

    def speak(self, text: str, voice: str) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Return float32 audio at `sample_rate_hz` and (character, sample) of each word's start."""
        with self._lock:
            self._pcm, self._words = [], []
            if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ParleyError(f"espeak-ng has no voice {voice!r}.", "See `espeak-ng --voices`.")
            self._lib.espeak_SetParameter(_PARAMETER_RATE, _RATE_WPM, 0)
            data = text.encode()
            self._lib.espeak_Synth(data, len(data) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
            pcm = np.concatenate(self._pcm) if self._pcm else np.zeros(0, np.int16)
            return pcm.astype(np.float32) * (_PEAK / 32768.0), self._words


@dataclass(frozen=True, slots=True)
class _Clause:
    pcm: np.ndarray
    words: list[SpokenWord]


def _speak_clause(library: _Library, text: str, voice: str) -> _Clause:
    """Synthesise one clause at 24 kHz with the samples its words occupy."""
    pcm, starts = library.speak(text, voice)
    scale = SAMPLE_RATE_HZ / library.sample_rate_hz
    pcm = resample(pcm, library.sample_rate_hz, SAMPLE_RATE_HZ)
    words, cursor = [], 0
    for token in text.split():
        begin = text.index(token, cursor)
        cursor = begin + len(token)
        known = [sample for position, sample in starts if position <= begin]
        words.append((token, int((known[-1] if known else 0) * scale)))
    # espeak merges short words into one event; they share its time by their letters.
    events = [(at, [t for t, _ in merged]) for at, merged in groupby(words, itemgetter(1))]
    ends = [at for at, _ in events[1:]] + [len(pcm)]
    said = []
    for (at, tokens), end in zip(events, ends, strict=True):
        shares = list(accumulate(map(len, tokens), initial=0))
        marks = [at + max(0, end - at) * share // shares[-1] for share in shares]
        said += list(map(SpokenWord, tokens, marks, marks[1:]))
    return _Clause(pcm, said)


class EspeakStream:
    """One utterance; see `tts.interface.SpeechStream`."""

    def __init__(self, speak: Callable[[str], asyncio.Future[_Clause]]):
        self._speak = speak
        self._clauses: asyncio.Queue[asyncio.Future[_Clause] | None] = asyncio.Queue()
        self._cancelled = False

    def write(self, text: str) -> None:
        if text.strip() and not self._cancelled:
            self._clauses.put_nowait(self._speak(text))

    def end_text(self) -> None:
        self._clauses.put_nowait(None)

    def cancel(self) -> None:
        self._cancelled = True
        self._clauses.put_nowait(None)

    async def frames(self) -> AsyncIterator[SpeechFrame]:
        offset = 0
        while (pending := await self._clauses.get()) is not None and not self._cancelled:
            clause = await pending
            for start in range(0, len(clause.pcm), FRAME_SAMPLES):
                if self._cancelled:
                    return
                pcm = clause.pcm[start : start + FRAME_SAMPLES]
                last = start + FRAME_SAMPLES >= len(clause.pcm)
                yield SpeechFrame(
                    pcm,
                    offset + start,
                    tuple(
                        SpokenWord(w.text, offset + w.start_samples, offset + w.end_samples)
                        for w in clause.words
                        if start < w.end_samples <= start + len(pcm)
                        or (start == 0 and w.end_samples == 0)
                        or (last and w.end_samples > start + len(pcm))
                    ),
                )
            offset += len(clause.pcm)


class EspeakEngine:
    """espeak-ng on a thread of its own; see `tts.interface.TtsEngine`."""

    refusal = ""  # hundreds of times faster than real time
    failure = ""

    def __init__(self) -> None:
        self._library = _Library()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="espeak")

    @property
    def info(self) -> TtsInfo:
        return TtsInfo("espeak-ng", "in process", limits="Robotic by construction.")

    def voices(self) -> tuple[VoiceInfo, ...]:
        return VOICES

    async def open(self, *, voice: str | None = None, seed: int | None = None) -> EspeakStream:
        """Open an utterance; formant synthesis has no chance in it, so `seed` changes nothing."""
        name = voice or VOICES[0].name
        if name not in {v.name for v in VOICES}:
            raise ParleyError(
                f"espeak-ng here has no voice {name!r}.",
                "Choose one of: " + ", ".join(v.name for v in VOICES) + ".",
            )
        loop = asyncio.get_running_loop()
        return EspeakStream(
            lambda text: loop.run_in_executor(
                self._thread, _speak_clause, self._library, text, name
            )
        )

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
