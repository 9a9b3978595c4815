"""What a streaming codec remembers of each stream, as one tensor."""

from __future__ import annotations

import torch
from torch import Tensor


class Past:
    """Memory of a batch of streams for one call: layers take their piece in order and leave the next.

    One row per stream and one flat vector per row, so that streams join, leave, fork and move by
    copying rows. A row of zeros with age 0 is a stream that has not begun.

    Args:
        values: [B, n] what the previous call left (`Codec.decoder_values` or `encoder_values` wide).
        age_frames: [B] int64, frames each stream has been through.
        frames: Frames in this call, the same for all rows.
    """

    def __init__(self, values: Tensor, age_frames: Tensor, frames: int):
        self._values = values
        self._taken = 0
        self._left: list[Tensor] = []
        self.age_frames = age_frames
        self.frames = frames
        self.fresh = (age_frames == 0)[:, None, None]

    def take(self, steps: int, dim: int) -> Tensor:
        """The next piece of memory as [B, steps, dim]."""
        start, self._taken = self._taken, self._taken + steps * dim
        return self._values[:, start : self._taken].unflatten(1, (steps, dim))

    def leave(self, piece: Tensor) -> None:
        """Leave [B, steps, dim] for the next call, in the order of `take`."""
        self._left.append(piece.flatten(1))

    def next(self) -> Tensor:
        """[B, n] memory after this call."""
        return torch.cat(self._left, dim=1).to(self._values.dtype)
