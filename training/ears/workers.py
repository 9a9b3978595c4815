"""Several processes that train one model: each hears its own clips, all take the mean's step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing, nn


class Workers:
    """The processes of a run, as one of them sees them.

    Args:
        rank: Which one this is; 0 saves, measures and reports.
        count: How many there are.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    def mean(self, parameters: Iterable[nn.Parameter], figures: Tensor) -> Tensor:
        """Put the mean over all workers in the place of every gradient.

        Args:
            parameters: Of the model; the same ones have gradients on every worker.
            figures: float32 [N], averaged along with them.

        Returns:
            The mean of the figures.
        """
        if self.count == 1:
            return figures
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([figures, *(gradient.flatten() for gradient in gradients)])
        distributed.all_reduce(flat)
        flat /= self.count
        sizes = [len(figures), *(gradient.numel() for gradient in gradients)]
        mean, *parts = flat.split(sizes)
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return mean


def together(count: int, work: Callable[..., None], *given: Any) -> None:
    """Call `work(workers, *given)` in `count` processes that find each other; in this one if 1.

    Args:
        count: Of processes.
        work: Importable by name.
        given: What can be sent to a process.
    """
    if count == 1:
        work(Workers(), *given)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        multiprocessing.spawn(_join, (count, meeting, work, given), nprocs=count)


def _join(
    rank: int, count: int, meeting: str, work: Callable[..., None], given: tuple[Any, ...]
) -> None:
    distributed.init_process_group("gloo", meeting, rank=rank, world_size=count)
    work(Workers(rank, count), *given)
    distributed.destroy_process_group()
