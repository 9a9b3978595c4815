"""`python -m benchmarks.asr_step`: what 80 ms of listening costs, and how that grows with callers.

On a CPU, one core, in core-milliseconds so that whatever else the machine does is not counted: a
decision of ours next to one of `transformers` generating from the same weights on the same audio,
in turns; the batch from 1 to 32 callers; and, in wall time, how soon a flush is answered. With
`--device cuda`: the published 4B shape with random bf16 weights, beside the time that the weights
alone take through the memory.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from asr.config import TOKEN_SAMPLES, AsrConfig
from asr.engine import VoxtralRealtimeEngine
from asr.graphs import GraphedSteps
from asr.model import VoxtralRealtime
from asr.steps import CONTEXT_SAMPLES, Steps
from asr.words import StreamingIds
from backbone.config import DecoderConfig
from backbone.tekken import Tekken
from tests.asr.reference import reference
from tests.asr.tiny import speechlike, tekken

PUBLISHED = AsrConfig(
    DecoderConfig(
        dim=3072,
        n_layers=26,
        head_dim=128,
        hidden_dim=9216,
        n_heads=32,
        n_kv_heads=8,
        vocab_size=131072,
        tied_embeddings=True,
        sliding_window=8192,
        ada_rms_norm_t_cond=True,
    ),
    DecoderConfig(
        dim=1280,
        n_layers=32,
        head_dim=64,
        hidden_dim=5120,
        n_heads=32,
        n_kv_heads=32,
        use_biases=True,
        sliding_window=750,
    ),
    num_mel_bins=128,
)
NANO = AsrConfig(
    replace(
        PUBLISHED.decoder,
        dim=224,
        n_layers=4,
        head_dim=56,
        hidden_dim=640,
        n_heads=4,
        n_kv_heads=4,
        vocab_size=620,
        sliding_window=64,
    ),
    replace(
        PUBLISHED.encoder,
        dim=192,
        n_layers=5,
        head_dim=48,
        hidden_dim=512,
        n_heads=4,
        n_kv_heads=4,
        sliding_window=32,
    ),
    num_mel_bins=80,
)
MID = AsrConfig(
    replace(
        PUBLISHED.decoder,
        dim=384,
        n_layers=8,
        head_dim=64,
        hidden_dim=1024,
        n_heads=6,
        n_kv_heads=2,
        vocab_size=620,
        sliding_window=512,
    ),
    replace(
        PUBLISHED.encoder,
        dim=320,
        n_layers=8,
        head_dim=64,
        hidden_dim=896,
        n_heads=5,
        n_kv_heads=5,
        sliding_window=250,
    ),
    num_mel_bins=128,
)
MEMORY_BYTES_PER_S = {"H100": 3.35e12, "H200": 4.8e12}
DELAY = 6
WARM, STEPS, ROUNDS = 5, 40, 3

app = typer.Typer(add_completion=False)


@app.command()
def run(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the step, its growth with callers, and the flush."""
    torch.set_num_threads(1)
    report = _cuda() if device == "cuda" else _cpu()
    if as_json:
        print(json.dumps(report))
        return
    for name, rows in report.items():
        table = Table(*rows[0], title=name)
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        Console().print(table)


def _cpu() -> dict[str, Any]:
    sizes = {"nano": _random(NANO), "mid": _random(MID)}
    return {
        "a decision of 80 ms, core-ms": [_beside(name, model) for name, model in sizes.items()],
        "callers at once, nano, core-ms": [
            _callers(sizes["nano"], n) for n in (1, 2, 4, 8, 16, 32)
        ],
        "flush, nano, wall ms": [asyncio.run(_flushes(sizes["nano"]))],
    }


