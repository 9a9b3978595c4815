"""`parley replay`: a recorded call through turn-taking once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.replay import replay as replay_log
from asr.interface import SAMPLE_RATE_HZ


def replay(
    log: Annotated[Path, typer.Argument(help="Event log of a call.")],
    pace: Annotated[
        str | None, typer.Option(help="Try another pace: eager, balanced or patient.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print every decision.")] = False,
) -> None:
    """Feed a recorded call through turn-taking once more; the decisions must be the same, bit for bit.

    Exits with 1 at the first difference. With --pace, differences are what you want to see.
    """
    result = replay_log(log, pace=pace)
    if verbose:
        for decision in result.decisions:
            at_s = decision.at / SAMPLE_RATE_HZ
            typer.echo(f"{at_s:9.2f} s  {type(decision).__name__:<16} {decision.reason}")
    counted = f"{result.evidence_count} pieces of evidence, {len(result.decisions)} decisions"
    if result.difference:
        typer.echo(f"{counted}. First difference: {result.difference}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{counted}: the same as recorded.")
