"""Ship a training run: `python -m training.ears.export runs/ears/nano asr/nano`.

Copies the checkpoint in the published layout and writes its card: what it was made from, how, what
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

from asr.checkpoint import load_model
from training.ears.corpus import CorpusOptions
from training.ears.evaluate import Figures, table
from training.ears.recipe import EarsRecipe

matplotlib.use("Agg")
from matplotlib import pyplot

_FILES = ("params.json", "consolidated.safetensors", "tekken.json")
_LARGEST_BYTES = 20_000_000

_CARD = """# Parley nano ears

A recogniser of English with the architecture of Voxtral Realtime (arXiv 2602.11298) at nano size:
{parameters:.2f} million parameters in bf16, {megabytes:.1f} MB. It was trained from nothing on
speech made by synthesisers. It exists so that every part of the conversation can run on the real
code path without a download; what it hears well and badly is measured below.

**Limits.** English only; lower case without punctuation; trained on synthetic voices alone, so
people are harder for it than the first rows suggest. Never use it where a mishearing matters.

## Made from
- Speech: {audio_hours:.1f} hours heard in training, drawn from {clips} clips of 9.6 s ({pool:.1f}
  hours); {espeak:.0%} of the speakers are espeak-ng voices of many accents, variants, paces,
  pitches and vocal tracts, {flite:.0%} CMU ARCTIC voices (rms, slt, awb) of flite in made manners.
- Text: {caller:.0%} callers and {agent:.0%} agents of the grammar in `training/text`,
  {sampled:.0%} drawn from the language model in `training/ears`, the rest random words.
- In the audio: rooms, a second voice, clipping, telephone band with mu-law, Opus. On the
  spectrogram, anew each time: longer and shorter throats, noise from 3 dB up, babble,
  microphone colour, level.
- Never trained on: festival's kal and ked, the espeak variants of `HELD_OUT_VARIANTS`, the
  hand-written test sentences, any recording of a person.

## Trained
Seed {seed}; {steps} steps of {batch} clips, {minutes:.0f} minutes of one CPU core in stages
{stages}. Muon for matrices, AdamW for the rest, bf16 autocast. Last losses on {held_out} held-out
clips: {losses}. Curve: `loss.png`.
{notes}

## Heard
Word error rate in percent with a 90 % interval, default delay {delay_ms} ms, hand-written
sentences (`training/ears/natural.txt`); conditions in `training/ears/clips.py`.

{table}

One stream on one CPU thread: {rtf} of real time, final words {flush} ms after a flush (median).

## Licence and sources
Weights: Apache-2.0, as the project. Teachers: espeak-ng (GPL-3.0-or-later; a program's output is
not covered by its licence), flite and its CMU ARCTIC voices (free for any use, Carnegie Mellon
University). The text sampler is derived from the language model in the pocketsphinx wheel (BSD).

## Files
{hashes}
"""


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
    last, options = log["curve"][-1], CorpusOptions()
    return _CARD.format(
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        megabytes=(folder / "consolidated.safetensors").stat().st_size / 1e6,
        audio_hours=log["audio_hours"],
        clips=last["clips"],
        pool=last["clips"] * 9.6 / 3600,
        espeak=1 - options.flite_share,
        flite=options.flite_share,
        caller=options.caller_share,
        agent=options.agent_share,
        sampled=options.sampled_share,
        seed=recipe.seed,
        steps=log["steps"],
        batch=recipe.batch,
        minutes=log["seconds"] / 60,
        stages=", ".join(f"{s.name} ({s.minutes:g} min)" for s in recipe.stages),
        held_out=recipe.held_out_clips,
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
    notes: Annotated[str, typer.Option(help="What the log cannot know; goes on the card.")] = "",
) -> None:
    """Copy the checkpoint and write its card and picture."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
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