def _random(config: AsrConfig, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    with torch.device("meta"):
        model = VoxtralRealtime(config)
    model = model.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(0, max(parameter[0].numel(), 8) ** -0.5)
    return model


@torch.inference_mode()
def _beside(name: str, model: VoxtralRealtime) -> dict[str, Any]:
    """Our step and that of transformers, taking turns."""
    theirs = reference(model)
    steps = Steps(model, StreamingIds(1, 32, 33), 1)
    samples = (32 + DELAY + WARM + STEPS + 2) * TOKEN_SAMPLES
    pcm = torch.nn.functional.pad(speechlike(samples / 16000), (32 * TOKEN_SAMPLES, 0))
    mel = steps.mel.clip(pcm[None])
    ours_ms: list[float] = []
    theirs_ms: list[float] = []
    for _ in range(ROUNDS):
        theirs_ms += _transformers(theirs, mel)
        ours_ms += _steps(steps, 1, time.thread_time)
    theirs_p50, ours_p50 = float(np.median(theirs_ms)), float(np.median(ours_ms))
    return {
        "size": name,
        "parameters M": round(sum(p.numel() for p in model.parameters()) / 1e6, 1),
        "transformers p50": round(theirs_p50, 2),
        "ours p50": round(ours_p50, 2),
        "ours p99": round(float(np.percentile(ours_ms, 99)), 2),
        "times faster": round(theirs_p50 / ours_p50, 2),
        "real-time factor": round(ours_p50 / 80, 3),
    }


def _transformers(theirs: Any, mel: torch.Tensor) -> list[float]:
    stamps: list[float] = []

    def stamp(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        stamps.append(time.thread_time())
        return torch.zeros(len(ids), dtype=torch.bool)

    theirs.generate(
        input_ids=torch.tensor([[1] + [32] * (32 + DELAY)]),
        input_features=mel,
        num_delay_tokens=DELAY,
        do_sample=False,
        max_new_tokens=WARM + STEPS,
        eos_token_id=theirs.config.text_config.vocab_size + 1,
        stopping_criteria=[stamp],
    )
    return list(np.diff(stamps)[WARM:] * 1000)


def _steps(steps: Steps, rows: int, clock: Any) -> list[float]:
    """Times of decisions for `rows` callers that are all ready."""
    for row in range(rows):
        steps.seat(row, DELAY)
    samples = (WARM + STEPS) * TOKEN_SAMPLES + CONTEXT_SAMPLES
    pcm = speechlike(samples / 16000)[None].expand(rows, -1).contiguous()
    tokens = torch.full((rows,), steps.ids.pad, device=steps.device)
    took_ms = []
    for index in range(WARM + STEPS):
        began_s = clock()
        start = index * TOKEN_SAMPLES
        block = pcm[:, start : start + TOKEN_SAMPLES + CONTEXT_SAMPLES].to(steps.device)
        chosen = steps.decode(0, rows, steps.encode(0, rows, block), tokens).cpu()
        tokens = chosen[:, 0].long().to(steps.device)
        took_ms.append((clock() - began_s) * 1000)
    return took_ms[WARM:]


@torch.inference_mode()
def _callers(model: VoxtralRealtime, rows: int) -> dict[str, Any]:
    steps = Steps(model, StreamingIds(1, 32, 33), rows)
    took_ms = _steps(steps, rows, time.thread_time)
    return {
        "callers": rows,
        "p50": round(float(np.median(took_ms)), 2),
        "p99": round(float(np.percentile(took_ms, 99)), 2),
        "per caller": round(float(np.median(took_ms)) / rows, 2),
        "kB per caller": steps.state.row_bytes // 1000,
    }


async def _flushes(model: VoxtralRealtime) -> dict[str, Any]:
    """From the call to the final words, while the live stream goes on."""
    engine = VoxtralRealtimeEngine(model, Tekken(tekken()), name="nano", max_streams=2)
    stream, took_ms = await engine.open(), []
    pcm = speechlike(30.0).numpy()
    for start in range(0, len(pcm) - 6400, 6400):
        stream.feed(pcm[start : start + 6400])
        await asyncio.sleep(0.4)  # live, it would have come in this slowly
        began_s = time.perf_counter()
        await stream.flush()
        took_ms.append((time.perf_counter() - began_s) * 1000)
    await engine.close()
    percentiles = {f"p{q}": round(float(np.percentile(took_ms, q)), 1) for q in (50, 90, 99)}
    return {"flushes": len(took_ms), "delay ms": DELAY * 80} | percentiles


@torch.inference_mode()
def _cuda() -> dict[str, Any]:
    """The published shape on a GPU; weights are random, the work is not."""
    model = _random(PUBLISHED, "cuda", torch.bfloat16)
    weight_bytes = sum(p.nbytes for p in model.parameters())
    name = torch.cuda.get_device_name()
    bandwidth = next((v for key, v in MEMORY_BYTES_PER_S.items() if key in name), None)
    rows = []
    for callers in (1, 16, 64):
        steps = GraphedSteps(model, StreamingIds(1, 32, 33), callers)
        took_ms = _steps(steps, callers, time.perf_counter)
        rows.append(
            {
                "callers": callers,
                "p50 ms": round(float(np.median(took_ms)), 2),
                "p99 ms": round(float(np.percentile(took_ms, 99)), 2),
                "MB per caller": steps.state.row_bytes // 1_000_000,
                "floor ms (weights)": round(weight_bytes / bandwidth * 1e3, 2)
                if bandwidth
                else None,
            }
        )
        del steps
        torch.cuda.empty_cache()
    return {f"the 4B shape, random bf16 weights, {name}": rows}


if __name__ == "__main__":
    app()
