"""The two computations of a decision, for a range of streams: encode 80 ms, rate the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from asr.beam import Move
from asr.config import TOKEN_SAMPLES
from asr.frontend import LOOK_AHEAD_SAMPLES, LOOK_BACK_SAMPLES, LogMel
from asr.model import VoxtralRealtime
from asr.state import BLOCK_TOKENS, StreamState
from asr.words import StreamingIds

CONTEXT_SAMPLES = LOOK_BACK_SAMPLES + LOOK_AHEAD_SAMPLES
"""Samples a block of audio carries beyond its own length."""


class Steps:
    """A model, the state of its streams, and the constant beginning they all share.

    Args:
        model: On its device; its layers are fused for stepping.
        ids: Its streaming tokens.
        rows: Streams there is room for.
        left: Tokens of silence before the caller's first sample.
    """

    def __init__(self, model: VoxtralRealtime, ids: StreamingIds, rows: int, left: int = 32):
        model.fuse()
        self.model = model
        self.ids = ids
        self.rows = rows
        self.left = left
        self.device = model.tok_embeddings.weight.device
        self.mel = LogMel(model.config.num_mel_bins, model.config.global_log_mel_max, self.device)
        self.width = model.config.beam_width
        self.state = StreamState.allocate(model, rows, width=self.width)
        self.view = lru_cache(maxsize=256)(self.state.rows)
        self._beginnings: dict[int, StreamState] = {}  # by delay
        self._silence: tuple[StreamState, Tensor] | None = None

    def seat(self, row: int, delay: int) -> None:
        """Put a new stream on a row: the silence and the prompt before its first sample are done.

        All but the last of the `left` tokens of silence are constant for a delay, so they are
        computed once. The last one sees 40 samples of the caller, and is left for the first step.
        """
        if delay not in self._beginnings:
            self._beginnings[delay] = self._begin(delay)
        self.state.copy_row(row, self._beginnings[delay], 0)

    def encode(self, start: int, stop: int, pcm: Tensor, active: Tensor | None = None) -> Tensor:
        """Encode the same number of tokens of audio for each row of a range.

        Args:
            start: First row.
            stop: One past the last.
            pcm: float32 [stop - start, T * 1280 + 240] with T up to `BLOCK_TOKENS`.
            active: bool [stop - start]; rows that are False keep their state. None for all.

        Returns:
            Audio embeddings, [stop - start, T, dim].
        """
        state = self.view(start, stop).encoder
        return self.model.encode(self.mel.frames(pcm), state, active=active)

    def decode(
        self,
        start: int,
        stop: int,
        audio: Tensor,
        tokens: Tensor,
        extent: int,
        active: Tensor | None = None,
    ) -> Tensor:
        """Rate what each reading of the streams of a range may say next.

        Args:
            start: First stream.
            stop: One past the last.
            audio: Audio embeddings, [stop - start, 1, dim].
            tokens: The tokens before, int64 [stop - start, width].
            extent: An upper bound of the active streams' length after this decision.
            active: bool [stop - start]; streams that are False keep their state. None for all.

        Returns:
            Of each reading the `width` likeliest tokens, their probabilities, and that of saying
            nothing, float32 [stop - start, width, width, 3].
        """
        state = self.view(start, stop)
        return self._rate(state, audio, tokens, extent, active)

    def _rate(
        self, state: StreamState, audio: Tensor, tokens: Tensor, extent: int, active: Tensor | None
    ) -> Tensor:
        width = self.width
        logits = self.model.decode(
            audio.repeat_interleave(width, 0),
            tokens.reshape(-1, 1),
            state.scale,
            state.decoder,
            active=None if active is None else active.repeat_interleave(width),
            extent=extent,
        )
        probabilities = logits[:, 0].float().softmax(-1)
        likeliest, token = probabilities.topk(width)
        pad = probabilities[:, self.ids.pad, None].expand_as(likeliest)
        return torch.stack((token.float(), likeliest, pad), -1).unflatten(0, (-1, width))

    def move(self, row: int, moves: Sequence[Move]) -> None:
        """Let a stream's readings go on where others of its readings are."""
        if moves:
            to, source = torch.tensor(moves, device=self.device).T + row * self.width
            self.state.decoder.copy_rows(to, source)

    def _begin(self, delay: int) -> StreamState:
        """State of one row after all but the last token of the left padding."""
        if self._silence is None:
            self._silence = self._encode_silence()
        silence, audio = self._silence
        cache = StreamState.allocate(self.model, 1, max_tokens=self.left).decoder
        state = StreamState(silence.encoder, cache, self._scale(delay))
        for position in range(self.left - 1):
            token = self.ids.start if position == 0 else self.ids.pad
            self.model.decode(
                audio[:, position : position + 1],
                torch.tensor([[token]], device=self.device),
                state.scale,
                cache,
            )
        return state

    def _encode_silence(self) -> tuple[StreamState, Tensor]:
        state, pieces = StreamState.allocate(self.model, 1, max_tokens=self.left), []
        left = self.left - 1
        while left:
            count = min(left, BLOCK_TOKENS)
            zeros = torch.zeros(1, count * TOKEN_SAMPLES + CONTEXT_SAMPLES, device=self.device)
            pieces.append(self.model.encode(self.mel.frames(zeros), state.encoder))
            left -= count
        return state, torch.cat(pieces, 1)

    def _scale(self, delay: int) -> Tensor:
        return self.model.delay_scale(torch.tensor([delay], device=self.device))
