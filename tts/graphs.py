"""CUDA graphs of one frame: a launch instead of a thousand (arXiv 2603.25551 §5.2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from backbone.cuda import Graphs

Outputs = tuple[Tensor, Tensor, Tensor | None]


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
        self._graphs: Graphs[tuple[int, int], Outputs] = Graphs()

    def __call__(self, rows: int, extent: int) -> Outputs:
        """Make a frame; the outputs are valid until the next call."""
        return self._graphs.replay((rows, extent))

    def capture(self, rows: int, extent: int) -> None:
        """Make ready for calls with these arguments; takes a good part of a second."""
        saved = [tensor.clone() for tensor in self._state]
        self._graphs.capture((rows, extent), partial(self._frame, rows, extent))
        for tensor, before in zip(self._state, saved, strict=True):
            tensor.copy_(before)
