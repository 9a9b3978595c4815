"""`python -m benchmarks.tts_frame`: what a frame of speech costs, and how that grows with speakers.

On a CPU: a checkpoint (the nano one unless another is given) on one core, in core-milliseconds, so
that whatever else the machine does is not counted. With `--device cuda`: the published 4B shape with
random bf16 weights on the paper's workload, 500 characters and a 10 s reference (arXiv 2603.25551,
table 8), in wall time, beside the time the weights alone take through the memory.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from cli.output import run_program
from pipelines.engines import NANO_TTS
from tts.checkpoint import load_model, load_units
from tts.config import TtsConfig
from tts.model import TtsModel
from tts.schedule import FRAME_S
from tts.speaking import SpeakingBatch, Start
from tts.voices import VoiceShelf

TEXT = "Good morning, this is Parley. How can I help you today?"
PAPER_TEXT_IDS, PAPER_REFERENCE_ROWS = 125, 126
PAPER = {1: (70, 0.103), 16: (331, 0.237), 32: (552, 0.302)}  # speakers: (latency ms, RTF)
MEMORY_BYTES_PER_S = {"H100": 3.35e12, "H200": 4.8e12}
WARM_FRAMES, FRAMES = 10, 60

app = typer.Typer(add_completion=False)


@app.command()
def run(
    checkpoint: Annotated[Path, typer.Option(help="Folder to measure on a CPU.")] = NANO_TTS,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure first frame, frame and scaling."""
    with torch.inference_mode():
        report = _gpu() if device == "cuda" else _cpu(checkpoint)
    if as_json:
        print(json.dumps(report))
        return
    table = Table(*report["speakers"][0], title=report["title"])
    for row in report["speakers"]:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    for name, value in report.items():
        if name not in ("title", "speakers"):
            print(f"{name}: {value}")


def _cpu(folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    model = load_model(folder, torch.device("cpu"))
    units = load_units(folder, model.sizes)
    shelf = VoiceShelf(folder)
    tensor, are_codes = shelf.tensors(shelf.find(None).name, model.audio_tokenizer)
    voice = model.voice_rows(tensor) if are_codes else tensor
    ids = tuple(units.encode(TEXT)[0])
    clock = time.thread_time
    batch = SpeakingBatch(model, 8, max_tokens=1024)
    batch.add_voice("voice", voice)
    rows = [_speakers(batch, ids, n, clock) for n in (1, 2, 4, 8)]
    parts = _parts(batch, ids, clock)
    return {
        "title": f"{folder.name}, one core, core-milliseconds",
        "speakers": rows,
        "parts_ms": parts,
        "parameters_m": round(sum(p.numel() for p in model.parameters()) / 1e6, 2),
    }


def _gpu() -> dict[str, Any]:
    import tests.tts.sizes as published

    device, name = torch.device("cuda"), torch.cuda.get_device_name()
    torch.set_default_dtype(torch.bfloat16)
    with device:
        model = TtsModel(TtsConfig.from_params(published.PUBLISHED)).eval().requires_grad_(False)
    torch.set_default_dtype(torch.float32)
    model.to(device)  # small tables are always made on the CPU
    book = model.audio_tokenizer.quantizer.semantic_codebook
    book.cluster_usage, book.embedding_sum = book.cluster_usage.float(), book.embedding_sum.float()
    model.fuse()
    batch = SpeakingBatch(model, 32, max_tokens=2048)
    batch.add_voice("voice", torch.randn(PAPER_REFERENCE_ROWS, 3072, device=device))
    batch.warm_up()
    ids = tuple(range(2000, 2000 + PAPER_TEXT_IDS))

    def clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    rows = []
    for n, (paper_ms, paper_rtf) in PAPER.items():
        _speakers(batch, ids, n, clock)  # the first prompts choose their kernels
        row = _speakers(batch, ids, n, clock)
        rows.append(row | {"paper ms": paper_ms, "paper RTF": paper_rtf})
    bandwidth = next((b for key, b in MEMORY_BYTES_PER_S.items() if key in name), None)
    floor_ms = None if bandwidth is None else round(1000 * _weight_bytes(model) / bandwidth, 2)
    return {"title": f"4B shape, bf16, {name}", "speakers": rows, "weight floor ms": floor_ms}


def _speakers(
    batch: SpeakingBatch, ids: tuple[int, ...], n: int, clock: Callable[[], float]
) -> dict[str, Any]:
    """All of `n` start at once, the worst case, then speak together."""
    generators = [torch.Generator().manual_seed(row) for row in range(n)]
    began = clock()
    for row in range(n):
        batch.reset(row)
    batch.begin([Start(row, "voice", ids) for row in range(n)])
    batch.step(list(range(n)), generators)
    first_ms = 1000 * (clock() - began)
    steps = []
    for _ in range(WARM_FRAMES + FRAMES):
        start = clock()
        batch.step(list(range(n)), generators)
        steps.append(clock() - start)
    step_s = statistics.median(steps[WARM_FRAMES:])
    return {
        "speakers": n,
        "first frame ms": round(first_ms, 1),
        "step ms": round(1000 * step_s, 2),
        "RTF": round(step_s / FRAME_S, 3),
        "x real time, all": round(n * FRAME_S / step_s, 1),
    }


def _parts(
    batch: SpeakingBatch, ids: tuple[int, ...], clock: Callable[[], float]
) -> dict[str, float]:
    """Where the time of a single speaker's frame goes."""
    spent: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = clock()
            result = function(*args, **kwargs)
            spent[name].append(1000 * (clock() - start))
            return result

        return wrapper

    model, generator = batch.model, torch.Generator().manual_seed(0)
    spent["begin"] = []
    for name, owner, attribute in (
        ("backbone", model, "forward"),
        ("acoustic", model.acoustic_transformer, "next_frame"),
        ("codec", model.audio_tokenizer, "decode_next"),
        ("frame", batch, "step"),
        ("begin", batch, "begin"),
    ):
        setattr(owner, attribute, timed(name, getattr(owner, attribute)))
    batch.begin([Start(0, "voice", ids)])
    spent["backbone"].clear()  # that was the prompt
    for _ in range(WARM_FRAMES + FRAMES):
        batch.step([0], [generator])
    return {name: round(statistics.median(values), 2) for name, values in spent.items()}


def _weight_bytes(model: TtsModel) -> float:
    """Bytes of weights one frame must read: backbone, acoustic layers per Euler step, codec."""
    steps = model.sizes.acoustic.n_decoding_steps
    acoustic = model.acoustic_transformer
    layers = _bytes(acoustic.layers)
    return float(
        _bytes(model.layers) + steps * layers + _bytes(acoustic) - layers + _codec_bytes(model)
    )


def _codec_bytes(model: TtsModel) -> int:
    return _bytes(model.audio_tokenizer) + sum(
        b.numel() * b.element_size()
        for n, b in model.audio_tokenizer.named_buffers()
        if "folded" in n
    )


def _bytes(module: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


if __name__ == "__main__":
    run_program(app)
