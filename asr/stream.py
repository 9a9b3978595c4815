"""One caller: where they are in their audio, and what came of it so far.

The streaming algorithm of Voxtral Realtime (arXiv 2602.11298) without the tensors: which samples
the next decision needs, which token goes in, which moment the chosen token speaks of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from asr.beam import Beam, Move
from asr.config import OFFLINE_EXTRA_TOKENS, TOKEN_SAMPLES
from asr.frontend import LOOK_BACK_SAMPLES
from asr.interface import Hypothesis
from asr.language_model import LanguageModel
from asr.noise_filter import NoiseFilter
from asr.steps import CONTEXT_SAMPLES, Steps
from asr.words import Decision, StreamingIds, Transcript, aligned_samples
from backbone.tekken import Tekken
from common.errors import AudioError

MAX_TOKENS = 45_000


class Listener:
    """Host-side state of one stream; the tensors are a row of `StreamState`.

    Attributes:
        delay: In tokens.
        position: Decoder position of the next decision.
        transcript: The words so far, in the likeliest reading.
        moves: Decoder rows of this stream to copy before the next decision.
        heard_samples: How much of the caller's own audio has been decided upon.
    """

    def __init__(
        self,
        tekken: Tekken,
        ids: StreamingIds,
        delay: int,
        *,
        left: int = 32,
        width: int = 1,
        filtered: bool = False,
        language: LanguageModel | None = None,
    ):
        self.delay = delay
        self.position = left - 1
        self.transcript = self._settled = Transcript(tekken, ids)
        self.moves: list[Move] = []
        self._settled_tokens: deque[int] = deque(maxlen=MAX_TOKENS)
        self._beam = Beam(tekken, ids, width, language)
        self._start = [ids.start] * width if left == 1 else None
        self._left = left
        self._inbox: deque[np.ndarray] = deque()
        self._filter = NoiseFilter() if filtered else None
        # The last token of silence before the caller, with the samples its first frame looks back.
        self._pcm = np.zeros(LOOK_BACK_SAMPLES + TOKEN_SAMPLES, np.float32)
        self._fed_samples = 0
        self._own_samples: int | None = None

    @classmethod
    def on(cls, steps: Steps, tekken: Tekken, delay: int) -> Listener:
        """One that a model's steps can serve."""
        config = steps.model.config
        return cls(
            tekken,
            steps.ids,
            delay,
            left=steps.left,
            width=config.beam_width,
            filtered=config.noise_filter,
            language=steps.model.language,
        )

    def feed(self, pcm: np.ndarray) -> None:
        """Take in audio of any length. May be called from another thread than all else here.

        Raises:
            AudioError: Not float32 mono.
        """
        if not isinstance(pcm, np.ndarray) or pcm.dtype != np.float32 or pcm.ndim != 1:
            what = f"{pcm.dtype} {pcm.shape}" if isinstance(pcm, np.ndarray) else type(pcm).__name__
            raise AudioError(
                f"The recogniser takes float32 mono audio at 16 kHz, not {what}.",
                "Convert it first: divide int16 by 32768, average the channels, resample.",
            )
        if len(pcm):
            self._inbox.append(pcm.copy())

    def ready_tokens(self) -> int:
        """Take in what was fed; how many decisions the audio now allows."""
        if self._inbox:
            fresh = [self._inbox.popleft() for _ in range(len(self._inbox))]
            self._fed_samples += sum(map(len, fresh))
            pcm = _clean(np.concatenate(fresh))
            self._hear(pcm if self._filter is None else self._filter.push(pcm))
        return max((len(self._pcm) - CONTEXT_SAMPLES) // TOKEN_SAMPLES, 0)

    @property
    def heard_samples(self) -> int:
        """The caller's audio up to which decisions have been made."""
        heard = (self.position - self._left) * TOKEN_SAMPLES
        return min(max(heard, 0), self._caller_samples)

    @property
    def _caller_samples(self) -> int:
        return self._fed_samples if self._own_samples is None else self._own_samples

    def take(self, tokens: int) -> np.ndarray:
        """Samples of the next tokens with their context, float32 [tokens * 1280 + 240]."""
        samples = self._pcm[: tokens * TOKEN_SAMPLES + CONTEXT_SAMPLES]
        self._pcm = self._pcm[tokens * TOKEN_SAMPLES :]
        return samples

    def finish(self) -> int:
        """Append the silence after which the last words are out; nothing more may be fed.

        Returns:
            How many decisions are now ready; all but `OFFLINE_EXTRA_TOKENS` are surely needed.
        """
        self.ready_tokens()
        self._own_samples = self._fed_samples
        if self._filter is not None:
            self._hear(self._filter.finish())
        align = -(len(self._pcm) - LOOK_BACK_SAMPLES) % TOKEN_SAMPLES
        silence = align + (self.delay + 1 + OFFLINE_EXTRA_TOKENS) * TOKEN_SAMPLES + CONTEXT_SAMPLES
        self._hear(np.zeros(silence, np.float32))
        return self.ready_tokens()

    def _hear(self, pcm: np.ndarray) -> None:
        self._pcm = np.concatenate((self._pcm, pcm))

    @property
    def input_tokens(self) -> list[int]:
        """Each reading's token before the next decision: the prompt's while it lasts, then its own."""
        return self._start or self._beam.tokens

    @property
    def tokens(self) -> list[int]:
        """Those since the prompt in the likeliest reading, the last hour of them."""
        return [*self._settled_tokens, *(decision.token for decision in self._beam.open)]

    def decide(self, candidates: np.ndarray) -> bool:
        """Take in what the model may say at the current position; returns whether a word changed.

        The end-of-text token is fed back like any other: it never ends a live stream.

        Args:
            candidates: From `Steps.decode`, [width, width, 3].
        """
        position, self.position = self.position, self.position + 1
        if position < self._left + self.delay:
            self._start = None
            return False
        before = self._beam.said
        settled, self.moves = self._beam.extend(candidates)
        open_ = self._beam.open
        at_samples = aligned_samples(self.position, self.delay, self._left)
        at_samples -= TOKEN_SAMPLES * (len(settled) + len(open_))
        self._settled_tokens.extend(decision.token for decision in settled)
        changed = _push(self._settled, settled, at_samples)
        self.transcript = self._settled.copy() if open_ else self._settled
        if open_:
            changed = _push(self.transcript, open_, at_samples + TOKEN_SAMPLES * len(settled))
        return changed or self._beam.said != before

    def forget(self, upto_samples: int) -> None:
        """Drop settled words whose middle lies before `upto_samples`."""
        self._settled.forget(upto_samples)

    def hypothesis(self, *, final: bool = False) -> Hypothesis:
        """What was understood so far."""
        likeliest = self.transcript.hypothesis(self.heard_samples, final=final)
        if final:
            return likeliest
        stable = min(likeliest.stable, self._settled.finished)
        return replace(likeliest, stable=stable, lag_samples=self.delay * TOKEN_SAMPLES)

    def fork(self) -> Listener:
        """A listener that goes on from here by itself, with all audio fed so far."""
        self.ready_tokens()
        twin = Listener.__new__(Listener)
        twin.__dict__.update(self.__dict__)
        twin._settled, twin._beam = self._settled.copy(), self._beam.copy()
        twin.transcript = self.transcript.copy() if self._beam.open else twin._settled
        twin._settled_tokens = self._settled_tokens.copy()
        twin._inbox = deque()
        twin._filter = self._filter.copy() if self._filter else None
        return twin


def _push(transcript: Transcript, decisions: Sequence[Decision], at_samples: int) -> bool:
    """Tell a transcript consecutive decisions; returns whether the last one changed a word."""
    changed = False
    for number, decision in enumerate(decisions):
        changed = transcript.push(decision, at_samples + number * TOKEN_SAMPLES)
    return changed


def _clean(pcm: np.ndarray) -> np.ndarray:
    """Audio the model can stand: no NaN, nothing beyond full scale."""
    return np.clip(np.nan_to_num(pcm, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
