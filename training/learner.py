"""What every training run stands on: a device, a clock of its work, and a state that is always whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import ParleyError


def best_device() -> torch.device:
    """The GPU if there is one; none of our runs has had one, so all that is measured is a CPU's."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def work_s() -> float:
    """A clock of work, in seconds: of the processor, whom waiting costs nothing; with a GPU, of the world."""
    return time.process_time() if best_device().type == "cpu" else time.monotonic()


class Learner:
    """Modules and the optimisers that train them, kept in one file.

    Args:
        path: The file.
        modules: What is kept, by name; the first is what is trained.
        steppers: Its optimisers.
        largest_gradient: Norm to which gradients are clipped.
    """

    def __init__(
        self,
        path: Path,
        modules: dict[str, nn.Module],
        steppers: list[torch.optim.Optimizer],
        largest_gradient: float,
    ) -> None:
        self._path, self._modules, self._steppers = path, modules, steppers
        self._largest_gradient = largest_gradient
        self._trained = next(iter(modules.values()))

    def load(self) -> dict[str, Any]:
        """Go on with what was saved.

        Returns:
            What was saved along with it; nothing if nothing was saved.

        Raises:
            ParleyError: It is of another model, or was not left by a run.
        """
        if not self._path.exists():
            return {}
        state = torch.load(self._path, map_location="cpu", weights_only=True)
        try:
            for name, module in self._modules.items():
                module.load_state_dict(state.pop(name))
            for stepper, saved in zip(self._steppers, state.pop("steppers"), strict=True):
                stepper.load_state_dict(saved)
        except (KeyError, ValueError, RuntimeError) as error:
            raise ParleyError(
                f"{self._path} was not left by a run with these settings.",
                "Train in another folder, or with the settings that this one was begun with.",
            ) from error
        return state

    def save(self, **along: Any) -> None:
        """Write everything, and plain values along with it; the file is the old or the new one."""
        state = {name: module.state_dict() for name, module in self._modules.items()}
        steppers = [stepper.state_dict() for stepper in self._steppers]
        part = self._path.with_suffix(".part")
        with part.open("wb") as file:
            torch.save(state | {"steppers": steppers} | along, file)
        part.replace(self._path)

    def differentiate(self, total: Tensor) -> None:
        """Put the gradients of what is minimised in place."""
        for stepper in self._steppers:
            stepper.zero_grad(set_to_none=True)
        total.backward()

    def step(self) -> None:
        """Clip the gradients and let every optimiser take its step."""
        nn.utils.clip_grad_norm_(self._trained.parameters(), self._largest_gradient)
        for stepper in self._steppers:
            stepper.step()
