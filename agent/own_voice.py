"""Is what the caller's microphone hears the agent's own voice coming back?

    sent      ──▶ 4 kHz ──┬──────────────▶ which delay? ──▶ which echo path (24 taps)? ──▶ predicted
    received  ──▶ 4 kHz ──┘  cross-correlation    least squares, forgetting in 2 s            │
                      └───────────────────────────────────────▶ how much does it explain? ◀──┘

Speakerphones, bad headsets and telephone hybrids return the agent's voice 20 to 300 ms later. The echo
is a filtered copy of what was sent, so a short filter learnt from the call itself predicts it; a caller
cannot be predicted from the agent's audio. What the prediction leaves over is compared with what was
received: nothing left means echo, much left means that somebody speaks, on top of the echo or alone.
"""

from __future__ import annotations

import numpy as np

RATE_HZ = (
    4_000  # speech has most of its power below 2 kHz, and a quarter of the samples cost a quarter
)
FRAME = 80  # 20 ms
DELAY_MAX = 320 * RATE_HZ // 1000
EARLY = (
    20 * RATE_HZ // 1000
)  # jitter between the two directions can make an echo seem to come first
PLACES = DELAY_MAX + EARLY
BLOCK = 512  # 128 ms of received audio are searched for in what was sent
FFT = 2048
SLIP = 60 * RATE_HZ // 1000  # the two directions are aligned anew when they drift apart by more
SEARCH_DECAY = 0.03  # the delay is looked for in the last 0.7 s
TAPS = 24  # 6 ms: the direct sound and the first reflections
TAPS_BEFORE = 6
PATH_DECAY = 0.01  # the path is learnt from the last 2 s
JUDGED_FRAMES = 3
REVERB = 0.5  # per frame, 0.4 s to -60 dB: a furnished room rings on when the filter has ended
LOUDER = 2.0  # 3 dB more than the expected echo cannot be told from it
SEARCH_EVERY = 5  # frames, once the delay is known
PRE_EMPHASIS = 0.9  # without it the bass decides everything, and all voices share it
SILENCE = 1e-9  # mean square per sample: -90 dBFS
LOCK = 0.45  # correlation over half a second that no other voice was seen to reach
LOCK_FRAMES = 4
YOUNG = 4 * FRAME
_SENT_KEPT = 2 * FFT


