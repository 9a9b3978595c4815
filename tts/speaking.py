"""A batch of speakers sharing one model: all that is computed for a frame, and all state it needs.

Rows of the batch are speakers. Between frames rows start, end and sit out freely; nothing a row does
changes what another one says. Lives on the engine's thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from backbone.cache import KvCache
from common.errors import CheckpointError
from tts.alignment import AlignmentProbe
from tts.graphs import GraphedFrame
from tts.model import TtsModel
from tts.prompt import TEXT_MARGIN, prefix_ids, rope_positions, suffix_ids

EXTENT_STEP = {"cpu": 1, "cuda": 512}
"""Attention looks at the cache in multiples of this many tokens: captured graphs have fixed shapes."""


@dataclass(frozen=True, slots=True)
class Made:
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


@dataclass(frozen=True, slots=True)
class Start:
    """A clause for a row to speak.

    Attributes:
        row: The speaker.
        voice: One given to `add_voice`.
        ids: Text units.
        said: What stands before it.
    """

    row: int
    voice: str
    ids: tuple[int, ...]
    said: Said = NOTHING_SAID


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
        self._scores: list[Tensor | None] = [None] * rows  # from the prompt, for the first frame
        self._prefixes: dict[str, tuple[int, KvCache]] = {}
        self._held_voice: list[str | None] = [None] * rows
        self._tokens = [0] * rows
        self._waiting = [False] * rows  # host copy of `pending`
        self._first = [False] * rows
        state = [self.hidden, self.codes, self.positions, self.pending, self.memory, self.age]
        self._state = [*state, self.cache.lengths]
        self._graphs = GraphedFrame(self._frame, self._state) if device.type == "cuda" else None
        self._extent_step = EXTENT_STEP[device.type]

    def add_voice(self, name: str, rows: Tensor) -> None:
        """Compute the keys and values every utterance of a voice shares.

        Args:
            name: A voice of that name is replaced.
            rows: [N, dim].

        Raises:
            CheckpointError: The voice is too long to leave room for speaking.
        """
        if len(rows) > self.max_tokens // 2:
            raise CheckpointError(
                f"The voice {name!r} has {len(rows)} frames, more than half of this model's "
                f"{self.max_tokens} tokens.",
                "Make it from a shorter recording.",
            )
        ids = torch.tensor(prefix_ids(self.model.sizes, len(rows)), device=self.hidden.device)
        x = self.model.embed_text(ids)
        x[2 : 2 + len(rows)] = rows.to(x)
        cache = KvCache.allocate(
            self.model.config, 1, max_tokens=len(ids), device=x.device, dtype=x.dtype
        )
        self.model(x[None], torch.arange(len(ids), device=x.device)[None], cache, extent=len(ids))
        self._prefixes[name] = (len(ids), cache)
        self._held_voice = [None if held == name else held for held in self._held_voice]

    def reset(self, row: int) -> None:
        """A new speaker takes the row: its codec starts from silence."""
        self.memory[row] = 0
        self.age[row] = 0

    def begin(self, starts: Sequence[Start]) -> list[int]:
        """Take in clauses; the next step gives their first frames.

        Neighbouring rows are taken in together, the shorter ones padded, where there is room for that:
        what a row reads beyond its own prompt is forgotten again before anything looks at it.

        Returns:
            For each, the index of the clause's first unit among its row's tokens.
        """
        first_units = [self._prefixes[s.voice][0] + len(s.said.ids) for s in starts]
        for run in self._runs(sorted(starts, key=lambda start: start.row)):
            self._begin_run(run)
        return first_units

    def _runs(self, starts: Sequence[Start]) -> Iterator[list[Start]]:
        """Starts whose rows follow one another, each with room for the longest of them."""
        run: list[Start] = []
        for start in starts:
            if run and (start.row != run[-1].row + 1 or not self._fit([*run, start])):
                yield run
                run = []
            run.append(start)
        if run:
            yield run

    def _fit(self, starts: Sequence[Start]) -> bool:
        prefixes = [self._prefixes[start.voice][0] for start in starts]
        ends = [self.max_tokens - self.room_after(start) for start in starts]
        own = [end - prefix for end, prefix in zip(ends, prefixes, strict=True)]
        return max(prefixes) + max(own) <= self.max_tokens

    def _begin_run(self, starts: list[Start]) -> None:
        device, sizes = self.hidden.device, self.model.sizes
        inputs, positions, tokens = [], [], []
        for start in starts:
            n_prefix, prefix = self._prefixes[start.voice]
            self._rewind(start, n_prefix, prefix)
            text, codes = (*start.said.ids, *start.ids), start.said.codes
            ids = torch.tensor(suffix_ids(sizes, text), device=device)
            x = self.model.embed_text(ids)
            if len(codes):
                x = torch.cat([x, self.model.embed_frames(codes.to(device))])
            at = rope_positions(sizes, n_prefix - TEXT_MARGIN, len(text), len(codes) + 1)
            inputs.append(x)
            positions.append(at[n_prefix:].to(device))
            tokens.append(n_prefix + len(x))
        rows = slice(starts[0].row, starts[-1].row + 1)
        cache = self.cache.rows(rows.start, rows.stop)
        x, at = (pad_sequence(parts, batch_first=True) for parts in (inputs, positions))
        seen = torch.tensor(tokens, device=device)
        last = torch.tensor([len(part) - 1 for part in inputs], device=device)
        extent = int(cache.lengths.max()) + x.shape[1]
        hidden = self.model(x, at[:, : x.shape[1]], cache, extent=extent)
        each = torch.arange(len(starts), device=device)
        self.hidden[rows] = hidden[each, last]
        self.positions[rows] = at[each, last + 1]
        self.pending[rows] = False
        cache.lengths.copy_(seen)
        scores = None if self._probe is None else self._probe.scores(cache, extent, last).cpu()
        for index, start in enumerate(starts):
            row = start.row
            self._tokens[row], self._waiting[row], self._first[row] = tokens[index], False, True
            self._scores[row] = None if scores is None else scores[index]

    def _rewind(self, start: Start, n_prefix: int, prefix: KvCache) -> None:
        """Leave nothing in the row but its voice."""
        if self._held_voice[start.row] == start.voice:
            self.cache.lengths[start.row] = n_prefix  # what follows will be overwritten
        else:
            self.cache.copy_row(start.row, prefix, 0, tokens=n_prefix)
            self._held_voice[start.row] = start.voice

    def room_after(self, start: Start) -> int:
        """Frames for which there will be room after taking in a clause."""
        text = len(start.said.ids) + len(start.ids) + 2
        return self.max_tokens - self._prefixes[start.voice][0] - text - len(start.said.codes)

    def step(self, rows: list[int], generators: list[torch.Generator]) -> list[Made]:
        """Make the next frame of each of `rows`, drawing its noise from its own generator."""
        n = self._bucket(max(rows) + 1)
        scale = self.model.sizes.acoustic.noise_scale
        control = self._staging[:n].zero_()
        for row, generator in zip(rows, generators, strict=True):
            torch.randn(control.shape[1] - 2, generator=generator, out=control[row, :-2])
            control[row, -2], control[row, -1] = 1.0, float(not self._first[row])
        control[:, :-2] *= scale
        self.control[:n] = control
        extent = self._extent(max(self._tokens[row] for row in rows) + 1)
        if self._graphs is not None:
            codes, wave, scores = self._graphs(n, extent)
        else:
            codes, wave, scores = self._frame(n, extent, any(self._waiting[row] for row in rows))
        codes, wave, scores = codes.cpu(), wave.cpu(), None if scores is None else scores.cpu()
        made = []
        for row in rows:
            ended = bool(codes[row, 0] < 0)
            seen = self._scores[row] if self._first[row] or scores is None else scores[row]
            made.append(Made(codes[row].clone(), None if ended else wave[row].clone(), seen))
            self._tokens[row] += self._waiting[row]
            self._waiting[row], self._first[row] = not ended, False
        return made

    def warm_up(self) -> None:
        """Capture every graph that will be needed; nothing to do on a CPU."""
        if self._graphs is not None:
            for rows in sorted({self._bucket(n + 1) for n in range(self.rows)}):
                for tokens in range(1, self.max_tokens + 1, self._extent_step):
                    self._graphs.capture(rows, self._extent(tokens))

    def _extent(self, tokens: int) -> int:
        step = self._extent_step
        return min(-(-tokens // step) * step, self.max_tokens)

    def _bucket(self, n: int) -> int:
        """Rows to compute: exactly those needed, or the power of two that has a captured graph."""
        return n if self._graphs is None else min(1 << (n - 1).bit_length(), self.rows)

    def _frame(
        self, n: int, extent: int, advance: bool = True
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """One frame of rows 0..n: tensors in, tensors out, no word with the host in between.

        Without `advance` no row has a frame to take in first, and the backbone is spared.
        """
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
