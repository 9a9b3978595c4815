"""Ship a training run: `python -m training.ears.export runs/ears/nano asr/nano`.

Writes the checkpoint in the published layout and a picture of its losses; `training.ears.evaluate`
then judges it and `training.ears.card` writes down what it is.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import torch
import typer

from asr.config import AsrConfig
from asr.model import VoxtralRealtime
from cli.output import run_program
from training.ears.recipe import EarsRecipe, save_ears
from training.ears.train import Ears

matplotlib.use("Agg")
from matplotlib import pyplot

_LARGEST_BYTES = 20_000_000


def average(params: dict[str, Any], shares: dict[Path, float]) -> VoxtralRealtime:
    """Weights between several checkpoints of one path: they often hear better than any of them.

    Only of checkpoints that were trained on from one another (Wortsman et al. 2022); those with fewer
    layers count as what a deeper run began with.

    Args:
        params: Of the deepest.
        shares: Of each checkpoint, summing to one.
    """
    mixed: dict[str, torch.Tensor] = {}
    ears = Ears(AsrConfig.from_params(params))
    for folder, share in shares.items():
        ears.take_over(folder)
        for name, weight in ears.model.state_dict().items():
            mixed[name] = mixed.get(name, 0.0) + share * weight
    ears.model.load_state_dict(mixed)
    return ears.model


def _shares(run: Path, mix: list[str]) -> dict[Path, float]:
    """What is mixed, from options like `asr/nano=0.2`; the run has the rest."""
    shares: dict[Path, float] = {}
    for text in mix:
        folder, _, share = text.rpartition("=")
        try:
            shares[Path(folder)] = float(share)
        except ValueError:
            raise typer.BadParameter(f"--mix wants FOLDER=SHARE, not {text}.") from None
    left = 1 - sum(shares.values())
    if left <= 0:
        raise typer.BadParameter(f"The shares of --mix leave the run {left:g}.")
    return shares | {run: left}


def loss_picture(curve: list[dict[str, Any]], path: Path) -> None:
    """Held-out losses over CPU minutes, stages shaded."""
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name in ("phones", "characters", "text"):
        points = [(p["minutes"], p["held_out"][name]) for p in curve if name in p["held_out"]]
        axes.plot(*zip(*points, strict=True), label=name)
    stages = {p["stage"]: p["minutes"] for p in curve}
    start = 0.0
    for number, (name, end) in enumerate(stages.items()):
        axes.axvspan(start, end, alpha=0.08 if number % 2 else 0.0, color="black")
        axes.text((start + end) / 2, axes.get_ylim()[1], name, ha="center", va="top")
        start = end
    axes.set(xlabel="CPU minutes", ylabel="loss on held-out clips", title="nano ears")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path, typer.Argument(help="Folder to ship.")],
    recipe: Annotated[Path, typer.Option(help="What was trained.")] = Path(
        "training/ears/nano.yaml"
    ),
    mix: Annotated[
        list[str] | None,
        typer.Option(help="FOLDER=SHARE: average with an earlier checkpoint of this run's path."),
    ] = None,
) -> None:
    """Write the checkpoint and its picture."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    options = EarsRecipe.load(recipe)
    mixed = average(
        options.params(), _shares(run, mix or [])
    )  # before OUT, which may be among them
    save_ears(out, options, mixed)
    for name in ("tekken.json", "log.json"):
        shutil.copyfile(run / name, out / name)
    log = json.loads((run / "log.json").read_text())
    loss_picture(log["curve"], out / "loss.png")
    size = sum(path.stat().st_size for path in out.iterdir())
    if size > _LARGEST_BYTES:
        raise typer.BadParameter(f"{out} has {size / 1e6:.1f} MB, more than is shipped.")
    typer.echo(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_program(main)
