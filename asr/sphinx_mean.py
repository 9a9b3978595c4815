"""What a microphone, a room and a line add to a voice, learnt within the first words.

pocketsphinx subtracts a cepstral mean that it adapts only as utterances end, with five seconds'
weight on what it believed before. A caller's first sentence is then heard through the wrong line,
and it is the one that counts. `LineMean` reads the sums that the decoder keeps and believes them
much sooner.
"""

from __future__ import annotations

import numpy as np
import pocketsphinx

_TOLD_FRAMES = 500  # the weight that pocketsphinx itself gives a mean it is told


class LineMean:
    """The cepstral mean of one caller's line.

    Args:
        decoder: Its mean is set here, and nowhere else.
        start: What is expected of a line not heard yet, one number per cepstrum.
        doubt_frames: Frames of 10 ms that weigh as much as `start`.
        memory_frames: Frames of earlier utterances that weigh at most.
    """

    def __init__(
        self,
        decoder: pocketsphinx.Decoder,
        start: tuple[float, ...],
        doubt_frames: int,
        memory_frames: int,
    ) -> None:
        self._decoder, self._start = decoder, np.array(start)
        self._doubt, self._memory = doubt_frames, memory_frames
        self.reset()

    def reset(self) -> None:
        """A new caller."""
        self._earlier, self._earlier_frames = np.zeros_like(self._start), 0
        self.begin()

    def begin(self) -> None:
        """An utterance begins; an unfinished one is forgotten, for it will be heard again."""
        self._shown, self._frames = np.zeros_like(self._start), 0
        self._tell(self._value())
        self._at_begin = self._told

    def learn(self, frames: int) -> None:
        """The decoder has taken in the first `frames` of the utterance: believe them."""
        new = frames - self._frames
        mean = np.array([float(text) for text in self._decoder.get_cmn(True).split(",")])
        self._shown += (_TOLD_FRAMES + new) * mean - _TOLD_FRAMES * self._told
        self._frames = frames
        self._tell(self._value())

    def end(self) -> None:
        """The utterance is over: remember what it showed."""
        self._earlier += self._shown
        self._earlier_frames += self._frames
        excess = self._earlier_frames / self._memory
        if excess > 1:
            self._earlier /= excess
            self._earlier_frames = self._memory
        self.begin()

    @property
    def moved(self) -> float:
        """How far the mean has moved since the utterance began (Euclidean, in cepstra)."""
        return float(np.linalg.norm(self._told - self._at_begin))

    def _value(self) -> np.ndarray:
        weight = self._doubt + self._earlier_frames + self._frames
        return (self._doubt * self._start + self._earlier + self._shown) / weight

    def _tell(self, mean: np.ndarray) -> None:
        text = ",".join(f"{value:.2f}" for value in mean)
        self._told = np.array([float(value) for value in text.split(",")])
        self._decoder.set_cmn(text)
