"""The judges of the caller's voice: webrtcvad every 20 ms; Silero and smart-turn off the event loop.

Both neural models come with pipecat. Each is loaded once per process and runs on one thread of its
own: Silero takes half a millisecond per 32 ms, smart-turn a tenth of a second per pause.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources

import numpy as np
import onnxruntime
import webrtcvad
from pipecat.audio.turn.smart_turn._whisper_features import compute_whisper_log_mel_features

from asr.interface import SAMPLE_RATE_HZ
from common.pcm import to_pcm16

_VAD_MODE = 2
SILERO_WINDOW_SAMPLES, _SILERO_CONTEXT = 512, 64
_GATE_OPEN_FRAMES = 20  # Silero goes on for 400 ms after the cheap gate last said "voice"
_PREROLL_FRAMES = 6
_TURN_SECONDS = 8
_BEFORE_TURN_SAMPLES = SAMPLE_RATE_HZ // 2
_SILENT_DBFS = -100.0


@cache
def _session(package: str, name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    with resources.as_file(resources.files(package) / name) as path:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@cache
def _thread(name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix=name)


def _silero_session() -> onnxruntime.InferenceSession:
    return _session("pipecat.audio.vad.data", "silero_vad.onnx")


def _turn_session() -> onnxruntime.InferenceSession:
    return _session("pipecat.audio.turn.smart_turn.data", "smart-turn-v3.2-cpu.onnx")


@cache
def warm_judges() -> None:
    """Begin to load both models on their threads; returns at once. The first call is then no slower."""
    _thread("silero").submit(Silero().step, np.zeros(SILERO_WINDOW_SAMPLES, np.float32))
    _thread("smart-turn").submit(judge_turn, np.zeros(_TURN_SECONDS * SAMPLE_RATE_HZ, np.float32))


def level_dbfs(pcm: np.ndarray) -> float:
    """RMS level of float32 samples."""
    rms = float(np.sqrt(np.mean(np.square(pcm)))) if len(pcm) else 0.0
    return max(_SILENT_DBFS, 20.0 * np.log10(rms)) if rms > 0 else _SILENT_DBFS


class Silero:
    """One caller's state in the shared model; used on Silero's thread only."""

    def __init__(self) -> None:
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(_SILERO_CONTEXT, np.float32)
        self._rate = np.array(SAMPLE_RATE_HZ, np.int64)

    def step(self, window: np.ndarray) -> float:
        """float32 [512] at 16 kHz → belief that it is speech, 0..1."""
        audio = np.concatenate([self._context, window])[None]
        out, self._state = _silero_session().run(
            None, {"input": audio, "state": self._state, "sr": self._rate}
        )
        self._context = window[-_SILERO_CONTEXT:]
        return float(out[0, 0])


def judge_turn(pcm: np.ndarray) -> float:
    """float32 [8 s] at 16 kHz → belief that the caller's turn is finished, 0..1."""
    features = compute_whisper_log_mel_features(pcm, do_normalize=True)
    (out,) = _turn_session().run(None, {"input_features": features[None]})
    return float(out[0].item())


class VoiceJudge:
    """Says of every 20 ms whether the cheap gate hears a voice, and how sure Silero was last.

    Attributes:
        confidence: Silero's last belief; 0 while the gate is closed.
    """

    def __init__(self) -> None:
        """Create it inside a running event loop."""
        self.confidence = 0.0
        self._gate = webrtcvad.Vad(_VAD_MODE)
        self._open_frames = 0
        self._preroll: deque[np.ndarray] = deque(maxlen=_PREROLL_FRAMES)
        self._silero = Silero()
        self._pending = np.zeros(0, np.float32)
        self._loop = asyncio.get_running_loop()

    def hear(self, pcm: np.ndarray) -> bool:
        """Take in float32 [320] at 16 kHz; return the gate's verdict at once."""
        voiced = self._gate.is_speech(to_pcm16(pcm), SAMPLE_RATE_HZ)
        if voiced:
            self._open_frames = _GATE_OPEN_FRAMES
        if self._open_frames:
            self._open_frames -= 1
            heard = np.concatenate([*self._preroll, pcm])
            self._preroll.clear()
            _thread("silero").submit(self._listen, heard)
        else:
            self.confidence = 0.0
            self._preroll.append(pcm)
        return voiced

    def _listen(self, pcm: np.ndarray) -> None:
        self._pending = np.concatenate([self._pending, pcm])
        confidence = None
        while len(self._pending) >= SILERO_WINDOW_SAMPLES:
            confidence = self._silero.step(self._pending[:SILERO_WINDOW_SAMPLES])
            self._pending = self._pending[SILERO_WINDOW_SAMPLES:]
        if confidence is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._believe, confidence)

    def _believe(self, confidence: float) -> None:
        self.confidence = confidence


class TurnJudge:
    """Remembers the caller's last eight seconds and says how finished the turn in them sounds."""

    def __init__(self) -> None:
        self._heard_samples = 0
        self._turn_began = 0
        self._frames: deque[np.ndarray] = deque(maxlen=_TURN_SECONDS * 50)

    def hear(self, pcm: np.ndarray) -> None:
        """Remember float32 [320] at 16 kHz."""
        self._heard_samples += len(pcm)
        self._frames.append(pcm)

    def turn_began(self, at_samples: int) -> None:
        """What lies before belongs to another turn; smart-turn is confused by it."""
        self._turn_began = at_samples - _BEFORE_TURN_SAMPLES

    async def finished(self) -> float:
        """Belief, 0..1, that the caller's turn ended here; a tenth of a second on one core."""
        heard = np.concatenate([np.zeros(0, np.float32), *self._frames])
        heard = heard[-max(1, self._heard_samples - self._turn_began) :]
        pcm = np.pad(heard, (_TURN_SECONDS * SAMPLE_RATE_HZ - len(heard), 0))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_thread("smart-turn"), judge_turn, pcm)
