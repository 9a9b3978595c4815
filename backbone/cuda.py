"""What the engines share on a GPU: captures one at a time, and the memory for their streams."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from loguru import logger

from common.errors import ParleyError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

MEMORY_SHARE = 0.85
"""Of the free memory, for streams at most; steps and graphs take the rest."""
MEMORY_CURE = (
    "Stop what else uses the GPU (nvidia-smi tells), or run the ears and the voice on "
    "different machines."
)
WARMUP_RUNS = 2
_capturing = threading.Lock()

# On Hopper and Blackwell torch prefers cuDNN's attention, which spends up to half a second on every
# shape it has not met. Each prompt of the voice is one.
torch.backends.cuda.enable_cudnn_sdp(False)


class Graphs(Generic[K, T]):
    """Functions captured as CUDA graphs: thousands of kernels launched as one.

    A function must read and write only tensors that stay where they are, and leave nothing behind
    that another one reads but through these: all graphs use the same working memory.
    """

    def __init__(self) -> None:
        self._captured: dict[K, tuple[torch.cuda.CUDAGraph, T]] = {}
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    def capture(self, key: K, function: Callable[[], T]) -> None:
        """Make ready for `replay`; runs the function for real and takes a good part of a second."""
        # Torch allows one capture at a time in a process, and begins each by synchronising the
        # device, which fails while another thread captures.
        with _capturing:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(WARMUP_RUNS):  # libraries set themselves up on first use
                    function()
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            # Another engine's thread may allocate memory meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                outputs = function()
        self._captured[key] = graph, outputs

    def replay(self, key: K) -> T:
        """Do again what was captured; the outputs are valid until the next replay."""
        graph, outputs = self._captured[key]
        graph.replay()
        return outputs


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """Say what was to be made ready, and what to do, when a GPU's memory runs out meanwhile.

    Raises:
        ParleyError: It ran out.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ParleyError(f"The GPU's memory has no room for {what}.", MEMORY_CURE) from error


def rows_that_fit(
    device: torch.device, row_bytes: int, *, least: int, most: int, share: float = MEMORY_SHARE
) -> int:
    """How many streams' state to allocate.

    Args:
        device: The GPU.
        row_bytes: State of one stream.
        least: Streams without which it is no use.
        most: Streams beyond which it is no use.
        share: Of the free memory, for the streams beyond `least`.

    Raises:
        ParleyError: There is no room for `least`.
    """
    with _capturing:  # during which no memory may be given back
        # Torch holds gigabytes for what `fuse` has replaced; the device does not call them free.
        torch.cuda.empty_cache()
    free_bytes, _ = torch.cuda.mem_get_info(device)
    if least * row_bytes > MEMORY_SHARE * free_bytes:
        raise ParleyError(
            f"The GPU has {free_bytes / 1e9:.1f} GB free; {least} streams of "
            f"{row_bytes / 1e9:.1f} GB each do not fit.",
            "Ask for fewer streams, free some of its memory, or run the ears and the voice on "
            "different machines.",
        )
    rows = min(max(int(share * free_bytes) // row_bytes, least), most)
    logger.info(
        "The GPU has {:.1f} GB free, of which {} streams take {:.1f} GB",
        *(free_bytes / 1e9, rows, rows * row_bytes / 1e9),
    )
    return rows
