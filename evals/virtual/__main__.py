"""`python -m evals.virtual`: every scenario with every set of scripted engines, and what came of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from agent.pace import TurnOptions, options_for
from cli.output import run_program
from evals.scenario import Behaviour, Scenario, load_all
from evals.virtual.measure import STOP_MS, Outcome, measure
from evals.virtual.world import DELAYED, ECHOING, FAST, HARSH, World

SLOW_EARS = "audio"
PROMPT = replace(FAST, flush_ms=20)  # pocketsphinx on what was said within the last seconds
ENGINES = {"fast": FAST, "delayed": DELAYED, "harsh": HARSH, "echoing": ECHOING}


def run_all(engines: str, pace: str = "balanced", families: str = "") -> list[Outcome]:
    """Every scenario (of these families) once."""
    chosen = [s for s in load_all() if not families or s.family in families]
    shown = track(chosen, engines, console=Console(stderr=True), transient=True)
    return [measure(s, _world(s, engines, options_for(pace)).play()) for s in shown]


def _world(scenario: Scenario, engines: str, options: TurnOptions) -> World:
    if engines == SLOW_EARS:
        from evals.virtual.audio_ears import AudioEars

        return World(scenario, PROMPT, options, ears=AudioEars(scenario.seed))
    return World(scenario, ENGINES[engines], options)


def share(outcomes: Sequence[Outcome], what: str) -> float:
    """Share of outcomes for which a yes-or-no attribute holds."""
    return sum(bool(getattr(outcome, what)) for outcome in outcomes) / len(outcomes)


def percentile(values: Sequence[float], part: float) -> float:
    """Nearest-rank percentile."""
    return sorted(values)[max(math.ceil(part * len(values)), 1) - 1] if values else float("nan")


def table(outcomes: Sequence[Outcome]) -> str:
    """One line per family."""
    lines = []
    for family in dict.fromkeys(outcome.scenario.family for outcome in outcomes):
        members = [o for o in outcomes if o.scenario.family == family and o.valid]
        void = sum(o.scenario.family == family and not o.valid for o in outcomes)
        line = f"{family}  n={len(members):3d} void={void:2d}  "
        if not members:
            lines.append(line)
            continue
        if members[0].scenario.expect is Behaviour.RESPOND:
            v2v = [o.v2v_ms for o in members if o.v2v_ms is not None]
            line += (
                f"takeover {share(members, 'took_over'):.3f}  miss {share(members, 'missed'):.3f}  "
            )
            line += f"v2v p50 {percentile(v2v, 0.5):4.0f} p95 {percentile(v2v, 0.95):4.0f} ms  "
            line += f"lost {sum(len(o.lost) for o in members):2d}  "
            if family in "IR":
                stops = [o.stop_ms for o in members if o.stop_ms is not None]
                line += f"yield {share(members, 'yielded'):.3f}  stop p95 {percentile(stops, 0.95):3.0f} ms  "
            line += f"answers {statistics.mean(o.answers for o in members):.2f}"
        else:
            stopped = sum(o.silenced_ms >= STOP_MS or o.hard_stop for o in members) / len(members)
            held = [o.silenced_ms for o in members]
            line += f"stopped {stopped:.3f}  hard {share(members, 'hard_stop'):.3f}  "
            line += (
                f"silenced p50 {percentile(held, 0.5):3.0f} p95 {percentile(held, 0.95):3.0f} ms  "
            )
            line += f"answered {share(members, 'answered'):.3f}"
        lines.append(line)
    return "\n".join(lines)


def main(
    engines: Annotated[
        list[str] | None, typer.Argument(help="fast, delayed, harsh, echoing, or audio (slow).")
    ] = None,
    pace: Annotated[str, typer.Option(help="eager, balanced or patient.")] = "balanced",
    families: Annotated[str, typer.Option(help="Only these, by letter.")] = "",
) -> None:
    """Play scripted callers against turn-taking in virtual time and print what came of it."""
    for name in engines or ENGINES:
        if name not in (*ENGINES, SLOW_EARS):
            raise typer.BadParameter(f"There are no engines {name!r}.")
    if not any(not families or scenario.family in families for scenario in load_all()):
        raise typer.BadParameter(f"There are no families {families!r}.")
    for name in engines or ENGINES:
        typer.echo(f"— {name}\n{table(run_all(name, pace, families))}")


if __name__ == "__main__":
    run_program(main)
