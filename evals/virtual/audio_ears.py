"""Real ears in virtual time: synthesised callers, webrtcvad, Silero, smart-turn and pocketsphinx.

Slower than the scripted ears, and still independent of how busy the machine is: what the models say is
computed at once and told when an unhurried machine would tell it.
"""

from __future__ import annotations

import numpy as np
import webrtcvad

from agent.activity import FRAME_SAMPLES
from agent.evidence import Heard, Sound
from agent.pitch import Pitch
from asr.interface import SAMPLE_RATE_HZ, Hypothesis
from asr.sphinx_listener import Listener
from common.pcm import to_pcm16
from common.resample import resample
from evals.heard import SAMPLE_RATE_HZ as CALLER_HZ
from evals.scenario import Step
from evals.speakers import sound_of
from evals.virtual.ears import Said
from evals.virtual.speech import Utterance
from pipelines.judges import SILERO_WINDOW_SAMPLES, Silero, judge_turn, level_dbfs

_NOISE_RMS = 10 ** (-66 / 20)
_VOICED_DBFS = -45.0
_BELIEF_LAG_FRAMES = 2  # Silero's window and its way through a thread
_GATE_HOLD_FRAMES = 20
_TURN_SAMPLES = 8 * SAMPLE_RATE_HZ


class AudioEars:
    """One caller heard by the models themselves."""

    def __init__(self, seed: int):
        self._noise = np.random.default_rng(seed)
        self._gate = webrtcvad.Vad(2)
        self._silero = Silero()
        self._pitch = Pitch()
        self._pending = np.zeros(0, np.float32)
        self._beliefs = [0.0] * (_BELIEF_LAG_FRAMES + 1)
        self._gate_open = 0
        self._heard = np.zeros(0, np.float32)
        self._listener = Listener()
        self._told = Hypothesis()

    def perform(self, step: Step) -> Utterance:
        """Synthesise the caller's next step."""
        heard = resample(sound_of(step), CALLER_HZ, SAMPLE_RATE_HZ)
        heard = np.pad(heard, (0, -len(heard) % FRAME_SAMPLES))
        frames = heard.reshape(-1, FRAME_SAMPLES)
        voiced = tuple(level_dbfs(frame) > _VOICED_DBFS for frame in frames)
        return Utterance((), voiced, role=step.role, frames=frames)

    def frame(self, now: int, said: Said, voiced: bool, echo: bool) -> Sound:
        """Hear 20 ms and judge them."""
        pcm = (_NOISE_RMS * self._noise.standard_normal(FRAME_SAMPLES)).astype(np.float32)
        if said:
            began, utterance = said[-1]
            index = (now - began) // FRAME_SAMPLES - 1
            if utterance.frames is not None and index < len(utterance.frames):
                pcm += utterance.frames[index]
        self._heard = np.concatenate([self._heard, pcm])[-_TURN_SAMPLES:]
        self._listener.feed(to_pcm16(pcm))
        gate = self._gate.is_speech(to_pcm16(pcm), SAMPLE_RATE_HZ)
        self._gate_open = _GATE_HOLD_FRAMES if gate else max(0, self._gate_open - 1)
        self._pending = np.concatenate([self._pending, pcm])
        belief = self._beliefs[-1]
        while len(self._pending) >= SILERO_WINDOW_SAMPLES:
            belief = self._silero.step(self._pending[:SILERO_WINDOW_SAMPLES])
            self._pending = self._pending[SILERO_WINDOW_SAMPLES:]
        self._beliefs = [*self._beliefs[1:], belief if self._gate_open else 0.0]
        pitch_hz = self._pitch.hear(pcm) if gate else 0.0
        return Sound(now, gate, self._beliefs[0], level_dbfs(pcm), pitch_hz=pitch_hz)

    def tick(self, now: int, said: Said) -> Heard | None:
        """The recogniser's view when its words change."""
        hypothesis = self._listener.hypothesis()
        if (hypothesis.text, hypothesis.stable) == (self._told.text, self._told.stable):
            return None
        self._told = hypothesis
        return Heard(now, hypothesis)

    def flush(self, now: int, said: Said) -> Hypothesis:
        """Final words now."""
        return self._listener.flush()

    def finished(self, ended: bool) -> float:
        """Smart-turn on the last eight seconds."""
        return judge_turn(np.pad(self._heard, (_TURN_SAMPLES - len(self._heard), 0)))

    def commit(self, upto: int) -> None:
        """Forget words before `upto`."""
        self._listener.commit(upto)

    def echo(self, text: str, begins: int, played: int) -> None:
        """There is no echo in these scenarios."""

    def echo_ends(self, ends: int) -> None:
        """There is no echo in these scenarios."""
