"""Muon for matrices, AdamW for the rest: what trained the nano models fastest per core-second.

Muon (Jordan et al. 2024) steps along the orthogonalised momentum of each weight matrix. Matrices of
one shape are orthogonalised as one batch, in bf16: on a CPU the launches cost more than the sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

# A quintic iteration whose first steps grow small singular values fast and whose last calm them.
_QUINTIC = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
)


def orthogonalised(matrices: Tensor) -> Tensor:
    """[N, rows, columns] to the nearest matrices whose singular values are all about 1."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)).bfloat16()
    for a, b, c in _QUINTIC:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; tensors of more than two axes are matrices [first, all the rest]."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.02,
    ):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[tuple(parameter.flatten(1).shape)].append(parameter)
            for (rows, columns), parameters in by_shape.items():
                ahead = []
                for parameter in parameters:
                    state = self.state[parameter]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(parameter)
                    momentum = state["momentum"].mul_(group["momentum"]).add_(parameter.grad)
                    ahead.append(parameter.grad.add(momentum, alpha=group["momentum"]).flatten(1))
                update = orthogonalised(torch.stack(ahead))
                size = -group["lr"] * max(1.0, rows / columns) ** 0.5
                for parameter, change in zip(parameters, update, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(change.view_as(parameter), alpha=size)


def optimisers(
    modules: nn.Module, matrix_lr: float, other_lr: float, plain_lr: float, plain: tuple[str, ...]
) -> list[torch.optim.Optimizer]:
    """Muon for matrices of at least 32 rows and columns, AdamW for all else.

    Args:
        modules: What is trained.
        matrix_lr: Muon's step.
        other_lr: AdamW's step for gains, tables and small matrices.
        plain_lr: AdamW's step for `plain` matrices; with hundreds of inputs a step as large as for
            gains would move their outputs by a whole unit.
        plain: Parts of names whose matrices go to AdamW all the same: first and last layers.
    """
    matrices, others, slow = [], [], []
    for name, parameter in modules.named_parameters():
        big = parameter.ndim >= 2 and min(parameter.flatten(1).shape) >= 32
        if big and any(part in name for part in plain):
            slow.append(parameter)
        else:
            (matrices if big and "embeddings" not in name else others).append(parameter)
    return [
        Muon(matrices, matrix_lr),
        torch.optim.AdamW(
            [{"params": others, "lr": other_lr}, {"params": slow, "lr": plain_lr}],
            betas=(0.9, 0.98),
            weight_decay=0.0,
        ),
    ]


class Rates:
    """The full learning rate of every group of some optimisers.

    It is not kept in the optimisers, for those load what was last used when a run goes on.

    Args:
        steppers: New ones, whose rates are the full ones.
    """

    def __init__(self, steppers: list[torch.optim.Optimizer]) -> None:
        self._steppers = steppers
        self._full = [[group["lr"] for group in stepper.param_groups] for stepper in steppers]

    def scale(self, factor: float) -> None:
        """Learn with so much of the full rates."""
        for stepper, rates in zip(self._steppers, self._full, strict=True):
            for group, rate in zip(stepper.param_groups, rates, strict=True):
                group["lr"] = rate * factor


class Schedule:
    """A short warm-up, a plateau, and a straight line to zero, over steps or over seconds.

    Args:
        steppers: Optimisers whose rates are driven.
        warm_up_steps: Steps until the full rate.
        decay_share: Last part of the run over which the rate falls to zero.
    """

    def __init__(
        self, steppers: list[torch.optim.Optimizer], warm_up_steps: int, decay_share: float
    ):
        self._rates = Rates(steppers)
        self._warm_up_steps, self._decay_share = warm_up_steps, decay_share

    def set(self, step: int, done: float) -> float:
        """Set every rate for `step` when `done` (0 to 1) of the run is over; returns the factor."""
        factor = min(1.0, (step + 1) / self._warm_up_steps)
        factor *= min(1.0, max(1.0 - done, 0.0) / self._decay_share)
        self._rates.scale(factor)
        return factor
