"""Words with times from a server that sends only text."""

from __future__ import annotations

from asr.interface import SAMPLE_RATE_HZ, Hypothesis, Word

# A spoken word of n letters lasts about this long; only used to place a word's start.
_SAMPLES_PER_LETTER = SAMPLE_RATE_HZ * 70 // 1000


class ArrivingWords:
    """Collects text as it arrives and places each word where the caller must have said it.

    A word's end is when its last letter arrived minus the server's delay, so times are good to the
    jitter of the network. Text already received never changes; the last word may still grow.
    """

    def __init__(self, delay_samples: int):
        self._delay_samples = delay_samples
        self._words: list[Word] = []
        self._partial = ""
        self._partial_end_samples = 0

    def add(self, text: str, sent_samples: int) -> bool:
        """Take in a piece of text that arrived when `sent_samples` of audio had been sent.

        Returns:
            True when the hypothesis changed.
        """
        if not text:
            return False
        end = max(0, sent_samples - self._delay_samples)
        for piece in _split_keeping_spaces(text):
            if piece.isspace():
                self._close_word()
            else:
                self._partial += piece
                self._partial_end_samples = end
        return True

    def hypothesis(self, heard_samples: int, *, final: bool = False) -> Hypothesis:
        """The words since the last commit; the growing one is last and not stable unless final."""
        if final:
            self._close_word()
        words = tuple(self._words)
        if self._partial:
            words += (self._word(),)
        lag = 0 if final else self._delay_samples
        return Hypothesis(words, len(self._words), heard_samples, final, lag_samples=lag)

    def commit(self, upto_samples: int) -> None:
        """Forget words whose middle lies before `upto_samples`."""
        self._words = [w for w in self._words if w.middle_samples >= upto_samples]

    def _word(self) -> Word:
        earliest = self._words[-1].end_samples if self._words else 0
        length = len(self._partial) * _SAMPLES_PER_LETTER
        end = max(self._partial_end_samples, earliest)
        return Word(self._partial, max(earliest, end - length), end)

    def _close_word(self) -> None:
        if self._partial:
            self._words.append(self._word())
            self._partial = ""


def _split_keeping_spaces(text: str) -> list[str]:
    pieces: list[str] = []
    for character in text:
        if pieces and pieces[-1][-1].isspace() == character.isspace():
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces
