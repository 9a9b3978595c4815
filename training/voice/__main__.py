"""`python -m training.voice STEP`: make the nano voice, one step after the other.

corpus → front-end → codec → encode → speech → decoder → export → evaluate → card. Every step reads and
writes the work folder (default `build/voice`). `unpack` puts what a checkpoint was made of there, so that
one may begin with encode or speech.

Budgets are minutes of processor time, with a GPU of time. `--minutes` fits a step to what there is: a
trial with `corpus --utterances 250` and a minute each shows that everything works. On a rented GPU: the
corpus with all its cores (`--processes`), then codec, speech and decoder with a share of the time each,
`encode --threads` with all cores in between. Killed, these three go on from their last two minutes and
`corpus` from its last shards; the others begin anew.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar

import torch
import typer
import yaml

from cli.output import run_program
from common.errors import ParleyError
from training.voice import codec as codec_training
from training.voice import speech as speech_training
from training.voice.aligned import encode_corpus, load, save
from training.voice.card import write as write_card
from training.voice.corpus import CorpusOptions, build
from training.voice.evaluate import evaluate as evaluate_checkpoint
from training.voice.export import export as export_checkpoint
from training.voice.export import load_codec, published_params, reference
from training.voice.export import unpack as unpack_checkpoint
from training.voice.lexicon import letter_rules, save_front_end, words_and_phones
from training.voice.picture import losses
from training.voice.speakers import SHIPPED
from tts.config import CodecConfig
from tts.phonemes import Phonemes

_HERE = Path(__file__).parent
Work = Annotated[Path, typer.Option(help="Where everything is kept.")]
Config = Annotated[Path, typer.Option(help="Sizes and runs.", exists=True, dir_okay=False)]
Checkpoint = Annotated[Path, typer.Argument(help="Folder of the checkpoint.")]
Threads = Annotated[int, typer.Option(help="Processor threads to train with.")]
Minutes = Annotated[float | None, typer.Option(help="Budget instead of the config's core minutes.")]
Weights = Annotated[Path | None, typer.Option(help="Begin with the weights of this state.pt.")]
BUILD = Path("build/voice")

_Run = TypeVar("_Run", codec_training.CodecRun, speech_training.SpeechRun)

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode="markdown"
)


def _made_by(step: str, path: Path) -> Path:
    """What an earlier step left at `path`.

    Raises:
        ParleyError: It was not run.
    """
    if not path.exists():
        raise ParleyError(f"{path} is not there.", f"Run `python -m training.voice {step}` first.")
    return path


def _lasting(run: _Run, minutes: float | None) -> _Run:
    return run if minutes is None else replace(run, core_minutes=minutes)


def _train_codec(
    work: Path,
    name: str,
    how: tuple[CodecConfig, codec_training.CodecRun],
    start_from: Path | None,
    minutes: float | None,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    config, run = how
    run = _lasting(run, minutes)
    corpora = (_made_by("corpus", work / part) for part in ("train", "unseen"))
    codec_training.train(work / name, config, run, *corpora, start_from=start_from)


@app.command()
def corpus(
    work: Work = BUILD,
    utterances: Annotated[
        int, typer.Option(help="In whole shards of 250.")
    ] = CorpusOptions().utterances,
    processes: Annotated[int, typer.Option(help="That speak at a time.")] = 2,
) -> None:
    """Speak the training and validation corpora with flite."""
    build(work / "train", CorpusOptions(utterances=utterances), processes)
    few = CorpusOptions(
        utterances=200, shard_utterances=200, seed=991, shipped_share=1.0, random_share=0.15
    )
    build(work / "unseen", few, 1)


@app.command()
def front_end(work: Work = BUILD) -> None:
    """Make the dictionary and the letter rules."""
    words = words_and_phones()
    save_front_end(work / "front-end", words, letter_rules(words))


@app.command()
def codec(
    work: Work = BUILD,
    config: Config = _HERE / "codec.yaml",
    start_from: Weights = None,
    minutes: Minutes = None,
    threads: Threads = 1,
) -> None:
    """Train the codec."""
    _train_codec(work, "codec", codec_training.read_config(config), start_from, minutes, threads)


@app.command()
def unpack(folder: Checkpoint, work: Work = BUILD) -> None:
    """Take the codec, the front end and the speech model (`before/state.pt`) out of FOLDER."""
    unpack_checkpoint(folder, work)


@app.command()
def encode(work: Work = BUILD, threads: Threads = 1) -> None:
    """Turn the corpora into units, times and codes."""
    torch.set_num_threads(threads)
    trained, _ = load_codec(_made_by("codec", work / "codec" / "state.pt"))
    units = Phonemes.load(_made_by("front-end", work / "front-end"))
    for name in ("train", "unseen"):
        part, spoken = work / f"{name}.part.npz", _made_by("corpus", work / name)
        save(part, encode_corpus(trained, spoken, units), trained)
        part.replace(work / f"{name}.npz")


@app.command()
def speech(
    work: Work = BUILD,
    config: Config = _HERE / "speech.yaml",
    start_from: Weights = None,
    minutes: Minutes = None,
    threads: Threads = 1,
) -> None:
    """Train the speech model on the codec's codes."""
    torch.set_num_threads(threads)
    trained, codec_args = load_codec(_made_by("codec", work / "codec" / "state.pt"))
    params, run = speech_training.read_config(config, codec_args)
    encoded = (_made_by("encode", work / f"{name}.npz") for name in ("train", "unseen"))
    examples, unseen = (load(path, trained) for path in encoded)
    references = {i: reference(trained, voice).numpy() for i, voice in enumerate(SHIPPED)}
    speech_training.train(
        work / "speech",
        params,
        _lasting(run, minutes),
        examples,
        unseen,
        references,
        start_from=start_from,
    )


