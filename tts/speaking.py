"""A batch of speakers sharing one model: all that is computed for a frame, and all state it needs.

Rows of the batch are speakers. Between frames rows start, end and sit out freely; nothing a row does
changes what another one says. Lives on the engine's thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backbone.cache import KvCache
from tts.alignment import AlignmentProbe
from tts.graphs import GraphedFrame
from tts.model import TtsModel
from tts.prompt import TEXT_MARGIN, prefix_ids, rope_positions, suffix_ids

EXTENT_STEP = 128
"""Attention looks at the cache in multiples of this many tokens, so shapes repeat."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one row made in one step.

    Attributes:
        codes: int64 [codebooks] raw codes.
        pcm: fp32 [1920] samples, or None when the clause ended instead.
        scores: [tokens] log-attention to the row's tokens, when the model has alignment heads.
    """

    codes: Tensor
    pcm: Tensor | None
    scores: Tensor | None


@dataclass(frozen=True, slots=True)
class Said:
    """What stands before a clause in the same breath: the row speaks on from there.

    Attributes:
        ids: Its text units.
        codes: int64 [frames, codebooks] raw codes.
    """

    ids: tuple[int, ...]
    codes: Tensor


NOTHING_SAID = Said((), torch.zeros(0, 0, dtype=torch.int64))


class SpeakingBatch:
    """Rows of speakers.

    Args:
        model: With folded codec, in eval mode.
        rows: The most speakers at once.
        max_tokens: Voice, text and frames of one clause together.
    """

    def __init__(self, model: TtsModel, rows: int, *, max_tokens: int):
        self.model, self.rows, self.max_tokens = model, rows, max_tokens
        weight = model.norm.weight
        device, dtype = weight.device, weight.dtype
        audio, codec = model.sizes.audio, model.audio_tokenizer

        def zeros(*shape: int, of: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(rows, *shape, dtype=of, device=device)

        self.cache = KvCache.allocate(
            model.config, rows, max_tokens=max_tokens, device=device, dtype=dtype
        )
        self.hidden = zeros(model.config.dim, of=dtype)  # predicts the row's next frame
        self.codes = zeros(audio.n_codebooks)  # the row's last frame
        self.positions = zeros()  # RoPE position of that frame
        self.pending = zeros(of=torch.bool)  # the backbone has not taken it in yet
        self.memory = zeros(codec.decoder_values, of=codec.dtype)
        self.age = zeros()
        self.control = zeros(audio.n_acoustic_codebook + 2, of=torch.float32)
        self._staging = torch.zeros(rows, audio.n_acoustic_codebook + 2)
        heads = audio.alignment_heads
        self._probe = AlignmentProbe(model, heads) if heads else None
        self._scores: dict[int, Tensor] = {}  # per row, from its prefill
        self._prefixes: dict[str, tuple[Tensor, KvCache]] = {}
        self._held_voice: list[str | None] = [None] * rows
        self._tokens = [0] * rows
        self._waiting = [False] * rows  # host copy of `pending`
        self._first = [False] * rows
        state = [self.hidden, self.codes, self.positions, self.pending, self.memory, self.age]
        self._graphs = (
            GraphedFrame(self._frame, [*state, self.cache.lengths])
            if device.type == "cuda"
            else None
        )

    def add_voice(self, name: str, rows: Tensor) -> None:
        """Compute the keys and values every utterance of a voice shares; [N, dim] rows."""
        if name in self._prefixes:
            return
        ids = torch.tensor(prefix_ids(self.model.sizes, len(rows)), device=self.hidden.device)
        x = self.model.embed_text(ids)
        x[2 : 2 + len(rows)] = rows.to(x)
        cache = KvCache.allocate(
            self.model.config, 1, max_tokens=len(ids), device=x.device, dtype=x.dtype
        )
        self.model(x[None], torch.arange(len(ids), device=x.device)[None], cache, extent=len(ids))
        self._prefixes[name] = (rows, cache)

    def forget_voice(self, name: str) -> None:
        """Let go of a voice that was removed or replaced."""
        self._prefixes.pop(name, None)
        self._held_voice = [None if held == name else held for held in self._held_voice]

    def reset(self, row: int) -> None:
        """A new speaker takes the row: its codec starts from silence."""
        self.memory[row] = 0
        self.age[row] = 0

    def begin(self, row: int, voice: str, ids: tuple[int, ...], said: Said) -> int:
        """Take in a clause; the next step gives its first frame.

        Args:
            row: The speaker.
            voice: One given to `add_voice`.
            ids: Text units of the clause.
            said: What stands before it, or `NOTHING_SAID`.

        Returns:
            Index of the clause's first unit among the row's tokens.
        """
        rows, prefix = self._prefixes[voice]
        n_prefix = len(rows) + TEXT_MARGIN
        if self._held_voice[row] == voice:
            self.cache.lengths[row] = n_prefix  # what follows the prefix is overwritten
        else:
            self.cache.copy_row(row, prefix, 0, tokens=n_prefix)
            self._held_voice[row] = voice
        text = (*said.ids, *ids)
        device = self.hidden.device
        x = self.model.embed_text(torch.tensor(suffix_ids(self.model.sizes, text), device=device))
        if len(said.codes):
            x = torch.cat([x, self.model.embed_frames(said.codes.to(device))])
        at = rope_positions(self.model.sizes, len(rows), len(text), len(said.codes) + 1).to(device)
        tokens = n_prefix + len(x)
        hidden = self.model(
            x[None], at[None, n_prefix:-1], self.cache.rows(row, row + 1), extent=tokens
        )
        self.hidden[row] = hidden[0, -1]
        self.positions[row] = at[-1]
        self.pending[row] = False
        self._tokens[row], self._waiting[row], self._first[row] = tokens, False, True
        if self._probe is not None:
            self._scores[row] = self._probe.scores(self.cache.rows(row, row + 1), tokens)[0].cpu()
        return n_prefix + len(said.ids)

    def room(self, row: int) -> int:
        """Frames the row can still make before its cache is full."""
        return self.max_tokens - self._tokens[row]

    def step(self, rows: list[int], generators: list[torch.Generator]) -> list[Spoken]:
        """Make the next frame of each of `rows`, drawing its noise from its own generator."""
        n = self._bucket(max(rows) + 1)
        scale = self.model.sizes.acoustic.noise_scale
        control = self._staging[:n].zero_()
        for row, generator in zip(rows, generators, strict=True):
            torch.randn(control.shape[1] - 2, generator=generator, out=control[row, :-2])
            control[row, -2], control[row, -1] = 1.0, float(not self._first[row])
        control[:, :-2] *= scale
        self.control[:n] = control
        advance = any(self._waiting[row] for row in rows)
        extent = -(-(max(self._tokens[row] for row in rows) + 1) // EXTENT_STEP) * EXTENT_STEP
        extent = min(extent, self.max_tokens)
        run = self._graphs or self._frame
        codes, wave, scores = (None if t is None else t.cpu() for t in run(n, extent, advance))
        assert codes is not None
        assert wave is not None
        made = []
        for row in rows:
            ended = bool(codes[row, 0] < 0)
            heard = self._scores.pop(row, None) if self._first[row] else scores
            if heard is scores and scores is not None:
                heard = scores[row]
            made.append(Spoken(codes[row].clone(), None if ended else wave[row].clone(), heard))
            self._tokens[row] += self._waiting[row]
            self._waiting[row], self._first[row] = not ended, False
        return made

    def _bucket(self, n: int) -> int:
        """Rows to compute: exactly those needed, or the power of two that has a captured graph."""
        return n if self._graphs is None else min(1 << (n - 1).bit_length(), self.rows)

    def _frame(self, n: int, extent: int, advance: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """One frame of rows 0..n: tensors in, tensors out, no word with the host in between."""
        model, control = self.model, self.control[:n]
        active, may_end = control[:, -2] > 0, control[:, -1] > 0
        scores = None
        if advance:
            taking = self.pending[:n] & active
            hidden = model(
                model.embed_frames(self.codes[:n, None]),
                self.positions[:n, None],
                self.cache.rows(0, n),
                active=taking,
                extent=extent,
            )[:, 0]
            if self._probe is not None:
                scores = self._probe.scores(self.cache.rows(0, n), extent)
            self.hidden[:n] = torch.where(taking[:, None], hidden, self.hidden[:n])
            self.positions[:n] += taking
        codes = model.acoustic_transformer.next_frame(self.hidden[:n], control[:, :-2], may_end)
        spoke = active & (codes[:, 0] >= 0)
        sound = codes.clamp(min=0)
        wave, memory = model.audio_tokenizer.decode_next(
            sound[:, None], self.memory[:n], self.age[:n]
        )
        self.memory[:n] = torch.where(spoke[:, None], memory, self.memory[:n])
        self.codes[:n] = torch.where(active[:, None], sound, self.codes[:n])
        self.pending[:n] = torch.where(active, spoke, self.pending[:n])
        self.age[:n] += spoke
        return codes, wave.float(), scores
