"""`python -m benchmarks.transport`: what the line itself costs, ours next to pipecat on stock aiortc.

The agent answers each burst of tone with a beep at once; no model is involved. Both lines are called by
turns, so that whatever else the machine does hits both alike. The caller lives in a process of its own
and speaks on an absolute schedule. *Mouth* is the instant a burst's first sample is
spoken (so the 20 ms packet it travels in is included), *ear* the instant the beep's first sample is in
the caller's hands. Measured too: the same after one lost packet, the CPU of idle calls, and how late
the event loop is while a model works on its own thread.
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Annotated, Any

import numpy as np
import typer
from loguru import logger
from rich.console import Console
from rich.table import Table

from benchmarks.lines import LOUD, OurLine, StockLine, idle_calls
from cli.output import run_program
from evals.caller import FRAME_S, Caller, Offer
from evals.heard import SAMPLE_RATE_HZ, Arrival
from pipelines.engines import NANO_TTS
from pipelines.media.looplag import LoopLag
from tts.engine import VoxtralTtsEngine

BURST_EVERY_S = 0.5
BURST_S = 0.060
CALLS = 4  # of each line
_SENTENCES = "The harbour office opens at nine. " * 20


# ---- the caller, in its own process ---------------------------------------------------------------


def caller_process(pipe: Connection, bursts: int, lose_one: bool) -> None:
    """Place a call through `pipe`, speak bursts, report one latency in ms per answered burst."""
    logger.remove()
    asyncio.run(_caller(pipe, bursts, lose_one))


def _through(pipe: Connection) -> Offer:
    async def offer(sdp: str, kind: str) -> dict[str, str]:
        pipe.send((sdp, kind))
        return await asyncio.to_thread(pipe.recv)

    return offer


async def _caller(pipe: Connection, bursts: int, lose_one: bool) -> None:
    rng = np.random.default_rng(5)
    async with Caller(_through(pipe)) as caller:
        await caller.sleep(1.5)
        if lose_one:
            _lose_next_packet(caller._pc.getSenders()[0])
            await caller.sleep(1.0)
        said = []
        for _ in range(bursts):
            pause = int(rng.uniform(0, FRAME_S) * SAMPLE_RATE_HZ)  # anywhere inside a packet
            tone = 0.5 * np.sin(
                2 * np.pi * 1000 * np.arange(int(BURST_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
            )
            begin_s = caller.mouth.say(np.concatenate([np.zeros(pause), tone]))
            said.append(begin_s + pause / SAMPLE_RATE_HZ)
            await caller.sleep(BURST_EVERY_S)
        await caller.sleep(0.5)
        heard = _onsets(caller.timeline.arrivals)
        health = caller.health()
    # The track hands a frame over when it begins; a microphone does when it is full.
    latencies = [
        1000 * (FRAME_S + next(h for h in heard if h > s) - s)
        for s in said
        if any(s < h < s + BURST_EVERY_S for h in heard)
    ]
    pipe.send({"latencies_ms": latencies, "spoken": bursts, "healthy": health.ok})


def _lose_next_packet(sender: Any) -> None:
    transport = sender.transport
    send = transport._send_rtp

    async def lossy(data: bytes) -> None:
        if 96 <= data[1] & 0x7F <= 127:  # audio, not RTCP
            transport._send_rtp = send
        else:
            await send(data)

    transport._send_rtp = lossy


def _onsets(arrivals: list[Arrival]) -> list[float]:
    onsets, quiet = [], 0.0
    for arrival in arrivals:
        loud = np.flatnonzero(np.abs(arrival.pcm) > LOUD)
        if len(loud) and quiet > 0.1:
            onsets.append(arrival.at_s + loud[0] / SAMPLE_RATE_HZ)
        quiet = 0.0 if len(loud) else quiet + FRAME_S
    return onsets


# ---- the agent's side, measured -------------------------------------------------------------------


async def call(answer: Offer, bursts: int, lose_one: bool) -> dict[str, Any]:
    """Let one caller speak to a line; what `caller_process` reports."""
    ours, theirs = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=caller_process, args=(theirs, bursts, lose_one))
    process.start()
    with ThreadPoolExecutor(1) as waiting:
        receive = asyncio.get_running_loop().run_in_executor
        sdp, kind = await receive(waiting, ours.recv)
        ours.send(await answer(sdp, kind))
        result: dict[str, Any] = await receive(waiting, ours.recv)
    await asyncio.to_thread(process.join)
    return result


async def latencies(bursts: int, *, lose_one: bool) -> dict[str, dict[str, Any]]:
    """Call both lines by turns; what was measured on each."""
    lines: dict[str, type[OurLine] | type[StockLine]] = {"ours": OurLine, "stock": StockLine}
    calls: dict[str, list[dict[str, Any]]] = {name: [] for name in lines}
    for _ in range(CALLS):
        for name, open_line in lines.items():
            line = open_line()
            calls[name].append(await call(line.answer, -(-bursts // CALLS), lose_one))
            await line.close()
    return {name: _summary(reports) for name, reports in calls.items()}


def _summary(reports: list[dict[str, Any]]) -> dict[str, Any]:
    values = [value for report in reports for value in report["latencies_ms"]]
    p50, p95 = np.percentile(values or [np.nan], (50, 95))
    return {
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "answered": f"{len(values)}/{sum(report['spoken'] for report in reports)}",
        "healthy": all(report["healthy"] for report in reports),
    }


def idle_process(pipe: Connection, calls: int, seconds: float) -> None:
    """Hold `calls` silent calls for `seconds`."""
    logger.remove()

    async def hold() -> None:
        callers = []
        for _ in range(calls):
            callers.append(await Caller(_through(pipe)).__aenter__())
        pipe.send("all connected")
        await asyncio.sleep(seconds + 3)
        for caller in callers:
            await caller.__aexit__()

    asyncio.run(hold())


async def idle_cpu(
    answer: Offer, frames: Callable[[], int], calls: int, seconds: float
) -> dict[str, float]:
    """What each of several silent calls costs this process.

    Args:
        answer: Answers an offer.
        frames: How many 20 ms frames have been heard so far, all calls together.
        calls: How many there are.
        seconds: How long to measure.

    Returns:
        `percent` of one core per call, and the share of frames that were `served` in time: a machine
        that is too busy serves fewer and looks cheaper, so the percentage is per frame served.
    """
    ours, theirs = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=idle_process, args=(theirs, calls, seconds))
    process.start()
    with ThreadPoolExecutor(1) as waiting:
        receive = asyncio.get_running_loop().run_in_executor
        while (message := await receive(waiting, ours.recv)) != "all connected":
            ours.send(await answer(*message))
        await asyncio.sleep(1.5)
        began_s, before_s, before_frames = time.monotonic(), time.process_time(), frames()
        await asyncio.sleep(seconds)
        used_s = time.process_time() - before_s
        served = frames() - before_frames
        due = calls * (time.monotonic() - began_s) / FRAME_S
    await asyncio.to_thread(process.join)
    return {
        "percent": round(100 * used_s / (served * FRAME_S), 1),
        "served": round(served / due, 3),
    }


async def loop_lag(seconds: float) -> dict[str, float]:
    """Lateness of the event loop while the nano voice speaks as fast as it can on its own thread."""
    engine = VoxtralTtsEngine.load(NANO_TTS, max_streams=1, ahead_s=math.inf)
    frames = 0

    async def speak() -> None:
        nonlocal frames
        while True:
            stream = await engine.open()
            stream.write(_SENTENCES)
            stream.end_text()
            async for _ in stream.frames():
                frames += 1

    speaking = asyncio.create_task(speak())
    await asyncio.sleep(1.0)
    lag, before_frames = LoopLag(), frames
    lag.start()
    await asyncio.sleep(seconds)
    lag.stop()
    speaking.cancel()
    await asyncio.gather(speaking, return_exceptions=True)
    await engine.close()
    percentiles = {f"p{p}_ms": round(lag.percentile_ms(p), 2) for p in (50, 99)}
    return percentiles | {"frames": frames - before_frames}


async def _measure(bursts: int, seconds: float) -> dict[str, Any]:
    result: dict[str, Any] = await latencies(bursts, lose_one=False)
    for name, row in (await latencies(bursts, lose_one=True)).items():
        result[f"{name} after a lost packet"] = row
    stock = StockLine()
    result["idle CPU per call, stock"] = await idle_cpu(stock.answer, stock.frames, 4, seconds)
    await stock.close()
    async with idle_calls() as (answer, frames):
        result["idle CPU per call, ours"] = await idle_cpu(answer, frames, 4, seconds)
        result["event loop while a model runs"] = await loop_lag(seconds)
    return result


def main(
    bursts: Annotated[int, typer.Option(help="Bursts per line, of all its calls.")] = 60,
    seconds: Annotated[float, typer.Option(help="Seconds of CPU and loop measurement.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the line."""
    logger.remove()
    result = asyncio.run(_measure(bursts, seconds))
    if as_json:
        print(json.dumps(result))
        return
    table = Table("line", "p50 ms", "p95 ms", "answered", "machine")
    for name, row in result.items():
        if isinstance(row, dict) and "answered" in row:
            health = "ok" if row["healthy"] else "busy: not valid"
            table.add_row(name, str(row["p50_ms"]), str(row["p95_ms"]), row["answered"], health)
    console = Console()
    console.print(table)
    for name, row in result.items():
        if not (isinstance(row, dict) and "answered" in row):
            console.print(f"{name}: {row}")


if __name__ == "__main__":
    run_program(main)
