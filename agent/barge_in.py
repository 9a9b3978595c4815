"""A sound came while the agent had the floor: is it an interruption?

    caller      ▁▁▁▁█████████▁▁▁▁          "wait"            "mm-hm"
    agent       █████·                      paused within one frame of the first sign
    decided          └─ words? ─┘           → interrupt      → the same audio goes on

While the question is open the agent is silent, so waiting for the recogniser costs a real interrupter
nothing. It costs those who did not mean to interrupt: after `HOLD_MS` the agent goes on, softly, unless
it looks as if somebody took the floor, and the sound is judged when its words are in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.backchannels import Meaning

CLICK_MS = 100  # shorter than the shortest word
CLICK_QUIET_MS = 140  # longer than the closure behind the s of “stop”
WORDLESS_MS = 400  # no sentence is so long without its first word: laughter, "mmm", a hum
WORDLESS_QUIET_MS = 700  # no recogniser in use needs longer for a word
BACKCHANNEL_QUIET_MS = 120
TALKS_ON_MS = 450  # voice that goes on after "yeah" for so long is a sentence
ONGOING_QUIET_MS = 200
HOLD_MS = 320  # a gap of 0.4 s is where people begin to hear that the agent stopped
HOLD_LIMIT_MS = 360  # for a sound that is over and whose words are being asked for
HARMLESS_QUIET_MS = 60
UNSURE_CONFIDENCE = 0.6  # coughs and laughter stay below, speech close to a microphone does not
BEGINNING_QUIET_MS = 300
NOT_SPEECH_MS = 140
NOT_SPEECH_CONFIDENCE = 0.25
LEVEL_KNOWN_MS = 280  # the s and t of “stop” alone last 160 ms, far below its vowel
SOMEONE_ELSE_DB = 7.0  # turned away or across the room, against the caller's own usual level
ROOM_DB = 17.0  # no browser lowers a microphone so far: a television, whatever its pitch
ASIDE_DB = 5.0  # one voice varies by 3 dB from sentence to sentence
OTHER_VOICE_DB = 2.0  # who takes over the microphone is as loud as the caller was
ASIDE_MS = 1500  # who speaks on for so long means the agent
FAR_ACCEPT_MS = 3000  # somebody far away who speaks that long does mean the agent
SURE_WORD = 0.75
SURE_COMMAND = 0.55  # "stop", "wait": rarely heard by mistake
NOT_A_GUESS = 0.3  # of several words the surest
LONG_SOUND_MS = 500  # longer than most backchannels of one word
TALK_MS = 700  # longer than most of two ("got it", "of course")
SURE_VOICE_MS = 160


class Verdict(StrEnum):
    """What to do about the sound."""

    WAIT = "wait"
    INTERRUPT = "interrupt"
    BACKCHANNEL = "backchannel"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Doubt:
    """All that is known about a sound that came while the agent had the floor.

    Attributes:
        voiced_ms: Voice in it so far.
        quiet_ms: Silence since its last voiced frame.
        confidence: The neural detector's highest belief; 1 where there is no detector.
        below_usual_db: How much quieter it is than the caller usually speaks.
        began_far: It began so quietly that it was taken for somebody else.
        other_voice: It is much higher or lower than the caller speaks; None: unclear. False is the
            caller, unless very quiet: browsers lower a microphone by 10 dB while the agent is heard.
        meaning: What those words do to the floor.
        seems: What they and those that may still change would do to it.
        word_count: How many words are understood for sure.
        word_confidence: The surest of those that are no backchannel.
        words_final: Whether the recogniser has nothing more to say about it.
        wordless_ms: How much of its beginning the recogniser found no word in, for good.
        on_after_word_ms: Voice that followed the last word understood.
    """

    voiced_ms: int
    quiet_ms: float
    confidence: float = 1.0
    below_usual_db: float = 0.0
    began_far: bool = False
    other_voice: bool | None = None
    meaning: Meaning = Meaning.NOTHING
    seems: Meaning = Meaning.NOTHING
    word_count: int = 0
    word_confidence: float = 1.0
    words_final: bool = False
    wordless_ms: float = 0.0
    on_after_word_ms: float = 0.0

    @property
    def far(self) -> bool:
        """Somebody across the room: much quieter than the caller, and more so at the same pitch."""
        if self.voiced_ms >= FAR_ACCEPT_MS:
            return False
        quietest_own = ROOM_DB if self.other_voice is False else SOMEONE_ELSE_DB
        return self.below_usual_db >= quietest_own

    @property
    def aside(self) -> bool:
        """Perhaps said to somebody else, or by somebody else: quieter than the caller, and not long."""
        if self.other_voice is False:
            return False
        if self.other_voice and self.below_usual_db >= OTHER_VOICE_DB:
            return self.voiced_ms < FAR_ACCEPT_MS
        quiet = self.below_usual_db >= ASIDE_DB or self.began_far
        return quiet and self.voiced_ms < ASIDE_MS


def decide(doubt: Doubt, interrupt_voice_ms: int) -> tuple[Verdict, str]:
    """Judge a sound.

    Args:
        doubt: What is known about it.
        interrupt_voice_ms: Voice that suffices without any word.

    Returns:
        The verdict, and why, in words; the reason of `WAIT` is empty.
    """
    if doubt.meaning is Meaning.TAKES_FLOOR and _sure(doubt, SURE_COMMAND) and not doubt.far:
        return Verdict.INTERRUPT, "the caller takes the floor"
    if doubt.far and (doubt.voiced_ms >= LEVEL_KNOWN_MS or doubt.quiet_ms >= CLICK_QUIET_MS):
        return (
            Verdict.IGNORE,
            f"{doubt.below_usual_db:.0f} dB quieter than the caller: someone else",
        )
    if doubt.meaning is Meaning.CONTENT and _sure(doubt, SURE_WORD):
        if not doubt.aside:
            return Verdict.INTERRUPT, "the caller says something"
        if doubt.quiet_ms >= BEGINNING_QUIET_MS and doubt.words_final:
            return Verdict.IGNORE, f"said aside, {doubt.below_usual_db:.0f} dB quieter than usual"
        return Verdict.WAIT, ""
    if doubt.meaning is Meaning.BEGINNING and doubt.quiet_ms >= BEGINNING_QUIET_MS:
        if doubt.voiced_ms >= LONG_SOUND_MS:
            return Verdict.INTERRUPT, "the caller begins to say something"
        if doubt.words_final:
            return Verdict.IGNORE, "a sound that only resembles a word"
    if doubt.seems.backchannel:
        return _backchannel(doubt)
    return _wordless(doubt, interrupt_voice_ms)


def harmless(doubt: Doubt) -> bool:
    """Whether an undecided sound is so likely to be nothing that the agent need not stay silent for it."""
    if doubt.seems is Meaning.TAKES_FLOOR:
        return False
    if doubt.quiet_ms >= HARMLESS_QUIET_MS or doubt.seems.backchannel or doubt.aside:
        return True
    if doubt.seems is not Meaning.NOTHING:
        return doubt.seems is Meaning.BEGINNING
    return doubt.confidence < UNSURE_CONFIDENCE or doubt.wordless_ms >= WORDLESS_MS


def _sure(doubt: Doubt, confidence: float) -> bool:
    """Whether the words are beyond doubt: one of them certain, or several in a long sound.

    Recognisers make words of "mm-hm", but short ones, and without conviction.
    """
    if doubt.word_confidence >= confidence and doubt.voiced_ms >= SURE_VOICE_MS:
        return True
    long = doubt.voiced_ms >= TALK_MS
    whole = doubt.voiced_ms >= LONG_SOUND_MS and doubt.words_final
    least = NOT_A_GUESS if long else SURE_COMMAND
    return (long or whole) and doubt.word_count >= 2 and doubt.word_confidence >= least


def _backchannel(doubt: Doubt) -> tuple[Verdict, str]:
    ongoing = doubt.quiet_ms < ONGOING_QUIET_MS and doubt.seems is not Meaning.VOCAL
    if ongoing and doubt.on_after_word_ms >= TALKS_ON_MS and not doubt.aside:
        return Verdict.INTERRUPT, "the caller talks on"
    if doubt.quiet_ms >= BACKCHANNEL_QUIET_MS and (
        doubt.words_final or doubt.quiet_ms >= WORDLESS_QUIET_MS
    ):
        return Verdict.BACKCHANNEL, "the caller only agrees"
    return Verdict.WAIT, ""


def _wordless(doubt: Doubt, interrupt_voice_ms: int) -> tuple[Verdict, str]:
    if doubt.voiced_ms >= NOT_SPEECH_MS and doubt.confidence < NOT_SPEECH_CONFIDENCE:
        return Verdict.IGNORE, "a noise, not a voice"
    ongoing = doubt.quiet_ms < ONGOING_QUIET_MS and doubt.wordless_ms < doubt.voiced_ms / 2
    if ongoing and doubt.voiced_ms >= interrupt_voice_ms and not doubt.aside:
        return Verdict.INTERRUPT, f"voice for {interrupt_voice_ms} ms"
    if doubt.voiced_ms < CLICK_MS and doubt.quiet_ms >= CLICK_QUIET_MS:
        return Verdict.IGNORE, "a click"
    if doubt.quiet_ms >= BACKCHANNEL_QUIET_MS and doubt.words_final and not doubt.word_count:
        return Verdict.IGNORE, "a sound without words"
    if doubt.quiet_ms >= WORDLESS_QUIET_MS:
        return Verdict.IGNORE, "no word that is sure"
    return Verdict.WAIT, ""
