"""Train the nano ears: `python -m training.ears.train --out runs/ears/nano`.

First the encoder learns sounds (which phone, each 20 ms; which letters, by CTC), then the decoder
learns to say words after a delay on top of a frozen encoder, then all of it together. Two small
heads exist for training only. What ships is a running average of the weights: it hears voices that
were never trained on better than any state of the way does. A run can be stopped and goes on from
its last minute; it can begin from a shipped checkpoint (`--start`), also with more layers than that
has.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections import Counter, defaultdict
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from asr.checkpoint import load_model
from asr.config import AsrConfig, delay_tokens
from asr.model import VoxtralRealtime
from backbone.tekken import Tekken
from cli.output import run_program
from common.errors import ParleyError
from training.ears.batches import CHARACTERS, Batch, Corpus, draw_delays
from training.ears.corpus import CorpusOptions, Talk
from training.ears.recipe import EarsRecipe, Stage, save_ears
from training.ears.tokens import learn_pieces, write_tekken
from training.ears.workers import Workers, together
from training.learner import Learner, best_device, work_s
from training.optimise import Rates, optimisers
from training.speech.utterance import PHONES
from training.text.conversation import spoken

_SAVE_EVERY_S = 60.0
_MEASURE_EVERY_S = 150.0
_TEXTS_FOR_PIECES = 60_000
_PLAIN = ("phones", "characters", "ada_rms_norm")  # matrices left to AdamW


class Ears(nn.Module):
    """The model and the two heads that teach its encoder."""

    def __init__(self, config: AsrConfig) -> None:
        super().__init__()
        self.model = VoxtralRealtime(config)
        self.phones = nn.Linear(config.encoder.dim, len(PHONES))
        self.characters = nn.Linear(config.encoder.dim, len(CHARACTERS) + 1)
        nn.init.normal_(self.model.tok_embeddings.weight, std=config.decoder.dim**-0.5)

    def take_over(self, folder: Path) -> None:
        """Begin with a checkpoint's weights; layers it lacks begin as its last one, but add nothing."""
        earlier = load_model(folder, dtype=torch.float32).state_dict()
        layers = [re.match(r"(.+layers)\.(\d+)\.", name) for name in earlier]
        last = {found[1]: int(found[2]) for found in layers if found}  # names come in order
        weights = self.model.state_dict()
        for name in weights:
            if name in earlier:
                weights[name] = earlier[name]
            elif ".wo." in name or ".w2." in name:
                weights[name] = torch.zeros_like(weights[name])
            else:
                stack, _, rest = re.split(r"\.(\d+)\.", name, maxsplit=1)
                weights[name] = earlier[f"{stack}.{last[stack]}.{rest}"].clone()
        self.model.load_state_dict(weights)

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Each loss that the stage asks for, unweighted."""
        model, losses = self.model, {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not stage.frozen_encoder):
            frames = model.whisper_encoder(batch.mel)
        if stage.phones:
            logits = self.phones(frames).float()
            losses["phones"] = F.cross_entropy(logits.flatten(0, 1), batch.phones.flatten())
        if stage.characters:
            logits = self.characters(frames).float().log_softmax(-1).transpose(0, 1)
            lengths = torch.full((logits.shape[1],), logits.shape[0])
            losses["characters"] = F.ctc_loss(
                logits, batch.characters, lengths, batch.character_counts, zero_infinity=True
            )
        if stage.text:
            audio = model.audio_language_projection(frames.unflatten(1, (-1, 4)).flatten(2))
            logits = model.decode(audio, batch.tokens, model.delay_scale(batch.delay)).float()
            flat, targets = logits.flatten(0, 1), batch.targets.flatten()
            spoken_of = targets >= 0
            flat, targets = flat[spoken_of], targets[spoken_of]
            # Keeps logits from growing until the audio no longer matters (z-loss).
            losses["text"] = (
                F.cross_entropy(flat, targets) + 1e-4 * flat.logsumexp(-1).pow(2).mean()
            )
        return losses


@dataclass(slots=True)
class Log:
    """What a run has done so far; goes to `log.json`, which is shipped too, and the card."""

    steps: int = 0
    own_steps: int = 0  # of these, by this run and not by the checkpoint it began with
    seconds: float = 0.0  # of `device`
    device: str = "one CPU core"
    audio_hours: float = 0.0
    stage: int = 0
    stage_seconds: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)


class Run:
    """One training run in one folder, which has a `tekken.json`.

    Args:
        out: The folder.
        corpus: Folder of shards.
        recipe: What to train and how.
        start: A shipped checkpoint to go on from, if not from nothing: its stages are done.
        workers: Who takes part.

    Raises:
        ParleyError: What is in the folder was trained by a recipe of other sizes, or the corpus has
            too few clips.
    """

    def __init__(
        self,
        out: Path,
        corpus: Path,
        recipe: EarsRecipe,
        start: Path | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.out, self.recipe, self._workers = out, recipe, workers or Workers()
        self._device = best_device()
        torch.manual_seed(recipe.seed)
        self.tekken = Tekken.load(out / "tekken.json")
        self.corpus = Corpus(corpus, recipe.held_out_clips, self._workers, self._device)
        if len(self.corpus) < recipe.batch:
            raise ParleyError(
                f"{corpus} has too few clips: a worker needs {recipe.batch + recipe.held_out_clips}.",
                "Make more of them with `python -m training.ears.corpus`.",
            )
        self.ears = Ears(AsrConfig.from_params(recipe.params()))
        self.log = Log()
        if start:
            self.ears.take_over(start)
            self.log = replace(_log_of(start), own_steps=0)
        self.ears.to(self._device)
        self._average = deepcopy(self.ears)
        steppers = optimisers(self.ears, recipe.matrix_lr, recipe.other_lr, recipe.head_lr, _PLAIN)
        self._rates = Rates(steppers)
        modules = {"ears": self.ears, "average": self._average}
        self._learner = Learner(out / "run.pt", modules, steppers, largest_gradient=1.0)
        self._order: list[int] = []
        self._worked_s = work_s()
        if state := self._learner.load():
            self.log = Log(**state["log"])
        if self._device.type == "cuda":
            self.log.device = torch.cuda.get_device_name()
        self._chance = random.Random(f"{recipe.seed} {self.log.steps} {self._workers.rank}")

    def save(self) -> None:
        """Write everything needed to go on, and a checkpoint that loads as any other."""
        if self._workers.rank:
            return
        log = asdict(self.log)
        self._learner.save(log=log)
        shipped = VoxtralRealtime(self.ears.model.config)
        shipped.load_state_dict(self._average.model.state_dict())
        save_ears(self.out, self.recipe, shipped)
        (self.out / "log.json").write_text(json.dumps(log, indent=1))

    def train(self) -> None:
        """Run the stages that are left.

        Raises:
            ParleyError: There are none.
        """
        if self.log.stage >= len(self.recipe.stages):
            raise ParleyError(
                f"All {len(self.recipe.stages)} stages of the recipe are done.",
                "Add one to the recipe to train on.",
            )
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        while self.log.stage < len(self.recipe.stages):
            stage = self.recipe.stages[self.log.stage]
            with Progress(*columns, disable=self._workers.rank > 0) as bar:
                self._train_stage(stage, bar, bar.add_task(stage.name, total=60 * stage.minutes))
            self.log.stage += 1
            self.log.stage_seconds = 0.0
            self.save()

    def _train_stage(self, stage: Stage, bar: Progress, task: Any) -> None:
        saved = measured = time.monotonic()
        while self.log.stage_seconds < 60 * stage.minutes:
            began = time.monotonic()
            losses = self._step(stage)
            text = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
            bar.update(
                task,
                completed=self.log.stage_seconds,
                description=f"{stage.name} step {self.log.steps} {text}",
            )
            if began - saved > _SAVE_EVERY_S:
                self.save()
                saved = began
            if began - measured > _MEASURE_EVERY_S:
                self.corpus.refresh()
                self._measure(stage, losses)
                measured = time.monotonic()
        self._measure(stage, {})

    def _step(self, stage: Stage) -> dict[str, float]:
        recipe, log = self.recipe, self.log
        done = log.stage_seconds / (60 * stage.minutes)
        factor = stage.rate * min(1.0, (log.own_steps + 1) / recipe.warm_up_steps)
        self._rates.scale(factor * max(stage.floor, min(1.0, (1 - done) / stage.decay)))
        batch = self._next_batch()
        self.ears.train()
        with torch.autocast(self._device.type, torch.bfloat16):
            losses = self.ears.losses(batch, stage)
            weights = {"phones": stage.phones, "characters": stage.characters, "text": stage.text}
            total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self._learner.differentiate(total)
        before, self._worked_s = self._worked_s, work_s()
        worked = torch.tensor(self._worked_s - before, device=self._device)
        own = torch.stack([worked, *losses.values()]).detach()
        took, *means = self._workers.mean(self.ears.parameters(), own.float()).tolist()
        self._learner.step()
        with torch.no_grad():
            for kept, now in zip(self._average.parameters(), self.ears.parameters(), strict=True):
                kept.lerp_(now, 1 / min(log.own_steps + 1, recipe.average_steps))
        log.steps += 1
        log.own_steps += 1
        log.stage_seconds += took
        log.seconds += took * self._workers.count
        log.audio_hours += self._workers.count * recipe.batch * 9.6 / 3600
        return dict(zip(losses, means, strict=True))

    def _next_batch(self) -> Batch:
        recipe = self.recipe
        if len(self._order) < recipe.batch:
            self._order = list(range(len(self.corpus)))
            self._chance.shuffle(self._order)
        numbers = [self._order.pop() for _ in range(recipe.batch)]
        indices = [self.corpus.trained_index(number) for number in numbers]
        delays = draw_delays(recipe, self._chance, recipe.batch)
        seed = self.log.steps * self._workers.count + self._workers.rank
        return self.corpus.batch(indices, delays, self.tekken, recipe, seed)

    @torch.no_grad()
    def _measure(self, stage: Stage, losses: dict[str, float]) -> None:
        """Losses of the average on held-out clips, spoiled the same way each time, for the curve."""
        if self._workers.rank:
            return
        self._average.eval()
        recipe, sums = self.recipe, defaultdict[str, float](float)
        everything = stage.model_copy(
            update={"phones": 1.0, "characters": 1.0, "text": 1.0, "frozen_encoder": False}
        )
        indices = list(self.corpus.held_out_indices)
        for start in range(0, len(indices), recipe.batch):
            chosen = indices[start : start + recipe.batch]
            delays = [delay_tokens(recipe.delay_ms)] * len(chosen)
            quiet = recipe.model_copy(update={"token_noise": 0.0})
            batch = self.corpus.batch(chosen, delays, self.tekken, quiet, 1_000_000 + start)
            with torch.autocast(self._device.type, torch.bfloat16):
                for name, loss in self._average.losses(batch, everything).items():
                    sums[name] += loss.item() * len(chosen) / len(indices)
        point = {
            "step": self.log.steps,
            "minutes": round(self.log.seconds / 60, 2),
            "stage": stage.name,
            "clips": len(self.corpus) * self._workers.count,
            "train": {name: round(value, 4) for name, value in losses.items()},
            "held_out": {name: round(value, 4) for name, value in sums.items()},
        }
        self.log.curve.append(point)
        typer.echo(json.dumps(point))


def _log_of(checkpoint: Path) -> Log:
    """What a checkpoint has been through.

    Raises:
        ParleyError: It was not trained here, or not completely copied.
    """
    try:
        return Log(**json.loads((checkpoint / "log.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ParleyError(
            f"{checkpoint / 'log.json'} cannot be read ({error}), so training cannot go on from there.",
            "Give the folder of a run or of nano ears that `training.ears.export` wrote.",
        ) from error


def write_tokenizer(path: Path, arpa: Path, recipe: EarsRecipe, start: Path | None) -> None:
    """The run's tokenizer: that of the checkpoint it begins from, or learnt from its texts."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    if start:
        shutil.copyfile(start / path.name, part)
    else:
        talk, words = Talk(recipe.seed, arpa, CorpusOptions()), Counter[str]()
        for _ in range(_TEXTS_FOR_PIECES):
            words.update(spoken(talk.text()))
        write_tekken(part, learn_pieces(words, recipe.pieces), recipe.delay_ms)
    part.replace(path)


