"""Keys and values of many streams, each as old as it is.

Every row of the batch is a ring of its own: the cache counts how many tokens a row has ever seen,
which is what orders its keys. The RoPE position of a token is a separate matter and may restart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from backbone.config import DecoderConfig

EXTENT_STEP = 32
"""Attention looks at a ring that is not full in multiples of this, so that its views last a while."""


@dataclass(frozen=True, slots=True)
class _View:
    """A ring as it is written, [B * (ring + 1), 2 * kv_heads, head_dim], and as it is read."""

    extent: int
    slots: Tensor
    keys: Tensor
    values: Tensor

    @classmethod
    def of(cls, ring: Tensor, extent: int) -> _View:
        return cls(extent, ring.flatten(0, 1), *ring[:, :extent].transpose(1, 2).chunk(2, 1))


@dataclass(frozen=True, slots=True)
class RingPlan:
    """Where one step writes and what it sees, shared by all layers with the same window.

    Attributes:
        slots: Flat ring slots of the new tokens, int64 [B * S].
        mask: Added to the attention scores, [B, 1, S, extent]: 0 where visible, else -inf.
        extent: How many leading ring slots may hold anything.
    """

    slots: Tensor
    mask: Tensor
    extent: int


@dataclass(frozen=True, slots=True)
class KvCache:
    """Rings of keys and values, one row per stream.

    A ring holds the window plus slack, so that the several tokens of one step can all be written
    before the first of them looks back. Each ring has one more slot that is never read: rows that
    sit a step out write there.

    Attributes:
        rings: Per layer, keys and values, [B, ring + 1, 2 * kv_heads, head_dim].
        lengths: Tokens each row has seen so far, int64 [B].
        windows: Per layer, keys a query sees; None for all.
    """

    rings: tuple[Tensor, ...]
    lengths: Tensor
    windows: tuple[int | None, ...]
    _views: dict[int, _View] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def allocate(
        cls,
        config: DecoderConfig,
        rows: int,
        *,
        step_tokens: int = 1,
        max_tokens: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> KvCache:
        """Empty rings.

        Args:
            config: Gives layers, heads and windows.
            rows: Streams.
            step_tokens: The most tokens one forward may add.
            max_tokens: Room for layers that see everything; also caps longer windows, for
                streams known to end sooner.
            device: Where the rings live.
            dtype: Of the keys and values.
        """
        windows = tuple(config.window(layer) for layer in range(config.n_layers))
        if max_tokens is None and None in windows:
            raise ValueError("a decoder without a sliding window needs max_tokens")
        sizes = [
            min(size for size in (window and window + step_tokens - 1, max_tokens) if size)
            for window in windows
        ]
        shapes = [(rows, size + 1, 2 * config.n_kv_heads, config.head_dim) for size in sizes]
        rings = tuple(torch.zeros(shape, device=device, dtype=dtype) for shape in shapes)
        return cls(rings, torch.zeros(rows, dtype=torch.int64, device=device), windows)

    @property
    def keys(self) -> tuple[Tensor, ...]:
        """Per layer, [B, ring + 1, kv_heads, head_dim], in ring order."""
        return tuple(ring.chunk(2, 2)[0] for ring in self.rings)

    @property
    def row_bytes(self) -> int:
        """Memory that one more row costs."""
        return sum(ring[:1].nbytes for ring in self.rings)

    def rows(self, start: int, stop: int) -> KvCache:
        """Rows start..stop as views: what is written there is written here."""
        rings = tuple(ring[start:stop] for ring in self.rings)
        return KvCache(rings, self.lengths[start:stop], self.windows)

    def copy_row(self, to: int, source: KvCache, row: int, *, tokens: int | None = None) -> None:
        """Overwrite a row with a row of `source` (another cache of the same model, or this one).

        Args:
            to: Row of this cache.
            source: Where to copy from.
            row: Row of `source`.
            tokens: How many tokens the row has seen, when the caller knows; saves asking the device.
        """
        seen = int(source.lengths[row]) if tokens is None else tokens
        for mine, theirs in zip(self.rings, source.rings, strict=True):
            used = min(seen, mine.shape[1] - 1)
            mine[to, :used].copy_(theirs[row, :used])
        self.lengths[to] = source.lengths[row]

    def copy_rows(self, to: Tensor, source: Tensor) -> None:
        """Overwrite some rows with others that have seen as many tokens; int64 [n] each.

        No row may be both among `to` and among `source`.
        """
        for ring in self.rings:
            ring[to] = ring[source]

    def order(self, new: int) -> Tensor:
        """Each row's count of tokens before each of its next `new`, int64 [B, new]."""
        return self.lengths[:, None] + torch.arange(new, device=self.lengths.device)

    def plan(
        self, order: Tensor, active: Tensor | None = None, extent: int | None = None
    ) -> tuple[RingPlan, ...]:
        """Slots and masks for a step of some tokens per row, one plan per layer.

        Args:
            order: From `order`.
            active: bool [B]; rows that are False write nothing. None for all.
            extent: An upper bound of any row's length after the step, when known (saves asking the
                device, and fixes the shapes for a captured graph).
        """
        if extent is None:
            extent = int(self.lengths.max()) + order.shape[1]
        rings = [
            (ring.shape[1] - 1, window)
            for ring, window in zip(self.rings, self.windows, strict=True)
        ]
        plans = {each: self._plan_ring(*each, order, active, extent) for each in set(rings)}
        return tuple(plans[ring] for ring in rings)

    def _plan_ring(
        self,
        ring: int,
        window: int | None,
        order: Tensor,
        active: Tensor | None,
        extent: int,
    ) -> RingPlan:
        new, device = order.shape[1], order.device
        held = window if window is not None and ring >= window + new - 1 else None
        if held is None and extent > ring:
            raise ValueError(f"{extent} tokens do not fit a ring of {ring}")
        first = torch.arange(len(order), device=device)[:, None] * (ring + 1)
        slots = order % ring
        if active is not None:
            slots = torch.where(active[:, None], slots, ring)

        extent = min(-(-extent // EXTENT_STEP) * EXTENT_STEP, ring)
        # How much older than the query a slot's token is; of later tokens, written in the same
        # step, this makes very old ones.
        newest = order[:, None, :, None]
        age = (newest - torch.arange(extent, device=device)) % ring
        seen = age <= newest.clamp(max=(held or ring) - 1)
        mask = torch.where(seen, 0.0, float("-inf")).to(self.rings[0].dtype)
        return RingPlan((slots + first).flatten(), mask, extent)

    def update(self, layer: int, kv: Tensor, plan: RingPlan) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values, [B * S, 2 * kv_heads, head_dim]; return all.

        Returns:
            Keys and values, [B, kv_heads, extent, head_dim], in ring order (the mask knows).
        """
        view = self._views.get(layer)
        if view is None or view.extent != plan.extent:
            view = self._views[layer] = _View.of(self.rings[layer], plan.extent)
        view.slots.index_copy_(0, plan.slots, kv)
        return view.keys, view.values

    def advance(self, new: int, active: Tensor | None) -> None:
        """Count the tokens of a finished step."""
        self.lengths.add_(new if active is None else active * new)
