"""Steps as CUDA graphs: some 1,500 small kernels launched as one.

A graph is captured for each batch bucket (and, for the decoder, each power of two of keys looked
at) the first time it is needed. It always covers the rows from 0 up to the bucket; those that have
nothing to decide are masked and keep their state.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from asr.config import TOKEN_SAMPLES
from asr.model import VoxtralRealtime
from asr.steps import CONTEXT_SAMPLES, Steps
from asr.words import StreamingIds

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 96, 130)
MIN_EXTENT = 256
WHOLE_RING = 1 << 40


class GraphedSteps(Steps):
    """As `Steps`, on a CUDA device."""

    def __init__(self, model: VoxtralRealtime, ids: StreamingIds, rows: int, left: int = 32):
        super().__init__(model, ids, rows, left)
        device, dim = self.device, model.config.decoder.dim
        dtype = model.tok_embeddings.weight.dtype
        self._pcm = torch.zeros(rows, TOKEN_SAMPLES + CONTEXT_SAMPLES, device=device)
        self._audio = torch.zeros(rows, 1, dim, device=device, dtype=dtype)
        self._tokens = torch.zeros(rows, dtype=torch.int64, device=device)
        self._penalty = torch.zeros(rows, device=device)
        self._chosen = torch.zeros(rows, 3, device=device)
        self._active = torch.zeros(rows, dtype=torch.bool, device=device)
        self._graphs: dict[tuple[str, int, int], torch.cuda.CUDAGraph] = {}

    def encode(self, start: int, stop: int, pcm: Tensor, active: Tensor | None = None) -> Tensor:
        """See `Steps.encode`; blocks of several tokens, which only forks need, run eagerly."""
        if pcm.shape[1] != self._pcm.shape[1]:
            return super().encode(start, stop, pcm, active)
        count = self._bucket(start, stop, active)
        self._pcm[start:stop] = pcm

        def run() -> None:
            state = self.view(0, count)
            mel = self.mel.frames(self._pcm[:count])
            self._audio[:count] = self.model.encode(
                mel, state.encoder, active=self._active[:count], extent=WHOLE_RING
            )

        self._replay("encode", count, 0, run)
        return self._audio[start:stop].clone()

    def decode(
        self,
        start: int,
        stop: int,
        audio: Tensor,
        tokens: Tensor,
        active: Tensor | None = None,
        penalty: Tensor | None = None,
    ) -> Tensor:
        """See `Steps.decode`."""
        count = self._bucket(start, stop, active)
        self._audio[start:stop] = audio
        self._tokens[start:stop] = tokens
        self._penalty[start:stop] = 0.0 if penalty is None else penalty
        extent = MIN_EXTENT
        while extent <= int(self.state.decoder.lengths[:count].max()):
            extent *= 2

        def run() -> None:
            state = self.view(0, count)
            logits = self.model.decode(
                self._audio[:count],
                self._tokens[:count, None],
                state.scale,
                state.decoder,
                active=self._active[:count],
                extent=extent,
            )
            self._chosen[:count] = self._choose(logits[:, 0].float(), self._penalty[:count])

        ring = max(held.shape[1] for held in self.state.decoder.rings)
        self._replay("decode", count, min(extent, ring), run)
        return self._chosen[start:stop].clone()

    def _bucket(self, start: int, stop: int, active: Tensor | None) -> int:
        """Set the mask; how many rows the graph covers."""
        self._active.zero_()
        self._active[start:stop] = True if active is None else active
        return min(next((b for b in BUCKETS if b >= stop), self.rows), self.rows)

    def _replay(self, what: str, count: int, extent: int, run: Callable[[], None]) -> None:
        key = what, count, extent
        if key not in self._graphs:
            self._graphs[key] = self._capture(run)
        self._graphs[key].replay()

    def _capture(self, run: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Record a step; the runs it takes are masked, so no stream moves."""
        mask = self._active.clone()
        self._active.zero_()
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(2):  # libraries set themselves up on first use
                run()
        torch.cuda.current_stream(self.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Another engine's thread may use the device meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            run()
        self._active.copy_(mask)
        return graph
