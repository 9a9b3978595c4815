"""`python -m benchmarks.asr_step`: what 80 ms of listening costs, and how that grows with callers.

On a CPU, one core, in core-milliseconds so that whatever else the machine does is not counted: a
decision of ours next to one of `transformers`, in turns, same weights, same sound, same tokens (one
reading of what is heard and no noise filter, as it has); the batch from 1 to 32 callers, with as many
readings as ship; and, in wall time, how soon a flush is answered. Theirs is its streaming generation,
fed a spectrogram 80 ms at a time; it is given the spectrogram, ours computes it, and the quicker of
its float32 and bfloat16 counts. Random weights, rounded to bfloat16 as checkpoints are. With
`--device cuda`: the published 4B shape with random bf16 weights, beside the time that the weights
alone take through the memory.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from asr.config import TOKEN_MEL_FRAMES, TOKEN_MS, TOKEN_SAMPLES, AsrConfig
from asr.engine import VoxtralRealtimeEngine
from asr.graphs import GraphedSteps
from asr.model import VoxtralRealtime
from asr.offline import step
from asr.steps import CONTEXT_SAMPLES, Steps
from asr.stream import Listener
from asr.words import StreamingIds
from backbone.checkpoint import read_params
from backbone.config import DecoderConfig
from backbone.tekken import Tekken
from cli.output import run_program
from pipelines.engines import NANO_ASR
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
_SHIPPED = AsrConfig.from_params(read_params(NANO_ASR))
# The shipped sizes but for the text pieces, which are the test tokenizer's, and the width in which the
# delay is told, for which `transformers` knows the published one only.
NANO = replace(
    _SHIPPED,
    decoder=replace(_SHIPPED.decoder, vocab_size=620, ada_rms_norm_t_cond_dim=32),
    beam_width=1,
    noise_filter=False,
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
LEFT, DELAY = 32, 6
IDS = StreamingIds(1, 32, 33)
WARM, STEPS, ROUNDS = 5, 60, 3
FLUSHES_S, FLUSH_TOKENS = 16.0, 3  # somebody asks every 240 ms

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
    wide = _random(replace(NANO, beam_width=_SHIPPED.beam_width, noise_filter=True))
    return {
        "a decision of 80 ms, core-ms": [_beside(name, model) for name, model in sizes.items()],
        "callers at once, nano, core-ms": [_callers(wide, n) for n in (1, 2, 4, 8, 16, 32)],
        f"flush at a delay of {DELAY * TOKEN_MS} ms, wall ms": [
            asyncio.run(_flushes(weights, open_engine(callers), callers))
            for weights, open_engine in _engines(wide).items()
            for callers in (1, 8)
        ],
    }


def _engines(model: VoxtralRealtime) -> dict[str, Callable[[int], VoxtralRealtimeEngine]]:
    """Random weights never fall silent, so their flushes take the most decisions there may be."""

    def untrained(callers: int) -> VoxtralRealtimeEngine:
        return VoxtralRealtimeEngine(model, Tekken(tekken()), name="random", max_streams=callers)

    def shipped(callers: int) -> VoxtralRealtimeEngine:
        return VoxtralRealtimeEngine.load(NANO_ASR, max_streams=callers)

    return {"random": untrained, "shipped": shipped}


def _random(config: AsrConfig, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    with torch.device("meta"):
        model = VoxtralRealtime(config)
    model = model.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(0, max(parameter[0].numel(), 8) ** -0.5)
        parameter.copy_(parameter.bfloat16())  # as checkpoints are stored
    return model


@torch.inference_mode()
def _beside(name: str, model: VoxtralRealtime) -> dict[str, Any]:
    """A decision of ours and of transformers', taking turns over the same sound."""
    pcm = speechlike((STEPS + 10) * TOKEN_MS / 1000)
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    theirs = {key: reference(model).to(dtype) for key, dtype in dtypes.items()}
    steps = Steps(model, IDS, 1)
    padded = torch.nn.functional.pad(pcm, (LEFT * TOKEN_SAMPLES, (DELAY + 2) * TOKEN_SAMPLES))
    mel = steps.mel.clip(padded[None])
    ours_ms: list[float] = []
    theirs_ms: dict[str, list[float]] = {key: [] for key in theirs}
    for _ in range(ROUNDS):
        took_ms, said = _ours(steps, pcm)
        ours_ms += took_ms
        for key, reference_model in theirs.items():
            took_ms, also_said = _transformers(reference_model, mel.to(dtypes[key]))
            theirs_ms[key] += took_ms
            if key == "fp32" and also_said[: len(said)] != said:
                raise SystemExit("transformers says something else")
    p50 = {key: float(np.median(times)) for key, times in theirs_ms.items()}
    ours_p50 = float(np.median(ours_ms))
    return {
        "size": name,
        "parameters M": round(sum(p.numel() for p in model.parameters()) / 1e6, 1),
        **{f"transformers {key} p50": round(value, 2) for key, value in p50.items()},
        "ours p50": round(ours_p50, 2),
        "ours p99": round(float(np.percentile(ours_ms, 99)), 2),
        "reading the weights": round(_reading_ms(model), 2),
        "times faster": round(min(p50.values()) / ours_p50, 2),
        "real-time factor": round(ours_p50 / TOKEN_MS, 3),
    }


