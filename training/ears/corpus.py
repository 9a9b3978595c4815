"""Training data of the ears: clips of made speech as spectrograms, with word times and phones.

A shard is one `.npz`, made by one process from one seed; a finished shard is never made again, and
training takes in new shards as they appear. Effects of rooms and lines are in the audio; noise,
gain and microphone colour are added afresh at every use, on the spectrogram (`training.ears.noise`).
"""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from asr.frontend import LogMel
from asr.interface import SAMPLE_RATE_HZ
from cli.output import run_program
from training.ears.arpa import BackoffModel
from training.processes import side_by_side
from training.speech.augment import spoil
from training.speech.blend import blend
from training.speech.espeak import Espeak, EspeakManner, random_manner
from training.speech.festival import Festival
from training.speech.flite import Flite
from training.speech.foreign import Foreign, ForeignManner, random_american, random_foreigner
from training.speech.ours import Ours
from training.speech.readers import ReaderManner, Readers, random_reader
from training.speech.rhvoice import Rhvoice, RhvoiceManner, random_rhvoice
from training.speech.utterance import PHONES, Utterance
from training.text.conversation import Conversation, held_out
from training.voice.flite import Manner
from training.voice.speakers import passers_by

MEL_BINS = 80
TOKENS = 120  # of 80 ms per clip: 9.6 s
CLIP_SAMPLES = TOKENS * 1280
MEL_FRAMES = TOKENS * 8
PHONE_FRAMES = TOKENS * 4  # 20 ms each, as the encoder's
OPEN_FLOOR = -2.0  # a floor of 1e-10: the published one is applied after noise has been added
UNKNOWN_PHONE = 255
_PHONE_INDEX = {phone: i for i, phone in enumerate(PHONES)}


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """What a corpus is made of."""

    flite_share: float = 0.2  # of the speakers,
    rhvoice_share: float = 0.25  # RHVoice's,
    foreign_share: float = 0.2  # festival's of other countries,
    american_share: float = 0.1  # its Americans,
    reader_share: float = 0.08  # festival's that only read,
    ours_share: float = 0.08  # our own voice's; the rest are espeak's
    plain_flite_share: float = 0.25  # of those, flite's own voices as they are
    blend_share: float = 0.35  # of all but our own: somebody between two speakers
    caller_share: float = 0.35  # of the sentences: from the grammar's callers,
    agent_share: float = 0.1  # its agents,
    sampled_share: float = 0.4  # drawn from the mixed language model; the rest are random words
    change_speaker: float = 0.2  # at each sentence
    quiet_share: float = 0.06  # clips with one sentence or none
    clips: int = 400  # per shard

    @property
    def human_share(self) -> float:
        """Of the speakers: those whose voice was a person's."""
        of_festival = self.foreign_share + self.american_share + self.reader_share
        return of_festival + self.flite_share + self.rhvoice_share


_USUAL = CorpusOptions()
Human = Manner | ForeignManner | ReaderManner | RhvoiceManner  # whose voice was a person's
Person = Human | EspeakManner


class Talk:
    """Endless texts of all kinds.

    Args:
        seed: Of all choices.
        arpa: The readable language model of `training.ears.language_model`.
        options: The shares.
    """

    def __init__(self, seed: int, arpa: Path, options: CorpusOptions) -> None:
        self._options = options
        self._conversation = Conversation(seed)
        self._model = BackoffModel.read(arpa)
        self._vocabulary = [w for w in self._model.vocabulary() if w.replace("'", "").isalpha()]
        self._chance = random.Random(seed)

    def text(self) -> str:
        """One sentence, none that is kept for tests."""
        while held_out(text := self._drawn()):
            pass
        return text

    def _drawn(self) -> str:
        draw, options = self._chance.random(), self._options
        if draw < options.caller_share:
            return self._conversation.say("caller")
        draw -= options.caller_share
        if draw < options.agent_share:
            return self._conversation.say("agent")
        if draw - options.agent_share < options.sampled_share:
            words = self._model.sample(self._chance, longest=14)
        else:
            words = self._chance.choices(self._vocabulary, k=self._chance.randint(1, 7))
        return " ".join(words or ["yes"]) + self._chance.choice("...?")


@dataclass(frozen=True, slots=True)
class Between:
    """Somebody between two speakers.

    Attributes:
        one: Whose pace and tune it is.
        other: Whose resonances are approached,
        share: by this share of the way.
    """

    one: Person
    other: Person
    share: float


