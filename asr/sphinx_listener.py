"""One caller's audio through pocketsphinx: utterances inside, one absolute time line outside.

pocketsphinx decodes *utterances*: it must be told when one starts and ends, counts time from the
start of each, and revises its words until the end. A caller is one long stream. `Listener` closes
the gap, synchronously and without threads:

    audio    ──────▁▂▅▇▅▂▁────────▂▇▅▇▂▁──▇▅▇▇──────
    gate           └─ 300 ms before      └ 300 ms after
    decoder        [ utterance 1 ]     [ utterance 2 ]
    words          settled when it ends; revisable while it runs

Silence costs nothing (the decoder does not run), utterances stay short, memory is bounded, and
word times are samples of the caller's audio. Speech without pauses is cut at a word every
`max_utterance_s`: words well before the cut are settled, the audio of the others is heard again.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pocketsphinx

from asr.interface import SAMPLE_RATE_HZ, Hypothesis, Word
from asr.noise_filter import DELAY_SAMPLES, NoiseFilter
from asr.sphinx_mean import LineMean
from common.pcm import to_float, to_pcm16

LanguageModel = Literal["ours", "bundled"]

_FOLDER = Path(__file__).with_name("sphinx")
OUR_MODEL = {"lm": str(_FOLDER / "conversation.lm.bin"), "dict": str(_FOLDER / "conversation.dict")}
"""What pocketsphinx is told, to hear with the language model and the dictionary that are ours."""
_FRAME_SAMPLES = 160  # pocketsphinx counts time in 10 ms frames
_GATE_SAMPLES = 480  # the voice gate looks at 30 ms at a time
_SLICE_BYTES = 2560  # 80 ms: what the decoder is given at once, so a flush never waits for more
_VARIANT = re.compile(r"\(\d+\)$")  # "the(2)" is the second pronunciation of "the"


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """How one caller's audio is cut and decoded."""

    lm: LanguageModel = "ours"  # our small conversation model, or the wheel's 72,000 words
    gate_mode: int = 2  # 0 lets everything through, 3 only what is surely a voice
    filtered: bool = True  # steady noise is taken out of what the decoder gets
    before_ms: int = 300  # audio the decoder gets from before the gate opened
    open_ms: int = 90  # voice needed, within 150 ms, to open the gate
    close_ms: int = 300  # silence that ends an utterance
    look_ms: int = 120  # silence after which a short one gets its second pass, on trial
    look_s: float = 1.5  # what is short
    pause_ms: int = 480  # silence that is surely a pause
    max_utterance_s: float = 15.0  # speech without a pause is cut here
    wait_s: float = 2.5  # a flush inside a longer utterance does not wait for the second pass
    unsettled_s: float = 2.5  # at a cut inside speech, words younger than this are heard again
    max_words: int = 1000  # settled words kept when nobody commits them
    second_pass: bool = True  # a flat-lexicon search of each finished utterance; see `close_ms`
    line_mean: tuple[float, ...] = (40.0, 3.0, -1.0, *(0.0,) * 10)  # cepstra of an average line
    mean_doubt_ms: int = 500  # of speech, until a caller's own line weighs as much
    mean_memory_ms: int = 8000  # of speech that is remembered of it
    mean_every_ms: int = 320  # how often it is looked at; whole slices
    again_moved: float = 5.0  # a mean that moved so far makes the utterance be heard again,
    again_s: float = 3.0  # unless it is longer


def _decoder(options: ListenerOptions) -> pocketsphinx.Decoder:
    """A decoder with the bundled acoustic model and the language model asked for."""
    settings: dict[str, object] = {
        "samprate": float(SAMPLE_RATE_HZ),
        "loglevel": "FATAL",
        "fwdflat": options.second_pass,
        "bestpath": True,  # its lattice gives each word a posterior: the confidence
    }
    return pocketsphinx.Decoder(**settings, **(OUR_MODEL if options.lm == "ours" else {}))


