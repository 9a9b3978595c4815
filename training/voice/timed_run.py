"""A training run of so many processor minutes that goes on where it was interrupted."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loguru import logger
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from training.voice.optimise import Schedule

_SAVE_EVERY_S = 120


def best_device() -> torch.device:
    """The GPU if there is one; none of our runs has had one, so all that is measured is a CPU's."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class TimedRun:
    """Weights, optimisers and a clock, kept in a folder; `state.pt` there is always whole.

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
                a core costs a run nothing.
            seed: Of everything drawn.
            largest_gradient: Norm to which gradients are clipped.
            start_from: A `state.pt` of another run whose weights a new run begins with.
            about: Saved with the state: how it was trained.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._module, self._steppers = folder, module, steppers
        self._schedule, self._limit_s = schedule, core_minutes * 60
        self._largest_gradient, self._about = largest_gradient, about
        self.step, self._spent_s = 0, 0.0
        if self._state_path.exists():
            state = torch.load(self._state_path, map_location="cpu", weights_only=True)
            module.load_state_dict(state["model"])
            for stepper, saved in zip(steppers, state["steppers"], strict=True):
                stepper.load_state_dict(saved)
            self.step, self._spent_s = state["step"], state["spent_s"]
            logger.info("going on at step {}, {:.1f} min", self.step, self._spent_s / 60)
        elif start_from is not None:
            begun = torch.load(start_from, map_location="cpu", weights_only=True)
            missing, strange = module.load_state_dict(begun["model"], strict=False)
            assert not strange, strange
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
        saved_s, began_s = self._spent_s, time.process_time() - self._spent_s
        with (
            (self._folder / "log.jsonl").open("a") as log,
            Progress(
                TextColumn(f"{name} {{task.fields[loss]}}"), BarColumn(), TimeRemainingColumn()
            ) as progress,
        ):
            bar = progress.add_task("", total=self._limit_s, completed=self._spent_s, loss="")
            while self._spent_s < self._limit_s:
                done = self._spent_s / self._limit_s
                self._schedule.set(self.step, done)
                total, terms = losses(done)
                self._descend(total)
                self.step += 1
                for term_name, term in terms.items():
                    sums[term_name].append(term.item())
                self._spent_s = time.process_time() - began_s
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
                    self._save()

    @property
    def _state_path(self) -> Path:
        return self._folder / "state.pt"

    def _descend(self, total: Tensor) -> None:
        for stepper in self._steppers:
            stepper.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self._module.parameters(), self._largest_gradient)
        for stepper in self._steppers:
            stepper.step()

    def _save(self) -> None:
        state = {
            "model": self._module.state_dict(),
            "steppers": [stepper.state_dict() for stepper in self._steppers],
            "step": self.step,
            "spent_s": self._spent_s,
            **self._about,
        }
        torch.save(state, self._state_path.with_suffix(".part"))
        self._state_path.with_suffix(".part").replace(self._state_path)


def mean_terms(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    """The means of several batches' validation losses, named `val_…`."""
    return {
        f"val_{name}": round(float(np.mean([row[name].item() for row in rows])), 4)
        for name in rows[0]
    }