def train(
    workers: Workers,
    out: Path,
    corpus: Path,
    recipe: EarsRecipe,
    start: Path | None,
    threads: int,
    compiled: bool,
) -> None:
    """One worker's part of a run; for the arguments see `main`."""
    torch.set_num_threads(threads)
    run = Run(out, corpus, recipe, start, workers)
    if compiled:  # one by one, for the losses have shapes of their own in every batch
        run.ears.model.whisper_encoder.compile()
        run.ears.model.decoder.compile()
    run.train()


def main(
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/ears/nano"),
    corpus: Annotated[Path, typer.Option(help="Folder of shards.")] = Path("runs/ears/corpus"),
    arpa: Annotated[Path, typer.Option(help="Readable language model.")] = Path(
        "runs/ears/conversation.arpa"
    ),
    recipe: Annotated[Path, typer.Option(help="What to train and how.")] = Path(
        "training/ears/nano.yaml"
    ),
    start: Annotated[
        Path | None, typer.Option(help="Shipped checkpoint to go on from; may have fewer layers.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(help="Processes; each takes a batch per step and its share of the shards."),
    ] = 1,
    threads: Annotated[int, typer.Option(help="CPU threads of each.")] = 1,
    compiled: Annotated[bool, typer.Option(help="Half a minute's work first, then 1.8x.")] = True,
) -> None:
    """Train, or go on training."""
    stages = EarsRecipe.load(recipe)
    write_tokenizer(out / "tekken.json", arpa, stages, start)
    together(workers, train, out, corpus, stages, start, threads, compiled)


if __name__ == "__main__":
    run_program(main)