class Listener:
    """The ears of one caller. Not thread-safe; used by one worker.

    Args:
        options: How audio is cut and decoded.
    """

    def __init__(self, options: ListenerOptions | None = None) -> None:
        self._options = options or ListenerOptions()
        self._decoder = _decoder(self._options)
        mean = self._options.line_mean, self._options.mean_doubt_ms // 10
        self._mean = LineMean(self._decoder, *mean, self._options.mean_memory_ms // 10)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next audio is a new caller's first sample."""
        if getattr(self, "_utterance", None) is not None and not self._looked:
            self._decoder.end_utt()
        self._mean.reset()
        self._gate = pocketsphinx.Vad(self._options.gate_mode, SAMPLE_RATE_HZ, 0.03)
        self._ungated = bytearray()  # less than one gate frame
        self._recent = deque[bool](maxlen=5)  # the gate's last 150 ms
        self._noise = NoiseFilter()
        self._before = bytearray()  # audio before the gate opened
        self._utterance: bytearray | None = None  # the open utterance's audio; None in silence
        self._utterance_at = 0  # its first sample
        self._decoded_bytes = 0  # how much of it the decoder has
        self._looked: bool | None = None  # its second pass was made on trial, and still stands
        self._settled: list[Word] = []
        self._revisable: tuple[Word, ...] = ()
        self._committed = 0
        self._heard = 0
        self._silent_samples = 0

    def feed(self, pcm16: bytes) -> None:
        """Take in audio: 16 kHz mono, 16-bit signed native-endian samples, any length."""
        self._ungated += pcm16
        self._heard += len(pcm16) // 2
        size = 2 * _GATE_SAMPLES
        while len(self._ungated) >= size:
            frame = bytes(self._ungated[:size])
            del self._ungated[:size]
            self._hear(frame)
        self._decode()

    def hypothesis(self) -> Hypothesis:
        """What has been understood so far; words of an open utterance may still change."""
        return self._said(tuple(self._settled), self._revisable, final=self._utterance is None)

    def flush(self) -> Hypothesis:
        """Return the final words now.

        Within a long utterance these are the first pass's, for the second takes tens of
        milliseconds per second of speech, more in noise; a short one is finished. The caller may
        go on: after silence the next utterance starts here, inside speech the audio
        of the youngest words is kept and heard again, so a word cut in two is heard whole later.
        """
        if self._utterance is None:
            return self._said(tuple(self._settled), (), final=True)
        if len(self._utterance) > 2 * _samples(1000 * self._options.wait_s):
            return self._said(tuple(self._settled), self._revisable, final=True)
        words = self._finish(patient=False)
        said = self._said(tuple(self._settled), words, final=True)
        self._go_on(words)
        return said

    def commit(self, upto_samples: int) -> None:
        """Forget words whose middle lies before `upto_samples`."""
        self._committed = max(self._committed, upto_samples)
        self._settled = [word for word in self._settled if self._counts(word)]

    # ------------------------------------------------------------------ the gate

    def _hear(self, frame: bytes) -> None:
        """Pass one 30 ms frame through the gate into the utterance, opening or closing it."""
        voice = self._gate.is_speech(frame)
        self._recent.append(voice)
        self._silent_samples = 0 if voice else self._silent_samples + _GATE_SAMPLES
        if self._options.filtered:
            frame = to_pcm16(self._noise.filter(to_float(frame)))
        if self._utterance is not None:
            self._utterance += frame
            if voice and self._looked:
                self._listen_on()
            if self._silent_samples >= _samples(self._options.close_ms):
                self._settle(self._finish())
                self._close(keep=self._utterance)
            elif self._looked is None and self._silent_samples >= _samples(self._options.look_ms):
                if len(self._utterance) <= 2 * _samples(1000 * self._options.look_s):
                    self._revisable, self._looked = self._finish(), True
            elif len(self._utterance) >= 2 * _samples(1000 * self._options.max_utterance_s):
                self._go_on(self._finish())
            return
        self._before += frame
        del self._before[: -2 * _samples(self._options.before_ms)]
        if 30 * sum(self._recent) >= self._options.open_ms:
            self._open(self._before)
            self._before = bytearray()

    def _open(self, audio: bytearray) -> None:
        """Start an utterance with `audio`, whose last sample is the newest one gated."""
        self._utterance = bytearray(audio)
        late = DELAY_SAMPLES * self._options.filtered
        self._utterance_at = self._heard - (len(self._ungated) + len(audio)) // 2 - late
        self._decoded_bytes = 0
        self._looked = None
        self._mean.begin()
        self._decoder.start_utt()

    def _listen_on(self) -> None:
        """The caller had not finished when the second pass was made on trial."""
        self._looked = False
        self._decoded_bytes = 0
        self._mean.begin()
        self._decoder.start_utt()

    def _close(self, keep: bytearray) -> None:
        """Go back to silence; `keep` supplies the run-up for what the caller says next."""
        self._mean.end()
        self._utterance = None
        self._revisable = ()
        self._before = keep[-2 * _samples(self._options.before_ms) :]
        self._recent.clear()

    # ------------------------------------------------------------------ the decoder

    def _decode(self) -> None:
        """Give the decoder what it lacks of the open utterance and read its words."""
        audio = self._utterance
        if audio is None or self._looked or self._decoded_bytes == len(audio):
            return
        every = 2 * _samples(self._options.mean_every_ms)
        while self._decoded_bytes < len(audio):
            start = self._decoded_bytes
            # Slices lie where they lie whatever pieces the audio came in, and so does what is heard.
            end = min(start - start % _SLICE_BYTES + _SLICE_BYTES, len(audio))
            self._decoder.process_raw(bytes(audio[start:end]))
            self._decoded_bytes = end
            if end % every == 0:
                self._mean.learn(end // (2 * _FRAME_SAMPLES))
        self._revisable = self._words(final=False)

    def _finish(self, *, patient: bool = True) -> tuple[Word, ...]:
        """End the utterance in the decoder and return its final words.

        When it has shown that the line is another than was thought, it is heard a second time,
        unless someone is waiting.
        """
        audio = self._utterance
        assert audio is not None
        if self._looked:
            return self._revisable
        self._decode()
        self._mean.learn(len(audio) // (2 * _FRAME_SAMPLES))
        self._decoder.end_utt()
        short = len(audio) <= 2 * _samples(1000 * self._options.again_s)
        if patient and short and self._mean.moved > self._options.again_moved:
            self._decoder.start_utt()
            self._decoder.process_raw(bytes(audio))
            self._decoder.end_utt()
        return self._words(final=True)

    def _go_on(self, words: tuple[Word, ...]) -> None:
        """After `_finish` at a moment that is not the utterance's own end: settle and reopen."""
        audio, at = self._utterance, self._utterance_at
        assert audio is not None
        end = at + len(audio) // 2
        paused = self._silent_samples >= _samples(self._options.open_ms)
        settle_until = end if paused else end - _samples(1000 * self._options.unsettled_s)
        settled = tuple(word for word in words if word.end_samples <= settle_until)
        again = words[len(settled) :]
        self._settle(settled)
        if paused and not again:
            self._close(keep=audio)
            return
        resume = end - _samples(self._options.before_ms)
        if again:
            quiet_from = settled[-1].end_samples if settled else at
            run_up = again[0].start_samples - _samples(self._options.before_ms)
            resume = max(quiet_from, run_up)
        self._mean.end()
        self._open(audio[2 * max(0, resume - at) :])
        self._revisable = again

    def _settle(self, words: tuple[Word, ...]) -> None:
        """These words will not change any more."""
        self._settled += [word for word in words if self._counts(word)]
        del self._settled[: -self._options.max_words]

    def _words(self, *, final: bool) -> tuple[Word, ...]:
        """The decoder's best path as words in the caller's time, without silences and noises."""
        if self._decoder.hyp() is None:
            return ()
        words = []
        for segment in self._decoder.seg():
            text = _VARIANT.sub("", segment.word)
            if text[0] in "<[+":
                continue
            start = self._utterance_at + _FRAME_SAMPLES * segment.start_frame
            end = self._utterance_at + _FRAME_SAMPLES * (segment.end_frame + 1)
            confidence = min(1.0, segment.prob) if final else 0.5
            words.append(Word(text, start, min(end, self._heard), confidence))
        return tuple(words)

    # ------------------------------------------------------------------ what is told

    def _counts(self, word: Word) -> bool:
        return word.middle_samples >= self._committed

    def _said(
        self, settled: tuple[Word, ...], others: tuple[Word, ...], *, final: bool
    ) -> Hypothesis:
        others = tuple(word for word in others if self._counts(word))
        words = settled + others
        stable = len(words) if final else len(settled)
        return Hypothesis(words, stable, self._heard, final, self._pause())

    def _pause(self) -> float:
        """How surely the caller has stopped: silence as a share of what surely is a pause."""
        return min(1.0, self._silent_samples / _samples(self._options.pause_ms))


def _samples(ms: float) -> int:
    return round(ms * SAMPLE_RATE_HZ / 1000)