class Crowd:
    """Everyone who may speak in training.

    Args:
        talk: What they say.
        chance: Of who speaks.
        options: The shares.
        voice: Checkpoint of our own voice.
    """

    def __init__(
        self, talk: Talk, chance: random.Random, options: CorpusOptions, voice: Path
    ) -> None:
        self._talk, self._chance, self._options = talk, chance, options
        self._espeak, self._flite = Espeak(), Flite()
        self._festival = Festival()
        self._foreign = Foreign(self._espeak, self._festival)
        self._readers = Readers(self._flite, self._festival)
        self._rhvoice = Rhvoice(self._flite) if options.rhvoice_share else None
        self._ours = Ours(voice, talk.text, chance) if options.ours_share else None

    def close(self) -> None:
        """End the programs and models that speak."""
        self._festival.close()
        if self._ours:
            self._ours.close()

    def someone(self) -> str | Person | Between:
        """Draw a speaker."""
        chance, options = self._chance, self._options
        if self._ours and chance.random() < options.ours_share:
            return self._ours.someone()
        if options.human_share and chance.random() < options.blend_share:
            return Between(self._person(), self._human(), chance.uniform(0.25, 0.9))
        return self._person()

    def _person(self) -> Person:
        if self._chance.random() * (1 - self._options.ours_share) < self._options.human_share:
            return self._human()
        return random_manner(self._chance)

    def _human(self) -> Human:
        chance, options = self._chance, self._options
        draw = chance.random() * options.human_share
        draws = (
            (options.foreign_share, random_foreigner),
            (options.american_share, random_american),
            (options.reader_share, random_reader),
            (options.rhvoice_share, random_rhvoice),
        )
        for share, someone in draws:
            if draw < share:
                return someone(chance)
            draw -= share
        if chance.random() < options.plain_flite_share:
            base, pitch_hz = chance.choice((("slt", 172.0), ("rms", 104.0), ("awb", 128.0)))
            return Manner(base, pitch_hz, slowness=chance.uniform(0.85, 1.15))
        return passers_by(1, chance)[0]

    def speak(self, speaker: str | Person | Between) -> Utterance | None:
        """The next sentence of a speaker drawn by `someone`; None when it could not be said."""
        if isinstance(speaker, str):
            assert self._ours
            return self._ours.say(speaker)
        text = self._talk.text()
        if isinstance(speaker, Between):
            one, other = self._say(text, speaker.one), self._say(text, speaker.other)
            return blend(one, other, speaker.share) if one and other else None
        return self._say(text, speaker)

    def _say(self, text: str, person: Person) -> Utterance | None:
        match person:
            case Manner():
                return self._flite.say(text, person)
            case ForeignManner():
                return self._foreign.say(text, person)
            case ReaderManner():
                return self._readers.say(text, person)
            case RhvoiceManner():
                assert self._rhvoice
                return self._rhvoice.say(text, person)
            case EspeakManner():
                return self._espeak.say(text, person)


@dataclass(slots=True)
class Clip:
    """One training clip before it becomes a spectrogram."""

    pcm: np.ndarray
    phones: np.ndarray
    words: list[tuple[str, float]]  # and where each ends, seconds


def make_clip(crowd: Crowd, chance: random.Random, options: CorpusOptions) -> Clip:
    """Sentences with pauses between them until 9.6 s are full."""
    clip = Clip(np.zeros(CLIP_SAMPLES, np.float32), np.zeros(PHONE_FRAMES, np.uint8), [])
    quiet = chance.random() < options.quiet_share
    at = round(chance.uniform(0.05, 0.5) * SAMPLE_RATE_HZ)
    speaker = crowd.someone()
    sentences = chance.randint(0, 1) if quiet else 99
    misses = 0
    while sentences > 0 and misses < 5:
        said = crowd.speak(speaker)
        if said is None:
            continue
        if at + len(said.pcm) > CLIP_SAMPLES - 1600:
            misses += 1
            continue
        _place(clip, said, at, chance)
        at += len(said.pcm) + round((0.1 + chance.expovariate(4)) * SAMPLE_RATE_HZ)
        sentences -= 1
        if chance.random() < options.change_speaker:
            speaker = crowd.someone()
    return clip


