"""How patient the agent is, in plain words: a persona says `eager`, `balanced` or `patient`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from common.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """Everything turn-taking can be tuned by. Personas choose a pace, not these.

    Attributes:
        patience_ms: Silence that ends a turn, at a belief of 0, 0.25, 0.5, 0.75 and 1 that it is finished.
        speculate_ms: Silence after which a plausible end is answered provisionally.
        speculate_belief: How plausible the end must be for that.
        words_grace_ms: How much longer to wait for the recogniser's final words than for the silence.
        interrupt_voice_ms: Voice that interrupts the agent even before a word is understood.
        idle_s: Silence of both after which the agent asks whether anybody is there.
        long_turn_s: Talk after which the agent puts in an "mm-hm".
        fill_ms: Silence after a turn at which the caller is asked for patience.
        fill_again_ms: Silence after anything was heard of the agent at which that is done again.
        fillers: How often at most in one turn; 0 where the persona has no words for it.
        thinking_limit_s: A reply of which nothing was heard for so long is given up on.
    """

    patience_ms: tuple[int, int, int, int, int] = (2400, 1550, 680, 380, 240)
    speculate_ms: int = 160
    speculate_belief: float = 0.4
    words_grace_ms: int = 500
    interrupt_voice_ms: int = 1000
    idle_s: float = 10.0
    long_turn_s: float = 25.0
    fill_ms: int = 2000
    fill_again_ms: int = 6000
    fillers: int = 3
    thinking_limit_s: float = 30.0


BALANCED = TurnOptions()
PACES = {
    "eager": replace(BALANCED, patience_ms=(1700, 1050, 520, 300, 200), speculate_ms=120),
    "balanced": BALANCED,
    "patient": replace(
        BALANCED,
        patience_ms=(3400, 2500, 1600, 900, 450),
        speculate_ms=240,
        idle_s=16.0,
        long_turn_s=40.0,
    ),
}


def options_for(pace: str) -> TurnOptions:
    """The options behind a pace.

    Raises:
        ConfigError: There is no such pace.
    """
    if pace not in PACES:
        raise ConfigError(f"There is no pace {pace!r}.", f"Use one of {', '.join(PACES)}.")
    return PACES[pace]
