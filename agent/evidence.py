"""What turn-taking is told. Every piece is stamped with `at`: samples received from the caller (16 kHz)."""

from __future__ import annotations

from dataclasses import dataclass

from asr.interface import Hypothesis


@dataclass(frozen=True, slots=True)
class Sound:
    """20 ms of the caller's audio, judged. Also the clock: one arrives for every 20 ms received.

    Attributes:
        at: Samples received, this frame included.
        voiced: The cheap gate's verdict (webrtcvad).
        confidence: The neural detector's belief that this is speech, 0..1 (Silero; last known value).
        level_dbfs: RMS level of the frame.
        own_voice: Belief, 0..1, that what is heard is the agent's own voice coming back.
        pitch_hz: How high the voice is; 0 where nothing is periodic.
    """

    at: int
    voiced: bool
    confidence: float = 0.0
    level_dbfs: float = -100.0
    own_voice: float = 0.0
    pitch_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class Heard:
    """The recogniser's present view of what the caller said since the last commit."""

    at: int
    hypothesis: Hypothesis


@dataclass(frozen=True, slots=True)
class Finished:
    """How finished the caller's turn sounds, judged on the pause that began at `pause_began`."""

    at: int
    pause_began: int
    probability: float


@dataclass(frozen=True, slots=True)
class AgentAudio:
    """The agent's playout changed: `audible` says whether the caller hears it from now on.

    Attributes:
        text: What the agent is saying (all text handed to the voice so far this turn), for the
            own-voice gate and for judging what the caller answers to.
        interruptible: False during passages that must be heard out (a legal notice).
    """

    at: int
    audible: bool
    text: str = ""
    interruptible: bool = True


@dataclass(frozen=True, slots=True)
class AgentThinking:
    """A reply is being prepared (True) or that ended without audio (False).

    Attributes:
        words: Its first words are there: the caller will hear it in a moment.
    """

    at: int
    thinking: bool
    words: bool = False


@dataclass(frozen=True, slots=True)
class Typed:
    """The caller typed a message instead of saying it."""

    at: int
    text: str


@dataclass(frozen=True, slots=True)
class StopPressed:
    """The caller asked for silence by a button instead of by voice."""

    at: int


Evidence = Sound | Heard | Finished | AgentAudio | AgentThinking | Typed | StopPressed
