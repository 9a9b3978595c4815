"""What turn-taking decides. Each decision carries when (`at`, samples received) and why, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """Base of all decisions.

    Attributes:
        at: Samples received when it was taken.
        reason: Why, in words a caller would understand.
    """

    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class TurnStarted(Decision):
    """The caller's turn began."""

    began_samples: int = 0


@dataclass(frozen=True, slots=True)
class AskFinished(Decision):
    """Judge how finished the turn sounds, for the pause that began at `pause_began`."""

    pause_began: int = 0


@dataclass(frozen=True, slots=True)
class FlushWords(Decision):
    """Ask the recogniser for its final words now (they come back as `Heard` with `final`)."""


@dataclass(frozen=True, slots=True)
class Speculate(Decision):
    """Start preparing a reply to `text`; the turn may still go on."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class DropSpeculation(Decision):
    """The caller went on: throw the prepared reply away without trace.

    Also taken after a `Commit` whose reply nobody has heard yet. Then the committed text leaves the
    conversation too: the next `Commit` brings it back, with what the caller added.
    """


@dataclass(frozen=True, slots=True)
class Commit(Decision):
    """The caller's turn is over and said `text`; answer it. Words before `upto_samples` are taken.

    Attributes:
        text: The whole turn. Equal to the text of the latest `Speculate` when that reply can be used.
        upto_samples: Where the words taken end.
        goodbye: The caller said farewell: answer in kind, then hang up.
    """

    text: str = ""
    upto_samples: int = 0
    goodbye: bool = False


@dataclass(frozen=True, slots=True)
class Hold(Decision):
    """The caller paused but is not finished: keep waiting."""


@dataclass(frozen=True, slots=True)
class Duck(Decision):
    """Possible interruption: pause the agent's audio where it is, within one frame."""


@dataclass(frozen=True, slots=True)
class Resume(Decision):
    """The same audio goes on from where it was.

    Attributes:
        softly: Nobody knows yet what the sound was: under the caller's voice, until it is judged.
    """

    softly: bool = False


@dataclass(frozen=True, slots=True)
class Interrupt(Decision):
    """A real interruption: stop the audio, cancel the reply and the voice, listen."""


@dataclass(frozen=True, slots=True)
class Backchannel(Decision):
    """The caller said "mm-hm" or the like: noted, not answered. Words before `upto_samples` are taken."""

    text: str = ""
    upto_samples: int = 0


@dataclass(frozen=True, slots=True)
class Ignore(Decision):
    """A sound that is nobody's turn (cough, echo, someone else). Words before `upto_samples` are taken."""

    upto_samples: int = 0


@dataclass(frozen=True, slots=True)
class Fill(Decision):
    """The answer is long in coming: a few words that ask for patience are in order."""


@dataclass(frozen=True, slots=True)
class GiveUp(Decision):
    """No answer will come any more: cancel it, say so, listen."""


@dataclass(frozen=True, slots=True)
class Idle(Decision):
    """Nobody has spoken for long: `prompts` says how many times that has happened in a row, from 1."""

    prompts: int = 1


@dataclass(frozen=True, slots=True)
class Acknowledge(Decision):
    """The caller has talked for very long: a short "mm-hm" is in order."""
