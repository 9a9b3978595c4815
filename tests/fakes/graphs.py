"""CUDA graphs without a GPU."""

from collections.abc import Callable, Hashable
from typing import Any

from backbone.cuda import WARMUP_RUNS


class RerunGraphs:
    """As `backbone.cuda.Graphs`, but a replay runs the function again.

    Attributes:
        captured: Functions by key.
        replayed: Keys, in order.
    """

    def __init__(self) -> None:
        self.captured: dict[Hashable, Callable[[], Any]] = {}
        self.replayed: list[Hashable] = []

    def capture(self, key: Hashable, function: Callable[[], Any]) -> None:
        for _ in range(WARMUP_RUNS):
            function()
        self.captured[key] = function

    def replay(self, key: Hashable) -> Any:
        self.replayed.append(key)
        return self.captured[key]()
