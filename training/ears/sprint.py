"""The ears in one go, on a machine with a GPU: `python -m training.ears.sprint --minutes 25`.

All cores but one speak while the GPU learns from what was said so far. At the end the run, its
checkpoint included, lies in pieces that can be sent home one by one; joined
(`cat pieces/* | tar x`) it is the folder of a run, to be evaluated, trained on or shipped (`--recipe
run/recipe.yaml`). What is in OUT is not made again: `conversation.arpa` (`training.ears.language_model`,
one and a half minutes of one core), clips in `corpus`. The synthesisers must be there
(`training/speech/__init__.py`), or else clips enough. Without a GPU it works too, a hundred times slower.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
import yaml

from cli.output import run_program
from common.errors import ParleyError
from training.ears import language_model
from training.ears.corpus import finished_shards
from training.ears.recipe import EarsRecipe
from training.ears.train import train, write_tokenizer
from training.ears.workers import Workers
from training.learner import best_device

_PACKING_S = 45.0


def main(
    minutes: Annotated[float, typer.Option(help="For everything; without a GPU, of work.")] = 25,
    out: Annotated[Path, typer.Option(help="Where run, corpus and pieces go.")] = Path(
        "runs/ears/sprint"
    ),
    recipe: Annotated[Path, typer.Option(help="Its minutes are shares of the time there is.")] = (
        Path("training/ears/gpu.yaml")
    ),
    voice: Annotated[Path, typer.Option(help="Checkpoint of our own voice.")] = Path("tts/nano"),
    clips: Annotated[int, typer.Option(help="Per shard; a core says one in a second.")] = 100,
    piece_mb: Annotated[float, typer.Option(help="Largest piece.")] = 15,
) -> None:
    """Speak, learn and pack, within so many minutes."""
    ends_s = time.monotonic() + 60 * minutes - _PACKING_S
    corpus, arpa = out / "corpus", out / "conversation.arpa"
    if not arpa.exists():
        typer.echo("writing the texts' language model: a minute")
        language_model.main(arpa, out)
    stages = EarsRecipe.load(recipe)
    write_tokenizer(out / "run/tekken.json", arpa, stages, None)
    command = [sys.executable, "-m", "training.ears.corpus", "--shards", "9999"]
    command += ["--out", str(corpus), "--arpa", str(arpa), "--voice", str(voice)]
    processes = max(1, (os.cpu_count() or 2) - 1)
    command += ["--clips", str(clips), "--processes", str(processes)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as speaking:
        try:
            compiled = _compiles()
            least = -(-(stages.batch + stages.held_out_clips) // clips)
            _wait_for(corpus, max(least, processes), speaking, ends_s)
            fitted = stages.lasting((ends_s - time.monotonic()) / 60)
            (out / "run/recipe.yaml").write_text(yaml.safe_dump(fitted.model_dump()))
            train(Workers(), out / "run", corpus, fitted, None, threads=1, compiled=compiled)
        finally:
            speaking.terminate()
    made = pack(out / "run", out / "pieces", round(piece_mb * 1_000_000))
    typer.echo(f"{len(made)} pieces in {out / 'pieces'}")


def _compiles() -> bool:
    """Whether models can be compiled here, which wants a C++ compiler; a small one tells at once."""
    try:
        torch.compile(torch.square)(torch.ones(2, device=best_device()))
    except Exception as error:  # as many kinds as there are compilers
        typer.echo(f"training goes without compiling, more slowly: {error}")
        return False
    return True


def _wait_for(corpus: Path, shards: int, speaking: subprocess.Popen[bytes], ends_s: float) -> None:
    """Until there is enough to begin with, or will be no more; the others come while they are learnt.

    Raises:
        ParleyError: There is nothing to begin with.
    """
    while len(finished_shards(corpus)) < shards and speaking.poll() is None:
        if time.monotonic() > ends_s:
            break
        time.sleep(0.5)
    if not finished_shards(corpus) or time.monotonic() > ends_s:
        raise ParleyError(
            "There is no corpus to learn from: its program ended, or there was too little time.",
            "Run `python -m training.ears.corpus --shards 1` to see why; give it more minutes.",
        )


def pack(folder: Path, out: Path, most_bytes: int) -> list[Path]:
    """Write a folder as pieces of a tar file, to be joined in the order of their names."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        tar.add(folder, folder.name)
    out.mkdir(parents=True, exist_ok=True)
    data, made = whole.getbuffer(), []
    for start in range(0, len(data), most_bytes):
        made.append(out / f"{len(made):02d}.part")
        made[-1].write_bytes(data[start : start + most_bytes])
    return made


if __name__ == "__main__":
    run_program(main)
