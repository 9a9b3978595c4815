"""CUDA graphs of one frame: a launch instead of a thousand (arXiv 2603.25551 §5.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Outputs = tuple[Tensor, Tensor, Tensor | None]
WARMUP_RUNS = 2


class GraphedFrame:
    """Frames captured once for each (rows, extent), then replayed.

    The function must read and write only tensors that stay where they are. Capturing runs it for
    real, so the state it writes is saved before and put back after.

    Args:
        frame: (rows, extent) to output tensors.
        state: Tensors the function changes.
    """

    def __init__(self, frame: Callable[[int, int], Outputs], state: list[Tensor]):
        self._frame, self._state = frame, state
        self._captured: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Outputs]] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, rows: int, extent: int) -> Outputs:
        """Make a frame; the outputs are valid until the next call."""
        graph, outputs = self._captured[rows, extent]
        graph.replay()
        return outputs

    def capture(self, rows: int, extent: int) -> None:
        """Make ready for calls with these arguments; takes a good part of a second."""
        saved = [tensor.clone() for tensor in self._state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARMUP_RUNS):
                self._frame(rows, extent)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            outputs = self._frame(rows, extent)
        for tensor, before in zip(self._state, saved, strict=True):
            tensor.copy_(before)
        self._captured[rows, extent] = (graph, outputs)
