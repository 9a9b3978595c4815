"""All callers of one model, decided upon together. Runs on the engine's thread only.

Rows of the state: the first few are for forks, live streams follow without gaps, so whoever has
something to decide lies in one contiguous range and no tensor is ever gathered.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from asr.config import OFFLINE_EXTRA_TOKENS, TOKEN_SAMPLES
from asr.interface import Hypothesis
from asr.state import BLOCK_TOKENS
from asr.steps import CONTEXT_SAMPLES, Steps
from asr.stream import Listener

MAX_HOLD_S = 0.02
"""How long a decision may wait for the others to be ready too."""
NOTICED_PAUSE = 0.1
"""How far the belief in a pause must move to be worth telling."""
RECENT = 512


@dataclass(slots=True, eq=False)
class Seat:
    """A live stream among the others.

    Attributes:
        listener: Where it stands.
        tell: Called with each new hypothesis, on the engine's thread.
        ready_since_s: Since when it has audio for a decision, by the monotonic clock.
        told_pause: The belief in a pause last told.
    """

    listener: Listener
    tell: Callable[[Hypothesis], None]
    ready_since_s: float | None = None
    told_pause: float = 0.0


@dataclass(slots=True, eq=False)
class Fork:
    """A copy of a stream that hears silence from here on, as fast as the machine allows.

    Attributes:
        seat: The stream to copy.
        answer: Called with the final words and all tokens, on the engine's thread.
        listener: The copy, once it has a row.
        audio: Embeddings that are still to be decided upon, each [1, dim].
        needed: Decisions until all that was said must be out; a word that ended just now may have
            more pieces than that, so a fork goes on until it says nothing or its silence ends.
    """

    seat: Seat
    answer: Callable[[Hypothesis, list[int]], None]
    listener: Listener | None = None
    audio: deque[Tensor] = field(default_factory=deque)
    needed: int = 0


class ListeningBatch:
    """Seats streams, forks them and steps whoever is ready.

    Attributes:
        step_ms: Durations of recent steps.
        sizes: How many streams and forks each of them served.
        lag_tokens: Decisions the furthest-behind stream had waiting, at recent steps.
    """

    def __init__(self, steps: Steps, fork_rows: int):
        self.steps = steps
        self.seats: list[Seat] = []
        self.step_ms: deque[float] = deque(maxlen=RECENT)
        self.sizes: deque[int] = deque(maxlen=RECENT)
        self.lag_tokens: deque[int] = deque(maxlen=RECENT)
        self._forks: list[Fork | None] = [None] * fork_rows
        self._waiting: deque[Fork] = deque()
        self._live_step_s = 0.0  # the last one with live streams

    def join(self, listener: Listener, tell: Callable[[Hypothesis], None]) -> Seat:
        """Give a new stream a row."""
        seat = Seat(listener, tell)
        self.steps.seat(len(self._forks) + len(self.seats), listener.delay)
        self.seats.append(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """Free a stream's row; the last row moves into the gap."""
        if seat not in self.seats:
            return
        index, last = self.seats.index(seat), len(self.seats) - 1
        if index != last:
            state, first = self.steps.state, len(self._forks)
            state.copy_row(first + index, state, first + last)
            self.seats[index] = self.seats[last]
        self.seats.pop()
        self._waiting = deque(fork for fork in self._waiting if fork.seat is not seat)

    def flush(self, seat: Seat, answer: Callable[[Hypothesis, list[int]], None]) -> None:
        """Fork a stream to its end; the live one is not touched."""
        if seat in self.seats:
            self._waiting.append(Fork(seat, answer))

    def step(self) -> float | None:
        """Decide for everyone who is ready; forks, whom somebody waits for, also while streams are held.

        Returns:
            Seconds to wait before the next step is worth it, None until something new is fed.
        """
        began_s = time.monotonic()
        self._start_forks()
        queued = [seat.listener.ready_tokens() for seat in self.seats]
        forking = any(self._forks)
        if not any(queued) and not forking:
            return None
        wait_s = self._hold_s(queued, began_s)
        if wait_s > 0 and not forking:
            return wait_s
        self._decide([count > 0 and wait_s <= 0 for count in queued])
        took_s = time.monotonic() - began_s
        if wait_s <= 0:
            self._live_step_s = took_s
        self.step_ms.append(took_s * 1000)
        self.lag_tokens.append(max(queued, default=0))
        return 0

    def _hold_s(self, queued: list[int], now_s: float) -> float:
        """How long to wait for the others, so that they share one step.

        At most as long as a step takes, so the engine is at work half its time at worst; nobody
        waits when all are ready or someone is late.
        """
        since = now_s
        for seat, count in zip(self.seats, queued, strict=True):
            if not count:
                seat.ready_since_s = None
                continue
            seat.ready_since_s = seat.ready_since_s or now_s
            since = min(since, seat.ready_since_s)
        if all(queued) or max(queued) > 1:
            return 0.0
        return since + min(self._live_step_s, MAX_HOLD_S) - now_s

    def _start_forks(self) -> None:
        for fork in list(self._waiting):
            # From the row next to the live ones downwards, so that the range stays short.
            row = max((row for row, taken in enumerate(self._forks) if not taken), default=None)
            if row is None:
                return
            if fork.seat.listener.ready_tokens() > BLOCK_TOKENS:
                continue  # far behind, as with a file: first the stream itself, or it is done twice
            self._waiting.remove(fork)
            self._start_fork(row, fork)

    def _start_fork(self, row: int, fork: Fork) -> None:
        state = self.steps.state
        state.copy_row(row, state, len(self._forks) + self.seats.index(fork.seat))
        fork.listener = fork.seat.listener.fork()
        fork.needed = fork.listener.finish() - OFFLINE_EXTRA_TOKENS
        self._encode_ahead(row, fork)
        self._forks[row] = fork

    def _encode_ahead(self, row: int, fork: Fork) -> None:
        """The audio of a fork is all known, so it is encoded in blocks; first what is needed."""
        assert fork.listener is not None
        wanted = fork.needed if fork.needed > 0 else BLOCK_TOKENS
        ready = min(fork.listener.ready_tokens(), BLOCK_TOKENS, wanted)
        pcm = torch.from_numpy(fork.listener.take(ready))[None]
        fork.audio.extend(self.steps.encode(row, row + 1, pcm.to(self.steps.device))[0].split(1))

    def _decide(self, ready: list[bool]) -> None:
        n_forks = len(self._forks)
        listeners = [fork.listener if fork else None for fork in self._forks]
        listeners += [
            seat.listener if go else None for seat, go in zip(self.seats, ready, strict=True)
        ]
        rows = [row for row, listener in enumerate(listeners) if listener is not None]
        start, stop = rows[0], rows[-1] + 1
        part = listeners[start:stop]
        device = self.steps.device
        going = [listener is not None for listener in part]
        active = None if all(going) else torch.tensor(going, device=device)
        audio = self._audio(start, stop, ready)
        nobody = [self.steps.ids.pad] * self.steps.width
        tokens = [each.input_tokens if each else nobody for each in part]
        extent = 1 + max(each.position for each in part if each)
        rated = self.steps.decode(
            start, stop, audio, torch.tensor(tokens, device=device), extent, active
        )
        self.sizes.append(len(rows))
        for row, candidates in zip(range(start, stop), rated.cpu().numpy(), strict=True):
            listener = listeners[row]
            if listener is None:
                continue
            changed = listener.decide(candidates)
            self.steps.move(row, listener.moves)
            if row < n_forks:
                self._decided_fork(row)
            else:
                self._decided(self.seats[row - n_forks], changed=changed)

    def _audio(self, start: int, stop: int, ready: list[bool]) -> Tensor:
        """Audio embeddings of a range of rows, [stop - start, 1, dim]."""
        n_forks, device = len(self._forks), self.steps.device
        pieces: list[Tensor] = []
        ahead = [fork.audio.popleft() if fork else None for fork in self._forks[start:stop]]
        if ahead:
            nothing = torch.zeros_like(next(piece for piece in ahead if piece is not None))
            pieces.append(torch.stack([nothing if piece is None else piece for piece in ahead]))
        first, last = max(start - n_forks, 0), max(stop - n_forks, 0)
        live, go = self.seats[first:last], ready[first:last]
        if live:
            pcm = np.zeros((len(live), TOKEN_SAMPLES + CONTEXT_SAMPLES), np.float32)
            for line, seat, on in zip(pcm, live, go, strict=True):
                if on:
                    line[:] = seat.listener.take(1)
                    seat.ready_since_s = None
            active = None if all(go) else torch.tensor(go, device=device)
            samples = torch.from_numpy(pcm).to(device)
            pieces.append(self.steps.encode(first + n_forks, stop, samples, active))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _decided(self, seat: Seat, *, changed: bool) -> None:
        pause = seat.listener.transcript.pause
        if changed or abs(pause - seat.told_pause) >= NOTICED_PAUSE:
            seat.told_pause = pause
            seat.tell(seat.listener.hypothesis())

    def _decided_fork(self, row: int) -> None:
        fork = self._forks[row]
        assert fork is not None
        assert fork.listener is not None
        fork.needed -= 1
        more = bool(fork.audio) or fork.listener.ready_tokens() > 0
        if more and (fork.needed > 0 or not fork.listener.transcript.blank_run):
            if not fork.audio:
                self._encode_ahead(row, fork)
            return
        self._forks[row] = None
        fork.answer(fork.listener.hypothesis(final=True), fork.listener.tokens)
