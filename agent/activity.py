"""Where the caller's voice begins and ends, from 20 ms judgements.

    frames     · · V · · · V V V V · V V V V · · · · · · · · ·
    burst          └┘      └────────────────┘
    established                ▲ (60 ms of voice: somebody really speaks)
    quiet                                    └─ counted from here

A burst is voice with holes of less than 200 ms (the closures of p, t, k are up to 120 ms long). One
stray frame begins a burst but does not establish it, so it neither starts a turn nor ends a pause.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import log2
from statistics import median

from agent.evidence import Sound

SAMPLES_PER_MS = 16
FRAME_SAMPLES = 320
BURST_GAP_MS = 200
ESTABLISHED_MS = 60
OWN_VOICE = 0.5  # belief from which a frame counts as the agent's own voice coming back
SPEECH_CONFIDENCE = 0.35  # Silero hovers around 0.5 in vowels said far from the microphone
YOUNG_MS = 120  # the neural detector lags by two windows and a busy machine
ABOVE_NOISE_DB = 6.0
TAIL_DB = 36.0  # below its own peak: the gate is still open, but nobody speaks any more
SAME_VOICE_SEMITONES = 4.0  # one's own sentences differ by so much at most; two men by hardly more
OTHER_VOICE_SEMITONES = 6.0
PITCHED_FRAMES = 5  # before that a burst's pitch is not known
QUIETEST_DBFS = -62.0  # below this nobody could understand a word over a telephone


@dataclass(slots=True)
class Burst:
    """One stretch of voice.

    Attributes:
        began: Its first sample.
        ended: One past its last voiced sample so far.
        voiced_ms: How much of it was voiced.
        peak_confidence: The neural detector's highest belief in it.
        peak_dbfs: Level of its loudest frame; the mean would make every beginning look quiet.
        dismissed: It was judged to be nobody's turn; it does not pause the agent again.
        far: It was so quiet when it was judged that it was taken for somebody else.
        pitches_hz: Pitch of its latest periodic frames.
    """

    began: int
    ended: int
    voiced_ms: int = 0
    peak_confidence: float = 0.0
    peak_dbfs: float = -100.0
    dismissed: bool = False
    far: bool = False
    pitches_hz: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    @property
    def pitch_hz(self) -> float | None:
        """Its median pitch, once known."""
        return median(self.pitches_hz) if len(self.pitches_hz) >= PITCHED_FRAMES else None


@dataclass(slots=True)
class VoiceActivity:
    """Turns `Sound` into bursts, and knows how loud this caller usually is.

    Attributes:
        now: Samples received.
        burst: The latest burst, perhaps over by now.
        sign: Whether this very frame is voice: the first sign.
        quiet_since: End of the latest established voice.
        neural: Whether a neural detector takes part at all.
        noise_dbfs: The quietest level of late: falls at once, rises by 1 dB a second.
        usual_dbfs: Peak level of the caller's own turns so far; None before the first.
        usual_pitch_hz: Pitch of the caller's own turns so far.
    """

    now: int = 0
    burst: Burst = field(default_factory=lambda: Burst(0, -(10**9), dismissed=True))
    sign: bool = False
    quiet_since: int = 0
    neural: bool = False
    noise_dbfs: float = -60.0
    _own_voice: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=500))
    usual_dbfs: float | None = None
    usual_pitch_hz: float | None = None

    def hear(self, sound: Sound) -> None:
        """Take in one 20 ms frame."""
        self.now = sound.at
        self.neural = self.neural or sound.confidence > 0
        self._follow_noise(sound.level_dbfs)
        self._own_voice.append((sound.at, sound.own_voice))
        self.sign = self._is_voice(sound)
        if not self.sign:
            return
        gap_samples = sound.at - FRAME_SAMPLES - self.burst.ended
        if gap_samples > BURST_GAP_MS * SAMPLES_PER_MS or self._stands_out(sound):
            self.burst = Burst(sound.at - FRAME_SAMPLES, sound.at)
        burst = self.burst
        burst.ended = sound.at
        burst.voiced_ms += 20
        burst.peak_confidence = max(burst.peak_confidence, sound.confidence)
        burst.peak_dbfs = max(burst.peak_dbfs, sound.level_dbfs)
        if sound.pitch_hz:
            burst.pitches_hz.append(sound.pitch_hz)
        if self.established:
            self.quiet_since = sound.at

    @property
    def established(self) -> bool:
        """Whether the latest burst is somebody speaking rather than a stray sound."""
        return self.burst.voiced_ms >= ESTABLISHED_MS and (
            not self.neural or self.burst.peak_confidence >= SPEECH_CONFIDENCE
        )

    def own_voice(self, begin: int, end: int) -> float:
        """Mean belief between two samples that the audio was the agent's own; 0 when long past."""
        beliefs = [belief for at, belief in self._own_voice if begin < at <= end + FRAME_SAMPLES]
        return sum(beliefs) / len(beliefs) if beliefs else 0.0

    @property
    def speaking(self) -> bool:
        """Whether established voice was heard within the last 60 ms."""
        return self.established and self.burst_quiet_ms < 60

    @property
    def quiet_ms(self) -> float:
        """Time since established voice."""
        return (self.now - self.quiet_since) / SAMPLES_PER_MS

    @property
    def burst_quiet_ms(self) -> float:
        """Time since the latest burst's last voiced frame, established or not."""
        return (self.now - self.burst.ended) / SAMPLES_PER_MS

    @property
    def below_usual_db(self) -> float:
        """How much quieter the latest burst is than this caller usually is; 0 while unknown."""
        if self.usual_dbfs is None or not self.burst.voiced_ms:
            return 0.0
        return self.usual_dbfs - self.burst.peak_dbfs

    @property
    def other_voice(self) -> bool | None:
        """Whether the latest burst is much higher or lower than this caller speaks; None: unclear."""
        pitch = self.burst.pitch_hz
        if pitch is None or self.usual_pitch_hz is None:
            return None
        apart = abs(12 * log2(pitch / self.usual_pitch_hz))
        if SAME_VOICE_SEMITONES < apart < OTHER_VOICE_SEMITONES:
            return None
        return apart >= OTHER_VOICE_SEMITONES

    def learn_caller(self) -> None:
        """The latest burst was certainly the caller: remember how loud and how high they are."""
        if not self.burst.voiced_ms:
            return
        self.usual_dbfs = _towards(self.usual_dbfs, self.burst.peak_dbfs)
        if pitch := self.burst.pitch_hz:
            self.usual_pitch_hz = _towards(self.usual_pitch_hz, pitch)

    def _stands_out(self, sound: Sound) -> bool:
        """Whether the caller begins to speak in the middle of a sound that was judged nobody's turn."""
        burst = self.burst
        if not burst.dismissed:
            return False
        if self.neural and burst.peak_confidence < SPEECH_CONFIDENCE <= sound.confidence:
            return True
        return self.below_usual_db > 6 and sound.level_dbfs > (self.usual_dbfs or 0) - 3

    def _is_voice(self, sound: Sound) -> bool:
        if not sound.voiced or sound.own_voice >= OWN_VOICE:
            return False
        faintest = max(QUIETEST_DBFS, self.noise_dbfs + ABOVE_NOISE_DB)
        if self.burst_quiet_ms <= BURST_GAP_MS:
            faintest = max(faintest, self.burst.peak_dbfs - TAIL_DB)
        if sound.level_dbfs < faintest:
            return False
        young = self.burst_quiet_ms > BURST_GAP_MS or self.burst.voiced_ms < YOUNG_MS
        return not self.neural or young or sound.confidence >= SPEECH_CONFIDENCE

    def _follow_noise(self, level_dbfs: float) -> None:
        """Falls to quiet frames at once, rises by 1 dB/s, so talk does not pass for noise."""
        level = max(level_dbfs, -75.0)
        if level < self.noise_dbfs:
            self.noise_dbfs = level
        else:
            self.noise_dbfs = min(self.noise_dbfs + 0.02, level)


def _towards(usual: float | None, new: float) -> float:
    return new if usual is None else 0.7 * usual + 0.3 * new
