"""`python -m evals.run`: call a running Parley, play scenarios, print the scorecard.

    python -m evals.run --out runs/evals
    python -m evals.run --family I --limit 20 -- --asr nano --tts espeak
    python -m evals.run --item 'I_stop_*' --at-once 2

Without `--url` it starts `parley serve` with the examined persona; what follows `--` are that
server's options. Items on which the machine was too busy are void and played again, at most twice; a
call that the agent refuses or loses counts as failed, and the others go on.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from cli.output import run_program
from common.audiofile import write_wav
from common.errors import ParleyError, RemoteError
from evals.conduct import Recording, conduct
from evals.heard import SAMPLE_RATE_HZ
from evals.measure import Measurement, measure
from evals.report import scorecard
from evals.scenario import Scenario, load_all
from evals.server import serving
from evals.speakers import sound_of

PERSONA = Path(__file__).parent / "persona.yaml"
_TRIES = 3
_BETWEEN_CALLS_S = 0.5


def run(
    options: Annotated[list[str] | None, typer.Argument(help="Options for parley serve.")] = None,
    url: Annotated[str, typer.Option(help="A Parley that is already running.")] = "",
    family: Annotated[
        list[str] | None, typer.Option(help="Only these families, by letter.")
    ] = None,
    item: Annotated[str, typer.Option(help="Only items whose name is like this.")] = "*",
    limit: Annotated[int, typer.Option(help="At most this many per family; 0 is all.")] = 0,
    at_once: Annotated[int, typer.Option(min=1, help="How many calls go on at a time.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for recordings and results.")] = None,
) -> None:
    """Play scenarios on live calls and print what a caller experienced."""
    chosen = _choose([one for one in load_all() if fnmatch(one.id, item)], family, limit)
    if not chosen:
        raise typer.BadParameter("There is no such scenario; see evals/scenarios.")
    for step in (step for scenario in chosen for step in scenario.timeline):
        sound_of(step)  # now, because synthesis during a call would disturb its timing
    server = ["--persona", str(PERSONA), "--llm", "script", *(options or [])]
    with nullcontext((url, 0.0)) if url else serving(*server) as (address, _):
        items, void, cut_short, failed = asyncio.run(_play_all(address, chosen, out, at_once))
    console = Console()
    console.print(scorecard(items, void, cut_short, failed))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "measurements.json").write_text(json.dumps([asdict(m) for m in items], indent=1))
        console.print(f"Recordings and measurements are in {out}.")
    if failed:
        raise typer.Exit(1)


def _choose(items: list[Scenario], families: list[str] | None, limit: int) -> list[Scenario]:
    taken: dict[str, int] = {}
    chosen = []
    for item in items:
        if families and item.family not in families:
            continue
        taken[item.family] = taken.get(item.family, 0) + 1
        if not limit or taken[item.family] <= limit:
            chosen.append(item)
    return chosen


async def _play_all(
    url: str, chosen: list[Scenario], out: Path | None, at_once: int
) -> tuple[list[Measurement], int, int, int]:
    found: list[Measurement] = []
    void = cut_short = failed = 0
    waiting = iter(chosen)
    with Progress(console=Console(stderr=True)) as progress:
        calling = progress.add_task("calling", total=len(chosen))

        async def call_one_after_the_other() -> None:
            nonlocal void, cut_short, failed
            for scenario in waiting:
                try:
                    recording = await _play(url, scenario)
                except (ParleyError, httpx.HTTPError, TimeoutError) as error:
                    failed += 1
                    progress.console.print(f"{scenario.id}: {error or 'no connection'}")
                else:
                    # On a thread: other calls go on meanwhile.
                    measured = await asyncio.to_thread(_judge, recording, out)
                    void += not recording.health.ok
                    cut_short += bool(recording.health.ok and recording.failed_wait)
                    found.extend(measured)
                progress.advance(calling)

        await asyncio.gather(*(call_one_after_the_other() for _ in range(at_once)))
    return found, void, cut_short, failed


def _judge(recording: Recording, out: Path | None) -> list[Measurement]:
    measured = measure(recording)
    if out is not None:
        _keep(recording, measured, out)
    return measured


async def _play(url: str, scenario: Scenario) -> Recording:
    """Play it until the machine was quick enough to be trusted, `_TRIES` times at most."""
    for _ in range(_TRIES):
        recording = await conduct(scenario, lambda sdp, kind: offer_over_http(url, sdp, kind))
        await asyncio.sleep(_BETWEEN_CALLS_S)
        if recording.health.ok:
            break
    return recording


async def offer_over_http(url: str, sdp: str, kind: str) -> dict[str, str]:
    """Place a call as the page does: fetch its token, then post the offer.

    Raises:
        RemoteError: The server refused; the message is the server's own.
    """
    async with httpx.AsyncClient(base_url=url, timeout=15) as client:
        page = (await client.get("/api/page")).raise_for_status().json()
        reply = await client.post(
            "/api/offer",
            json={"sdp": sdp, "type": kind},
            headers={"Authorization": f"Bearer {page['token']}"},
        )
        if reply.status_code != httpx.codes.OK:
            raise RemoteError(f"{url} refused the call: {reply.text}")
        answer: dict[str, str] = reply.json()
        return answer


def _keep(recording: Recording, measured: list[Measurement], out: Path) -> None:
    """Write both sides as one stereo wav (left caller, right agent) and what happened as JSON."""
    folder = out / recording.scenario.id
    folder.mkdir(parents=True, exist_ok=True)
    write_wav(folder / "dialog.wav", np.stack([recording.said, recording.heard], 1), SAMPLE_RATE_HZ)
    report = {
        "scenario": recording.scenario.model_dump(),
        "utterances": [asdict(u) for u in recording.utterances],
        "health": asdict(recording.health),
        "failed_wait": recording.failed_wait,
        "measurements": [asdict(m) for m in measured],
        "events": recording.events,
    }
    (folder / "item.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    run_program(run)
