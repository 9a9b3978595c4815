"""`python -m benchmarks.startup`: how long until Parley can be talked to.

Starts `parley serve`, waits until it says it is ready, then places calls one after another with a
real WebRTC client and prints percentiles: start → ready, offer → connected, connected → greeting
audible at the caller.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from cli.output import run_program
from evals.caller import Caller
from evals.run import offer_over_http
from evals.server import serving

_GREETING_LIMIT_S = 10.0


async def _call(url: str) -> tuple[float, float]:
    """(offer → connected, connected → first audible sample of the greeting), milliseconds."""
    caller = Caller(lambda sdp, kind: offer_over_http(url, sdp, kind))
    began = time.monotonic()
    async with caller:
        assert caller.mouth.began_s is not None
        connected_ms = 1000 * (caller.mouth.began_s - began)
        if not await caller.wait_audible(True, for_s=0.02, timeout_s=_GREETING_LIMIT_S):
            raise SystemExit("no greeting was heard")
        return connected_ms, 1000 * caller.now_s


async def _calls(url: str, count: int) -> np.ndarray:
    rows = []
    for _ in range(count):
        rows.append(await _call(url))
        await asyncio.sleep(0.5)
    return np.array(rows)


def run(
    calls: Annotated[int, typer.Option(help="How many calls to place.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure start-up, connection and greeting."""
    with serving() as (url, ready_s):
        rows = asyncio.run(_calls(url, calls))
    p50, p95 = np.percentile(rows, 50, axis=0), np.percentile(rows, 95, axis=0)
    if as_json:
        report = {
            "ready_s": ready_s,
            "connected_ms": {"p50": p50[0], "p95": p95[0]},
            "greeting_ms": {"p50": p50[1], "p95": p95[1]},
            "calls": calls,
        }
        print(json.dumps(report))
        return
    table = Table("what", "p50", "p95", title=f"Start-up, {calls} calls", title_justify="left")
    table.add_row("serve → ready, s", f"{ready_s:.1f}", "")
    table.add_row("offer → connected, ms", f"{p50[0]:.0f}", f"{p95[0]:.0f}")
    table.add_row("connected → greeting heard, ms", f"{p50[1]:.0f}", f"{p95[1]:.0f}")
    Console().print(table)


if __name__ == "__main__":
    run_program(run)
