"""Ship a training run: `python -m training.ears.export runs/ears/nano asr/nano`.

Writes the checkpoint in the published layout and its card: what it was made from, how, what
it hears and what it does not. The card is generated, so it cannot say anything the run did not do.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import torch
import typer

from asr.checkpoint import load_model, save_model
from asr.config import AsrConfig
from asr.model import VoxtralRealtime
from training.ears.evaluate import Figures, table
from training.ears.recipe import EarsRecipe
from training.ears.train import Ears

matplotlib.use("Agg")
from matplotlib import pyplot

_WEIGHTS = "consolidated.safetensors"
_FILES = ("params.json", _WEIGHTS, "tekken.json", "log.json")
_LARGEST_BYTES = 20_000_000

_CARD = """# Parley nano ears

A recogniser of English with the architecture of Voxtral Realtime (arXiv 2602.11298) at nano size:
{parameters:.2f} million parameters in bf16, {megabytes:.1f} MB. It was trained from nothing on
speech made by synthesisers. It exists so that every part of the conversation can run on the real
code path without a download; what it hears well and badly is measured below.

**Limits.** English only; lower case without punctuation; trained on synthetic voices alone, so
people are harder for it than the first rows suggest. Never use it where a mishearing matters.

## Made from
- Speech: {audio_hours:.1f} hours heard in training; at the end drawn from {clips} clips of 9.6 s
  ({pool:.1f} hours). espeak-ng voices of many accents, variants, paces, pitches and vocal tracts;
  CMU ARCTIC voices (rms, slt, awb) of flite in made manners; nine festival voices of other
  languages, made to say English with the nearest sounds they have (`training/speech/foreign.py`);
  our own nano voice; speakers between two of these (`training/speech/blend.py`).
- Text: callers and agents of the grammar in `training/text`, sentences drawn from the language
  model in `training/ears`, random words.
- In the audio: rooms, a second voice, clipping, telephone band with mu-law, Opus. On the
  spectrogram, anew each time: longer and shorter throats, pitch, sharper and blunter sounds,
  noise from 3 dB up, babble, microphone colour, band limits, gaps, level.
- Never trained on: festival's kal and ked, the espeak variants of `HELD_OUT_VARIANTS`, the
  hand-written test sentences, any recording of a person; in the last run the grammar's held-out
  sentences.

## Trained
Seed {seed}; {steps} steps, {minutes:.0f} minutes of one CPU core; stages, in minutes of each worker:
{stages}. {batch} clips a step and worker. Muon for matrices, AdamW for the rest, bf16 autocast. A
running average of the weights over about {average} steps was kept; its last losses on {held_out} held-out
clips: {losses}. Curve: `loss.png`.
{notes}

## Heard
Word error rate in percent with a 90 % interval, default delay {delay_ms} ms. `trained` and `foreign`
say held-out sentences of the grammar, the others hand-written ones (`training/ears/natural.txt`);
families and conditions in `training/ears/clips.py`.

{table}

One stream on one CPU thread: {rtf} of real time, final words {flush} ms after a flush (median).

## Licence and sources
Weights: Apache-2.0, as the project. Teachers: espeak-ng (GPL-3.0-or-later; a program's output is
not covered by its licence), flite and its CMU ARCTIC voices (free for any use, Carnegie Mellon
University), festival with Debian's Italian, Czech and Hindi voices (GPL) and Finnish ones (LGPL);
nothing of them is in the checkpoint but what was learnt from listening. The text sampler is derived
from the language model in the pocketsphinx wheel (BSD).

## Files
{hashes}
"""


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


def card(
    folder: Path, log: dict[str, Any], recipe: EarsRecipe, figures: Figures, notes: str
) -> str:
    """The text of the card; `notes` is what the log cannot know."""
    model = load_model(folder)
    own = figures["nano"]
    cells = [cell for family in own.values() for cell in family.values()]
    last = log["curve"][-1]
    return _CARD.format(
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        megabytes=(folder / _WEIGHTS).stat().st_size / 1e6,
        audio_hours=log["audio_hours"],
        clips=last["clips"],
        pool=last["clips"] * 9.6 / 3600,
        seed=recipe.seed,
        steps=log["steps"],
        batch=recipe.batch,
        minutes=log["seconds"] / 60,
        stages=", ".join(f"{s.name} {s.minutes:g}" for s in recipe.stages),
        held_out=recipe.held_out_clips,
        average=recipe.average_steps,
        notes=notes,
        losses=", ".join(f"{name} {value:.2f}" for name, value in last["held_out"].items()),
        delay_ms=recipe.delay_ms,
        table=table(figures),
        rtf=f"{max(cell['rtf'] for cell in cells):.2f}",
        flush=f"{max(cell['flush_ms_p50'] for cell in cells):.0f}",
        hashes="\n".join(f"- `{name}` sha256 {_sha256(folder / name)}" for name in _FILES),
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path, typer.Argument(help="Folder to ship.")],
    evaluation: Annotated[Path, typer.Option(help="Written by training.ears.evaluate.")] = Path(
        "runs/ears/evaluation.json"
    ),
    recipe: Annotated[Path, typer.Option(help="What was trained.")] = Path(
        "training/ears/nano.yaml"
    ),
    mix: Annotated[
        list[str] | None,
        typer.Option(help="FOLDER=SHARE: average with an earlier checkpoint of this run's path."),
    ] = None,
    notes: Annotated[str, typer.Option(help="What the log cannot know; goes on the card.")] = "",
) -> None:
    """Write the checkpoint, its card and its picture."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    params = EarsRecipe.load(recipe).params()
    mixed = average(params, _shares(run, mix or []))  # before OUT, which may be among them
    save_model(out, params, mixed.to(torch.bfloat16))
    for name in ("tekken.json", "log.json"):
        shutil.copyfile(run / name, out / name)
    log = json.loads((run / "log.json").read_text())
    loss_picture(log["curve"], out / "loss.png")
    figures = json.loads(evaluation.read_text())
    (out / "CARD.md").write_text(card(out, log, EarsRecipe.load(recipe), figures, notes))
    size = sum(path.stat().st_size for path in out.iterdir())
    if size > _LARGEST_BYTES:
        raise typer.BadParameter(f"{out} has {size / 1e6:.1f} MB, more than is shipped.")
    typer.echo(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