def _place(clip: Clip, said: Utterance, at: int, chance: random.Random) -> None:
    gain = 10 ** (chance.uniform(-4, 0) / 20) * 0.8 / (np.abs(said.pcm).max() + 1e-6)
    clip.pcm[at : at + len(said.pcm)] += gain * said.pcm
    start_s = at / SAMPLE_RATE_HZ
    clip.words += [(word.text, start_s + word.end_s) for word in said.words]
    if not said.phones:
        first, last = (round(50 * t) for t in (start_s, start_s + said.seconds))
        clip.phones[first:last] = UNKNOWN_PHONE
    for phone in said.phones:
        first, last = (round(50 * (start_s + t)) for t in (phone.start_s, phone.end_s))
        clip.phones[first:last] = _PHONE_INDEX[phone.text]


def finished_shards(folder: Path) -> list[Path]:
    """The shards of a corpus that are whole, by name."""
    return sorted(p for p in folder.glob("*.npz") if p.stem.isdigit())  # not `1000.part.npz`


def make_shard(path: Path, seed: int, arpa: Path, options: CorpusOptions, voice: Path) -> None:
    """Write one shard."""
    torch.set_num_threads(1)
    chance = random.Random(seed)
    log_mel = LogMel(MEL_BINS, OPEN_FLOOR)
    mels = np.zeros((options.clips, MEL_BINS, MEL_FRAMES), np.float16)
    phones = np.zeros((options.clips, PHONE_FRAMES), np.uint8)
    words: list[list[tuple[str, float]]] = []
    others: list[np.ndarray] = []
    with closing(Crowd(Talk(seed, arpa, options), chance, options, voice)) as crowd:
        for i in range(options.clips):
            clip = make_clip(crowd, chance, options)
            pcm = spoil(clip.pcm, seed * 100_003 + i, others=others)
            others = [*others[-3:], clip.pcm]
            mels[i] = log_mel.clip(torch.from_numpy(pcm)[None])[0].numpy()
            phones[i] = clip.phones
            words.append(clip.words)
    text = np.array(["\n".join(f"{w}\t{end:.3f}" for w, end in clip) for clip in words])
    part = path.with_suffix(".part.npz")
    np.savez(part, mels=mels, phones=phones, words=text)
    part.rename(path)


def main(
    out: Annotated[Path, typer.Option(help="Folder of the shards.")] = Path("runs/ears/corpus"),
    arpa: Annotated[Path, typer.Option(help="Readable language model.")] = Path(
        "runs/ears/conversation.arpa"
    ),
    shards: Annotated[int, typer.Option(help="How many.")] = 16,
    first_seed: Annotated[int, typer.Option(help="Seed of the first shard.")] = 1000,
    flite_share: Annotated[
        float, typer.Option(help="Of the speakers: flite's.")
    ] = _USUAL.flite_share,
    rhvoice_share: Annotated[float, typer.Option(help="RHVoice's.")] = _USUAL.rhvoice_share,
    foreign_share: Annotated[
        float, typer.Option(help="festival's of other countries.")
    ] = _USUAL.foreign_share,
    american_share: Annotated[
        float, typer.Option(help="festival's Americans.")
    ] = _USUAL.american_share,
    reader_share: Annotated[
        float, typer.Option(help="festival's that read English in other letters.")
    ] = _USUAL.reader_share,
    blend_share: Annotated[float, typer.Option(help="Between two speakers.")] = _USUAL.blend_share,
    ours_share: Annotated[float, typer.Option(help="Our own voice's; slow.")] = _USUAL.ours_share,
    voice: Annotated[Path, typer.Option(help="Checkpoint of our own voice.")] = Path("tts/nano"),
    clips: Annotated[int, typer.Option(help="Per shard, of 9.6 s.")] = _USUAL.clips,
    processes: Annotated[int, typer.Option(help="Made side by side.")] = 1,
) -> None:
    """Make every missing shard."""
    out.mkdir(parents=True, exist_ok=True)
    options = CorpusOptions(
        flite_share=flite_share,
        rhvoice_share=rhvoice_share,
        foreign_share=foreign_share,
        american_share=american_share,
        reader_share=reader_share,
        blend_share=blend_share,
        ours_share=ours_share,
        clips=clips,
    )
    paths = {seed: out / f"{seed}.npz" for seed in range(first_seed, first_seed + shards)}
    missing = [
        (path, seed, arpa, options, voice) for seed, path in paths.items() if not path.exists()
    ]
    side_by_side(make_shard, missing, processes, "speaking")


if __name__ == "__main__":
    run_program(main)
