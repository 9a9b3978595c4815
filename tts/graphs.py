"""CUDA graphs of one frame: a launch instead of a thousand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Outputs = tuple[Tensor, Tensor, Tensor | None]
WARMUP_RUNS = 2


class GraphedFrame:
    """Captures a frame the first time each (rows, extent, advance) is asked for, then replays it.

    The function must read and write only tensors that stay where they are. Warming up runs it for
    real, so the state it writes is saved before and put back after.

    Args:
        frame: (rows, extent, advance) to output tensors.
        state: Tensors the function changes.
    """

    def __init__(self, frame: Callable[[int, int, bool], Outputs], state: list[Tensor]):
        self._frame, self._state = frame, state
        self._captured: dict[tuple[int, int, bool], tuple[torch.cuda.CUDAGraph, Outputs]] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, rows: int, extent: int, advance: bool) -> Outputs:
        """Make a frame; the outputs are valid until the next call."""
        key = (rows, extent, advance)
        if key not in self._captured:
            self._captured[key] = self._capture(key)
        graph, outputs = self._captured[key]
        graph.replay()
        return outputs

    def _capture(self, key: tuple[int, int, bool]) -> tuple[torch.cuda.CUDAGraph, Outputs]:
        saved = [tensor.clone() for tensor in self._state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARMUP_RUNS):
                self._frame(*key)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            outputs = self._frame(*key)
        for tensor, before in zip(self._state, saved, strict=True):
            tensor.copy_(before)
        return graph, outputs
