"""Where words lie in speech whose maker does not say: an estimate by length, mended at clause ends."""

from __future__ import annotations

from tts.interface import SAMPLE_RATE_HZ, SpokenWord

# Voxtral TTS speaks 12 to 13.5 characters a second (arXiv 2603.25551, table 8: about one 80 ms
# frame a character); other voices are close enough for the end of each clause to mend the rest.
_SAMPLES_PER_CHARACTER = SAMPLE_RATE_HZ // 13
# A comma or full stop is heard as a pause.
_PAUSE_CHARACTERS = dict.fromkeys(",،", 3) | dict.fromkeys(";؛:", 4) | dict.fromkeys(".!?؟।", 5)


class EstimatedWords:
    """The words of one clause, released as its audio appears.

    Each word takes time in proportion to its characters, pauses included. Words not yet released
    when the clause's audio ends are spread over what is left, so errors never carry over to the
    next clause.
    """

    def __init__(self, text: str, start_samples: int):
        self._pending = [(word, weight(word) * _SAMPLES_PER_CHARACTER) for word in text.split()]
        self._position = start_samples

    def until(self, samples: int) -> tuple[SpokenWord, ...]:
        """Words whose estimated end is at or before `samples` (counted in the utterance)."""
        done = []
        while self._pending and self._position + self._pending[0][1] <= samples:
            done.append(self._take(self._pending[0][1]))
        return tuple(done)

    def finish(self, samples: int) -> tuple[SpokenWord, ...]:
        """All words left; the clause's audio ended at `samples`."""
        total = sum(length for _, length in self._pending) or 1
        scale = max(0, samples - self._position) / total
        return tuple(self._take(int(length * scale)) for _, length in list(self._pending))

    def _take(self, length: int) -> SpokenWord:
        word, _ = self._pending.pop(0)
        start, self._position = self._position, self._position + length
        return SpokenWord(word, start, self._position)


def weight(word: str) -> int:
    """How long a word takes to say, in characters, the pause after it included."""
    return len(word) + 1 + _PAUSE_CHARACTERS.get(word[-1], 0)