def _reading_ms(model: VoxtralRealtime) -> float:
    """How long this core takes to read the weights once, as half floats: no step can be quicker."""
    numbers = torch.ones(sum(p.numel() for p in model.parameters()) // 2)
    times = []
    for _ in range(20):
        began_s = time.thread_time()
        numbers.sum()
        times.append(time.thread_time() - began_s)
    return float(np.median(times)) * 1000


def _ours(steps: Steps, pcm: torch.Tensor) -> tuple[list[float], list[int]]:
    """Times and tokens of a stream that hears `pcm`: spectrogram, encoder, decoder, words."""
    listener = Listener.on(steps, Tekken(tekken()), DELAY)
    steps.seat(0, DELAY)
    listener.feed(pcm.numpy())
    stamps = [time.thread_time()]
    while listener.ready_tokens():
        step(steps, [listener])
        stamps.append(time.thread_time())
    return list(np.diff(stamps)[DELAY + WARM :] * 1000), listener.tokens


def _transformers(theirs: Any, mel: torch.Tensor) -> tuple[list[float], list[int]]:
    """Times and tokens of its streaming generation, the spectrogram given."""
    stamps: list[float] = []
    prompt = LEFT + 1 + DELAY

    def pieces() -> Iterator[torch.Tensor]:
        start, stop = 0, prompt * TOKEN_MEL_FRAMES
        while stop <= mel.shape[-1]:
            stamps.append(time.thread_time())
            yield mel[..., start:stop]
            start, stop = stop, stop + TOKEN_MEL_FRAMES

    out = theirs.generate(
        input_ids=torch.tensor([[IDS.start] + [IDS.pad] * (prompt - 1)]),
        input_features=pieces(),
        num_delay_tokens=DELAY,
        do_sample=False,
        eos_token_id=theirs.config.text_config.vocab_size + 1,
    )
    return list(np.diff(stamps)[WARM:] * 1000), out[0, prompt:].tolist()


def _steps(steps: Steps, rows: int, clock: Any) -> list[float]:
    """Times of decisions for `rows` callers that are all ready."""
    for row in range(rows):
        steps.seat(row, DELAY)
    samples = (WARM + STEPS) * TOKEN_SAMPLES + CONTEXT_SAMPLES
    pcm = speechlike(samples / 16000)[None].expand(rows, -1).contiguous()
    tokens = torch.full((rows, steps.width), steps.ids.pad, device=steps.device)
    took_ms = []
    for index in range(WARM + STEPS):
        began_s = clock()
        start = index * TOKEN_SAMPLES
        block = pcm[:, start : start + TOKEN_SAMPLES + CONTEXT_SAMPLES].to(steps.device)
        audio = steps.encode(0, rows, block)
        rated = steps.decode(0, rows, audio, tokens, steps.left + index).cpu()
        tokens = rated[:, :, 0, 0].long().to(steps.device)
        took_ms.append((clock() - began_s) * 1000)
    return took_ms[WARM:]


@torch.inference_mode()
def _callers(model: VoxtralRealtime, rows: int) -> dict[str, Any]:
    steps = Steps(model, IDS, rows)
    took_ms = _steps(steps, rows, time.thread_time)
    return {
        "callers": rows,
        "p50": round(float(np.median(took_ms)), 2),
        "p99": round(float(np.percentile(took_ms, 99)), 2),
        "per caller": round(float(np.median(took_ms)) / rows, 2),
        "kB per caller": steps.state.row_bytes // 1000,
    }


async def _flushes(weights: str, engine: VoxtralRealtimeEngine, callers: int) -> dict[str, Any]:
    """From the call to the final words, while everybody talks on."""
    took_ms: list[float] = []

    async def call(caller: int) -> None:
        stream = await engine.open(delay_ms=DELAY * TOKEN_MS)
        pcm = speechlike(FLUSHES_S, caller).numpy()
        began_s = time.perf_counter() + caller * TOKEN_MS / 1000 / callers
        for index, start in enumerate(range(0, len(pcm), TOKEN_SAMPLES)):
            due_s = began_s + index * TOKEN_MS / 1000
            await asyncio.sleep(max(due_s - time.perf_counter(), 0))
            stream.feed(pcm[start : start + TOKEN_SAMPLES])
            if index % (FLUSH_TOKENS * callers) == FLUSH_TOKENS * caller:
                asked_s = time.perf_counter()
                await stream.flush()
                took_ms.append((time.perf_counter() - asked_s) * 1000)
        await stream.close()

    await asyncio.gather(*map(call, range(callers)))
    steps_ms = engine.metrics().step_ms
    await engine.close()
    return {
        "weights": weights,
        "callers": callers,
        "flushes": len(took_ms),
        **{f"p{q}": round(float(np.percentile(took_ms, q)), 1) for q in (50, 90, 99)},
        "step p50": round(float(np.median(steps_ms)), 1),
    }


@torch.inference_mode()
def _cuda() -> dict[str, Any]:
    """The published shape on a GPU; weights are random, the work is not."""
    model = _random(PUBLISHED, "cuda", torch.bfloat16)
    weight_bytes = sum(p.nbytes for p in model.parameters())
    name = torch.cuda.get_device_name()
    bandwidth = next((v for key, v in MEMORY_BYTES_PER_S.items() if key in name), None)
    rows = []
    for callers in (1, 16, 64):
        steps = GraphedSteps(model, IDS, callers)
        steps.warm_up()
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
    run_program(app)
