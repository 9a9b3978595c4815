"""The scorecard: percentiles and rates with their uncertainty, and how many items stand behind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from evals.measure import Measurement

# Fewer observations than this cannot bound a 95th percentile with 95 % confidence: 1 − 0.95^n.
_MIN_FOR_P95 = 59
_MIN_FOR_RATE = 10


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A latency over n observations, milliseconds."""

    n: int
    p50: float
    p95: float

    @property
    def p95_is_bounded(self) -> bool:
        """Whether n observations are enough to state a 95th percentile."""
        return self.n >= _MIN_FOR_P95


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of n events with its 95 % Wilson interval."""

    n: int
    share: float
    low: float
    high: float


def percentiles(values: Iterable[float | None]) -> Percentiles | None:
    """Median and 95th percentile of what was observed; None when nothing was."""
    observed = [value for value in values if value is not None]
    if not observed:
        return None
    p50, p95 = np.percentile(observed, [50, 95])
    return Percentiles(len(observed), float(p50), float(p95))


def rate(values: Iterable[bool | None]) -> Rate | None:
    """Share of True among what was observed; None when nothing was (Wilson 1927)."""
    observed = [value for value in values if value is not None]
    if not observed:
        return None
    n, share, z = len(observed), sum(observed) / len(observed), 1.96
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Rate(n, share, max(0.0, centre - half), min(1.0, centre + half))


def scorecard(items: Sequence[Measurement], void: int, cut_short: int, failed: int) -> Table:
    """A table of every headline figure with the number of observations behind it.

    Args:
        items: What was measured.
        void: Calls left out because the machine was too busy.
        cut_short: Calls whose script ended early because the agent did not do what it waits for.
        failed: Calls that the agent refused or lost.
    """
    title = f"Scorecard ({void} calls void, {cut_short} cut short, {failed} failed)"
    table = Table(title=title, title_justify="left")
    for column in ("what", "n", "value", "spread"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, times_ms in _latencies(items).items():
        if found := percentiles(times_ms):
            p95 = f"p95 {found.p95:.0f}" + ("" if found.p95_is_bounded else " (few)")
            table.add_row(f"{name}, ms", str(found.n), f"p50 {found.p50:.0f}", p95)
    for name, events in _events(items).items():
        if share := rate(events):
            few = "" if share.n >= _MIN_FOR_RATE else " (few)"
            spread = f"{share.low:.2f}–{share.high:.2f}{few}"
            table.add_row(name, str(share.n), f"{share.share:.3f}", spread)
    return table


def _latencies(items: Sequence[Measurement]) -> dict[str, list[float | None]]:
    turns, interruptions = _of(items, "turn"), _of(items, "interruption")
    return {
        "voice to voice": [m.voice_to_voice_ms for m in turns],
        "the agent's own waterfall is off by": [m.waterfall_off_ms for m in turns],
        "end of turn to the reply's first word": [m.llm_ms for m in turns],
        "voice to voice after an interruption": [m.voice_to_voice_ms for m in interruptions],
        "stop after an interruption": [m.stop_ms for m in items],
        "stop for good": [m.stop_for_good_ms for m in items],
    }


def _events(items: Sequence[Measurement]) -> dict[str, Sequence[bool | None]]:
    turns, interruptions = _of(items, "turn"), _of(items, "interruption")
    others = [m for m in (*turns, *interruptions) if m.family not in "PHK"]
    return {
        "turns answered": [m.answered for m in turns],
        "interruptions answered": [m.answered for m in interruptions],
        "replies prepared ahead": [m.prepared for m in turns],
        "prepared replies that were thrown away": _dropped(turns),
        "pauses taken for the end": _cut_in(turns, "P"),
        "hesitations taken for the end": _cut_in(turns, "H"),
        "answer begun before the caller went on": _cut_in(turns, "K"),
        "other turns cut into": [m.cut_in for m in others],
        "interruptions yielded": [m.yielded for m in items],
        "first word of an interruption understood": [m.first_word_heard for m in items],
        "stopped by a backchannel": _wrongly(items, "backchannel"),
        "stopped by a noise": _wrongly(items, "tic"),
        "stopped by side talk": _wrongly(items, "side_talk"),
        "stopped by somebody in the background": _wrongly(items, "background"),
        "noise or silence answered": [m.spoke_unasked for m in items],
    }


def _of(items: Sequence[Measurement], role: str) -> list[Measurement]:
    return [m for m in items if m.role == role]


def _cut_in(turns: Sequence[Measurement], family: str) -> list[bool | None]:
    return [m.cut_in for m in turns if m.family == family]


def _dropped(turns: Sequence[Measurement]) -> list[bool]:
    """For each reply prepared ahead, whether it was thrown away."""
    thrown_away = sum(m.thrown_away or 0 for m in turns)
    return [True] * thrown_away + [False] * sum(m.prepared is True for m in turns)


def _wrongly(items: Sequence[Measurement], role: str) -> list[bool | None]:
    return [m.wrongly_stopped for m in _of(items, role)]