class OwnVoiceGate:
    """Tells the agent's echo from the caller. One per call; cheap enough for the event loop.

    Feed both directions as they pass, silence included, and ask once per received frame.
    """

    def __init__(self) -> None:
        self._decimate_sent = _Decimator(24_000)
        self._decimate_received = _Decimator(16_000)
        self._sent = np.zeros(_SENT_KEPT)
        self._sent_count = 0
        self._received = np.zeros(BLOCK)
        self._received_count = 0
        self._offset: int | None = None
        self._cross = np.zeros(PLACES)
        self._power_sent = np.zeros(PLACES)
        self._power_received = 0.0
        self._searched = 0
        self._delay: int | None = None
        self._normal = np.zeros((TAPS, TAPS))
        self._target = np.zeros(TAPS)
        self._expected = 0.0

    def sent(self, pcm: np.ndarray) -> None:
        """Take in what goes out to the caller, silence included: float32 [samples] at 24 kHz."""
        fresh = self._decimate_sent(pcm)
        self._sent = np.concatenate([self._sent, fresh])[-_SENT_KEPT:]
        self._sent_count += len(fresh)

    def hear(self, pcm: np.ndarray) -> float:
        """Judge 20 ms of what came in.

        Args:
            pcm: float32 [320] at 16 kHz.

        Returns:
            Belief, 0..1, that it is the agent's own voice.
        """
        self._received = np.concatenate([self._received, self._decimate_received(pcm)])[-BLOCK:]
        self._received_count += FRAME
        self._align()
        block, near = self._received, self._sent_around()
        if near @ near < SILENCE * len(near) or block[-FRAME:] @ block[-FRAME:] < SILENCE * FRAME:
            return 0.0
        if self._delay is None:
            return self._search(block, near)
        explained = self._explained(block, near)
        if explained < 0.5 or self._received_count % (SEARCH_EVERY * FRAME) == 0:
            explained = max(explained, self._search(block, near))  # perhaps the delay has changed
        return explained

    def _align(self) -> None:
        """Hold the two directions at a fixed offset; packets come in bunches, clocks do not."""
        ahead = self._sent_count - self._received_count
        if self._offset is None or abs(ahead - self._offset) > SLIP:
            self._offset = ahead
            self._forget()

    def _forget(self) -> None:
        self._cross[:] = self._power_sent[:] = 0
        self._power_received = 0.0
        self._searched = 0
        self._delay = None

    def _sent_around(self) -> np.ndarray:
        """What was sent between the longest and the shortest delay before the received block."""
        end = (
            self._received_count
            + (self._offset or 0)
            + EARLY
            - (self._sent_count - len(self._sent))
        )
        start = end - EARLY - DELAY_MAX - BLOCK
        piece = self._sent[max(start, 0) : max(end, 0)]
        return np.pad(piece, (max(0, -start), max(0, end - max(start, 0) - len(piece))))

    def _search(self, block: np.ndarray, near: np.ndarray) -> float:
        """Follow the delay; returns how alike the block alone is to its best place in what was sent."""
        spectrum = np.fft.rfft(near, FFT) * np.conj(np.fft.rfft(block, FFT))
        cross = np.fft.irfft(spectrum, FFT)[:PLACES]
        squares = np.concatenate([[0.0], np.cumsum(near * near)])
        power_sent = squares[BLOCK : BLOCK + PLACES] - squares[:PLACES]
        power = float(block @ block)
        self._cross += cross - self._cross * SEARCH_DECAY
        self._power_sent += power_sent - self._power_sent * SEARCH_DECAY
        self._power_received += power - self._power_received * SEARCH_DECAY
        alike = np.abs(self._cross) / np.sqrt(self._power_sent * self._power_received + SILENCE)
        best = int(np.argmax(alike))
        if block[-YOUNG:] @ block[-YOUNG:] > 0.8 * power:
            return 0.0  # the first tone of any voice is found somewhere in any other
        self._searched += 1
        moved = self._delay is None or abs(best - self._delay) > TAPS_BEFORE
        if moved and alike[best] > LOCK and self._searched >= LOCK_FRAMES:
            self._delay = best
            self._normal[:] = self._target[:] = 0
        now = np.abs(cross) / np.sqrt(power_sent * power + SILENCE * BLOCK)
        return float(np.max(now)) ** 3

    def _explained(self, block: np.ndarray, near: np.ndarray) -> float:
        """Share of the last frames' power that the learnt echo path predicts."""
        rows = JUDGED_FRAMES * FRAME
        first = (self._delay or 0) + BLOCK - rows - (TAPS - TAPS_BEFORE)
        piece = near[max(first, 0) : first + rows + TAPS - 1]
        piece = np.pad(piece, (max(0, -first), rows + TAPS - 1 - len(piece) - max(0, -first)))
        design = np.lib.stride_tricks.sliding_window_view(piece, TAPS)
        heard = block[-rows:]
        fresh, fresh_heard = design[-FRAME:], heard[-FRAME:]
        self._normal += fresh.T @ fresh - self._normal * PATH_DECAY
        self._target += fresh.T @ fresh_heard - self._target * PATH_DECAY
        ridge = np.eye(TAPS) * (0.003 * np.trace(self._normal) / TAPS + SILENCE)
        path = np.linalg.solve(self._normal + ridge, self._target)
        predicted = design @ path
        left = heard - predicted
        latest = slice(-FRAME, None)
        self._expected = max(float(predicted[latest] @ predicted[latest]), REVERB * self._expected)
        if heard[latest] @ heard[latest] < LOUDER * self._expected:
            return 1.0
        return float(np.clip(1 - (left @ left) / (heard @ heard + SILENCE), 0, 1))


class _Decimator:
    """Low-pass to 1.8 kHz, keep every n-th sample, lift the highs; any length in, state kept."""

    def __init__(self, rate_hz: int):
        self._step = rate_hz // RATE_HZ
        n = 16 * self._step + 1
        t = np.arange(n) - n // 2
        taps = np.sinc(t * 2 * 1_800 / rate_hz) * np.hanning(n)
        self._taps = taps / taps.sum()
        self._tail = np.zeros(n - 1)
        self._phase = 0
        self._last = 0.0

    def __call__(self, pcm: np.ndarray) -> np.ndarray:
        joined = np.concatenate([self._tail, pcm])
        self._tail = joined[len(pcm) :]
        windows = np.lib.stride_tricks.sliding_window_view(joined, len(self._taps))
        low = windows[self._phase :: self._step] @ self._taps
        self._phase = (self._phase - len(pcm)) % self._step
        lifted = low - PRE_EMPHASIS * np.concatenate([[self._last], low[:-1]])
        if len(low):
            self._last = float(low[-1])
        return lifted
