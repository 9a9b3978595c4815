"""What a shipped checkpoint is, for those who use it: `python -m training.ears.card asr/nano`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from asr.checkpoint import load_model
from asr.language_model import FILE
from cli.output import run_program
from common.errors import ParleyError
from training.ears.evaluate import WEIGHTS, Evaluation, sha256, table
from training.ears.recipe import EarsRecipe

_FILES = ("params.json", WEIGHTS, FILE, "tekken.json", "log.json")

_CARD = """# Parley nano ears

A recogniser of English with the architecture of Voxtral Realtime (arXiv 2602.11298) at nano size:
{parameters:.2f} million parameters in bf16, {megabytes:.1f} MB. It was trained from nothing on
speech made by synthesisers. It exists so that every part of the conversation can run on the real
code path without a download; what it hears well and badly is measured below. Three lines of its
`params.json` ask for what published checkpoints do without: {readings} readings side by side
(`asr/beam.py`), a language model that weighs them (`asr/language_model.py`), and a filter that takes
steady noise out first (`asr/noise_filter.py`).

**Limits.** English only; lower case without punctuation; trained on synthetic voices alone, so
people are harder for it than the first rows suggest. Never use it where a mishearing matters.

## Made from
- Speech: {audio_hours:.1f} hours heard in training; at the end drawn from {clips} clips of 9.6 s
  ({pool:.1f} hours). espeak-ng voices of many accents, variants, paces, pitches and vocal tracts;
  CMU ARCTIC voices (rms, slt, awb) of flite in made manners; thirteen RHVoice voices, nine of them
  of other languages (`training/speech/rhvoice.py`); nine festival voices of other languages, made
  to say English with the nearest sounds they have, a British and two American ones
  (`training/speech/foreign.py`), a Russian and a Catalan one that read it as their letters would
  write it (`training/speech/readers.py`);
  our own nano voice; speakers between two of these (`training/speech/blend.py`).
- Text: callers and agents of the grammar in `training/text`, sentences drawn from the language
  model in `training/ears`, random words.
- In the audio: rooms, a second voice, clipping, telephone band with mu-law, Opus. On the
  spectrogram, anew each time: silence before, longer and shorter throats, a spectrum of the
  speaker's own for every sound, pitch, sharper and blunter sounds,
  noise from 3 dB up and what the noise filter leaves of it, babble, colour, another speaker's colour,
  band limits, gaps, level.
- Never trained on: SVOX Pico, MBROLA, the espeak variants of
  `HELD_OUT_VARIANTS`, the hand-written test sentences, any recording of a person.

## Trained
Seed {seed}; {steps} steps, {minutes:.0f} minutes of {device}; stages, in minutes of each worker:
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
University), festival with Debian's Italian, Czech and Hindi voices (GPL), Finnish and Catalan ones
(LGPL), a Russian one (free for any use) and
rab, kal and ked (free for any use, University of Edinburgh), RHVoice and voices of it that are
LGPL-2.1-or-later by Debian's account; nothing of them is in the checkpoint but what was learnt
from listening. The language model, which also said what to read aloud, is derived from the one in the
pocketsphinx wheel (BSD).

## Files
{hashes}
"""


def card(
    folder: Path, log: dict[str, Any], recipe: EarsRecipe, evaluation: Evaluation, notes: str
) -> str:
    """The text of the card; `notes` is what the log cannot know.

    Raises:
        ParleyError: These weights were not judged.
    """
    if evaluation.weights.get(folder.name) != sha256(folder / WEIGHTS):
        raise ParleyError(
            f"The figures of `{folder.name}` are not of the weights in {folder}.",
            f"Run `python -m training.ears.evaluate {folder}` first.",
        )
    model = load_model(folder)
    own = evaluation.figures[folder.name]
    cells = [cell for family in own.values() for cell in family.values()]
    last = log["curve"][-1]
    return _CARD.format(
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        megabytes=(folder / WEIGHTS).stat().st_size / 1e6,
        audio_hours=log["audio_hours"],
        clips=last["clips"],
        pool=last["clips"] * 9.6 / 3600,
        readings=model.config.beam_width,
        seed=recipe.seed,
        steps=log["steps"],
        batch=recipe.batch,
        minutes=log["seconds"] / 60,
        device=log.get("device", "one CPU core"),
        stages=", ".join(f"{s.name} {s.minutes:g}" for s in recipe.stages[: log["stage"]]),
        held_out=recipe.held_out_clips,
        average=recipe.average_steps,
        notes=notes,
        losses=", ".join(f"{name} {value:.2f}" for name, value in last["held_out"].items()),
        delay_ms=recipe.delay_ms,
        table=table(evaluation.figures),
        rtf=f"{max(cell['rtf'] for cell in cells):.2f}",
        flush=f"{max(cell['flush_ms_p50'] for cell in cells):.0f}",
        hashes="\n".join(f"- `{name}` sha256 {sha256(folder / name)}" for name in _FILES),
    )


def main(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of what ships.")],
    evaluation: Annotated[Path, typer.Option(help="Written by training.ears.evaluate.")] = Path(
        "runs/ears/evaluation.json"
    ),
    recipe: Annotated[Path, typer.Option(help="What was trained.")] = Path(
        "training/ears/nano.yaml"
    ),
    notes: Annotated[str, typer.Option(help="What the log cannot know.")] = "",
) -> None:
    """Write CARD.md beside the weights."""
    log = json.loads((checkpoint / "log.json").read_text())
    found = Evaluation.read(evaluation)
    text = card(checkpoint, log, EarsRecipe.load(recipe), found, notes)
    (checkpoint / "CARD.md").write_text(text)


if __name__ == "__main__":
    run_program(main)