@app.command()
def decoder(
    work: Work = BUILD,
    config: Config = _HERE / "codec.yaml",
    minutes: Minutes = None,
    threads: Threads = 1,
) -> None:
    """Fine-tune the codec's decoder on settled codes; a trained speech model stays valid."""
    begun = _made_by("codec", work / "codec" / "state.pt")
    how = codec_training.read_config(config, "decoder")
    _train_codec(work, "decoder", how, begun, minutes, threads)


@app.command()
def export(
    folder: Checkpoint,
    work: Work = BUILD,
    config: Config = _HERE / "speech.yaml",
    mean_with: Annotated[
        list[Path] | None, typer.Option(help="Another state.pt to take the mean of weights with.")
    ] = None,
) -> None:
    """Write the checkpoint, its voices and its loss picture to FOLDER."""
    tuned = work / "decoder" / "state.pt"
    codec_state = tuned if tuned.exists() else _made_by("codec", work / "codec" / "state.pt")
    trained, codec_args = load_codec(codec_state)
    params = published_params(yaml.safe_load(config.read_text())["params"], codec_args)
    states = [_made_by("speech", work / "speech" / "state.pt"), *(mean_with or ())]
    front_end = _made_by("front-end", work / "front-end")
    export_checkpoint(folder, params, trained, states, front_end)
    losses(work, folder / "losses.png")


@app.command()
def evaluate(
    folder: Checkpoint,
    per_voice: Annotated[int, typer.Option(help="Sentences of each voice.")] = 8,
    ends: Annotated[int, typer.Option(help="More sentences, only to see that they end.")] = 200,
) -> None:
    """Measure the checkpoint in FOLDER and leave `evaluation.json` there."""
    report = asyncio.run(evaluate_checkpoint(folder, per_voice=per_voice, ends=ends))
    text = json.dumps(report, indent=1)
    (folder / "evaluation.json").write_text(text + "\n")
    typer.echo(text)


@app.command()
def card(
    folder: Checkpoint,
    work: Work = BUILD,
    flite: Annotated[str, typer.Option(help="Version of the teacher.")] = "2.2",
    notes: Annotated[str, typer.Option(help="What the logs cannot know.")] = "",
    before: Annotated[
        Path | None, typer.Option(help="evaluation.json of the one replaced.")
    ] = None,
) -> None:
    """Write the model card of the checkpoint in FOLDER from its runs and its evaluation."""
    runs = tuple(work / run for run in ("codec", "decoder") if (work / run / "log.jsonl").exists())
    write_card(
        folder, work / "train", runs, work / "speech", flite=flite, notes=notes, before=before
    )


if __name__ == "__main__":
    run_program(app)
