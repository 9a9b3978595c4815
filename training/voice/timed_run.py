"""A training run of so many processor minutes that goes on where it was interrupted."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loguru import logger
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from common.errors import ParleyError
from training.learner import Learner, work_s
from training.optimise import Schedule

_SAVE_EVERY_S = 120


class TimedRun:
    """Weights, optimisers, a clock and a log, kept in a folder; `state.pt` there is always whole.

    Attributes:
        step: Steps made so far, by this process and those before it.
        chance: Draws the examples; a continued run draws others than it began with.
        fresh: Nothing was learnt before: neither continued nor started from another run's weights.
    """

    def __init__(
        self,
        folder: Path,
        module: nn.Module,
        steppers: list[torch.optim.Optimizer],
        schedule: Schedule,
        *,
        core_minutes: float,
        seed: int,
        largest_gradient: float,
        start_from: Path | None = None,
        about: dict[str, Any],
    ):
        """Take up the run in `folder`, or begin one.

        Args:
            folder: Where state and log are kept.
            module: What is trained and saved.
            steppers: Its optimisers.
            schedule: Drives their rates.
            core_minutes: Processor time of the whole run, of all its threads: being paused or sharing
                a core costs a run nothing. With a GPU, time.
            seed: Of everything drawn.
            largest_gradient: Norm to which gradients are clipped.
            start_from: A `state.pt` of another run whose weights a new run begins with.
            about: Saved with the state: how it was trained.

        Raises:
            ParleyError: What is in `folder` or in `start_from` has other settings.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._learner = Learner(folder / "state.pt", {"model": module}, steppers, largest_gradient)
        self._log, self._about = folder / "log.jsonl", about
        self._schedule, self._limit_s = schedule, core_minutes * 60
        state = self._learner.load()
        self.step, self._spent_s = state.get("step", 0), state.get("spent_s", 0.0)
        if state:
            logger.info("going on at step {}, {:.1f} min", self.step, self._spent_s / 60)
        elif start_from is not None:
            missing = _begin_with(module, start_from)
            logger.info("begun from {}; new here: {}", start_from, missing or "nothing")
        self.fresh = not self.step and start_from is None
        self.chance = np.random.default_rng([seed, self.step])
        torch.manual_seed(seed * 1_000_003 + self.step)

    def go(
        self,
        name: str,
        losses: Callable[[float], tuple[Tensor, dict[str, Tensor]]],
        validate: Callable[[], dict[str, float]],
        shown: Callable[[dict[str, float]], str],
        *,
        log_every: int,
    ) -> None:
        """Train until the time is spent.

        Args:
            name: Of the progress bar.
            losses: Given how much of the run is over (0 to 1), what to minimise on the next examples,
                and its terms by name for the log.
            validate: Measures on what is not learnt.
            shown: From a log line, what stands beside the bar.
            log_every: Steps between two log lines.
        """
        sums: dict[str, list[float]] = defaultdict(list)
        saved_s, began_s = self._spent_s, work_s() - self._spent_s
        self._forget_what_was_not_saved()
        with (
            self._log.open("a") as log,
            Progress(
                TextColumn(f"{name} {{task.fields[loss]}}"), BarColumn(), TimeRemainingColumn()
            ) as progress,
        ):
            bar = progress.add_task("", total=self._limit_s, completed=self._spent_s, loss="")
            while self._spent_s < self._limit_s:
                done = self._spent_s / self._limit_s
                self._schedule.set(self.step, done)
                total, terms = losses(done)
                self._learner.differentiate(total)
                self._learner.step()
                self.step += 1
                for term_name, term in terms.items():
                    sums[term_name].append(term.item())
                self._spent_s = work_s() - began_s
                over = self._spent_s >= self._limit_s
                progress.update(bar, completed=self._spent_s)
                if self.step % log_every == 0 or over:
                    line = {key: round(float(np.mean(values)), 4) for key, values in sums.items()}
                    line |= validate()
                    line |= {"step": self.step, "core_minutes": round(self._spent_s / 60, 2)}
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                    progress.update(bar, loss=shown(line))
                    sums.clear()
                if self._spent_s - saved_s > _SAVE_EVERY_S or over:
                    saved_s = self._spent_s
                    self._learner.save(step=self.step, spent_s=self._spent_s, **self._about)

    def _forget_what_was_not_saved(self) -> None:
        """Leave out of the log what a run that was killed did after its state was saved."""
        self._log.touch()
        kept_bytes = 0
        for line in self._log.read_bytes().splitlines(keepends=True):
            whole = line.endswith(b"\n")
            if not whole or json.loads(line)["step"] > self.step:
                break
            kept_bytes += len(line)
        os.truncate(self._log, kept_bytes)


def _begin_with(module: nn.Module, start_from: Path) -> list[str]:
    """Load another run's weights; names of those that it lacks."""
    begun = torch.load(start_from, map_location="cpu", weights_only=True)
    try:
        missing, strange = module.load_state_dict(begun["model"], strict=False)
    except RuntimeError as error:
        raise ParleyError(f"{start_from} is of another size: {error}") from error
    if strange:
        raise ParleyError(f"{start_from} has what this model lacks: {', '.join(strange)}.")
    return missing


def mean_terms(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    """The means of several batches' validation losses, named `val_…`."""
    return {
        f"val_{name}": round(float(np.mean([row[name].item() for row in rows])), 4)
        for name in rows[0]
    }
