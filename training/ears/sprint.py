"""The ears in one go, on a machine with a GPU: `python -m training.ears.sprint --minutes 25`.

All cores but one speak while the GPU learns from what was said so far. At the end the run, its
checkpoint included, lies in pieces that can be sent home one by one; joined
(`cat pieces/* | tar x`) it is the folder of a run, to be evaluated, shipped or trained on. The
synthesisers must be there: `training/speech/foreign.py`, `readers.py` and `rhvoice.py` name their
packages. Without a GPU it works too, a hundred times slower.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ParleyError
from training.command import run
from training.ears import language_model
from training.ears.corpus import finished_shards
from training.ears.recipe import EarsRecipe
from training.ears.train import train, write_tokenizer
from training.ears.workers import Workers

_PACKING_S = 45.0
_ENOUGH_SHARDS = 4  # to begin with; the others come while they are learnt


def main(
    minutes: Annotated[float, typer.Option(help="For everything; without a GPU, of work.")] = 25,
    out: Annotated[Path, typer.Option(help="Where run, corpus and pieces go.")] = Path(
        "runs/ears/sprint"
    ),
    recipe: Annotated[Path, typer.Option(help="Its minutes are shares of the time there is.")] = (
        Path("training/ears/gpu.yaml")
    ),
    voice: Annotated[Path, typer.Option(help="Checkpoint of our own voice.")] = Path("tts/nano"),
    clips: Annotated[int, typer.Option(help="Per shard.")] = 400,
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
    command += ["--clips", str(clips), "--processes", str(max(1, (os.cpu_count() or 2) - 1))]
    # A group of their own, so that all who speak can be stopped at once.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as speaking:
        try:
            _wait_for(corpus, speaking, ends_s)
            fitted = stages.lasting((ends_s - time.monotonic()) / 60)
            train(Workers(), out / "run", corpus, fitted, None, threads=1, compiled=True)
        finally:
            with suppress(ProcessLookupError):  # it had ended by itself
                os.killpg(speaking.pid, signal.SIGTERM)
    made = pack(out / "run", out / "pieces", round(piece_mb * 1_000_000))
    typer.echo(f"{len(made)} pieces in {out / 'pieces'}")


def _wait_for(corpus: Path, speaking: subprocess.Popen[bytes], ends_s: float) -> None:
    """Until there is enough to begin with.

    Raises:
        ParleyError: Nobody speaks, or not soon enough.
    """
    while len(finished_shards(corpus)) < _ENOUGH_SHARDS:
        if speaking.poll() is not None or time.monotonic() > ends_s:
            raise ParleyError(
                "The corpus was not made: its program ended, or there was too little time.",
                "Run `python -m training.ears.corpus --shards 1` to see why; give it more minutes.",
            )
        time.sleep(0.5)


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
    run(main)
