"""Steps as CUDA graphs: some 1,500 small kernels launched as one.

There is a graph for each batch bucket (and, for the decoder, each power of two of keys looked at).
It always covers the rows from 0 up to the bucket; those that have nothing to decide are masked and
keep their state.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from asr.config import TOKEN_SAMPLES
from asr.model import VoxtralRealtime
from asr.steps import CONTEXT_SAMPLES, Steps
from asr.words import StreamingIds
from backbone.cuda import Graphs

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 96, 130)
MIN_EXTENT = 256
WHOLE_RING = 1 << 40


class GraphedSteps(Steps):
    """As `Steps`, on a CUDA device; nothing goes before `warm_up`."""

    def __init__(self, model: VoxtralRealtime, ids: StreamingIds, rows: int, left: int = 32):
        super().__init__(model, ids, rows, left)
        device, dim = self.device, model.config.decoder.dim
        dtype = model.tok_embeddings.weight.dtype
        self._pcm = torch.zeros(rows, TOKEN_SAMPLES + CONTEXT_SAMPLES, device=device)
        self._audio = torch.zeros(rows, 1, dim, device=device, dtype=dtype)
        width = self.width
        self._tokens = torch.zeros(rows, width, dtype=torch.int64, device=device)
        self._rated = torch.zeros(rows, width, width, 3, device=device)
        self._active = torch.zeros(rows, dtype=torch.bool, device=device)
        self._encodings: Graphs[int, None] = Graphs()
        self._decodings: Graphs[tuple[int, int], None] = Graphs()
        self._extents = [MIN_EXTENT]
        while self._extents[-1] < max(held.shape[1] - 1 for held in self.state.decoder.rings):
            self._extents.append(2 * self._extents[-1])

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Capture every graph that will be needed: while callers wait there is no time for it."""
        self._active.zero_()  # no stream moves
        for count in sorted({self._bucket(stop + 1) for stop in range(self.rows)}, reverse=True):
            self._encodings.capture(count, partial(self._encode, count))
            for extent in self._extents[::-1]:
                self._decodings.capture((count, extent), partial(self._decode, count, extent))

    def encode(self, start: int, stop: int, pcm: Tensor, active: Tensor | None = None) -> Tensor:
        """See `Steps.encode`; blocks of several tokens, which only forks need, run eagerly."""
        if pcm.shape[1] != self._pcm.shape[1]:
            return super().encode(start, stop, pcm, active)
        self._activate(start, stop, active)
        self._pcm[start:stop] = pcm
        self._encodings.replay(self._bucket(stop))
        return self._audio[start:stop].clone()

    def decode(
        self,
        start: int,
        stop: int,
        audio: Tensor,
        tokens: Tensor,
        extent: int,
        active: Tensor | None = None,
    ) -> Tensor:
        """See `Steps.decode`."""
        self._activate(start, stop, active)
        self._audio[start:stop] = audio
        self._tokens[start:stop] = tokens
        enough = next((each for each in self._extents if each >= extent), self._extents[-1])
        self._decodings.replay((self._bucket(stop), enough))
        return self._rated[start:stop].clone()

    def _activate(self, start: int, stop: int, active: Tensor | None) -> None:
        self._active.zero_()
        self._active[start:stop] = True if active is None else active

    def _bucket(self, stop: int) -> int:
        """How many rows the graph covers that serves those up to `stop`."""
        return min(next((b for b in BUCKETS if b >= stop), self.rows), self.rows)

    def _encode(self, count: int) -> None:
        mel = self.mel.frames(self._pcm[:count])
        self._audio[:count] = self.model.encode(
            mel, self.view(0, count).encoder, active=self._active[:count], extent=WHOLE_RING
        )

    def _decode(self, count: int, extent: int) -> None:
        audio, tokens, active = self._audio[:count], self._tokens[:count], self._active[:count]
        self._rated[:count] = self._rate(self.view(0, count), audio, tokens, extent, active)
