"""Synthetic speech: word and phone times are true, effects keep length and timing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from common.errors import ParleyError
from training.speech import augment, strangers
from training.speech.align import like
from training.speech.blend import blend
from training.speech.espeak import Espeak, EspeakManner, random_manner
from training.speech.festival import Festival
from training.speech.flite import Flite
from training.speech.foreign import AMERICANS, THROATS, Foreign, ForeignManner, Throat
from training.speech.ours import Ours
from training.speech.readers import READERS, Reader, ReaderManner, Readers
from training.speech.rhvoice import ABROAD, ENGLISH, Model, Rhvoice, RhvoiceManner
from training.speech.utterance import PHONES, Utterance
from training.text.conversation import Conversation, spoken
from training.voice.flite import Manner

TEXT = "The cat sat on the mat, and it's twenty-two of the best."


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    try:
        return Espeak()
    except ParleyError as error:
        pytest.skip(error.cause)


@pytest.fixture(scope="module")
def flite() -> Flite:
    return Flite()


@pytest.fixture
def festival() -> Iterator[Festival]:
    festival = Festival()
    yield festival
    festival.close()


def test_what_festival_cannot_say_is_nothing_and_what_is_not_there_an_error(
    festival: Festival,
) -> None:
    throat = THROATS[0]
    sound = "(# 0.2 (0.1 120))"

    def say(utterance: str) -> tuple[int, np.ndarray] | None:
        return festival.speak(throat.name, throat.folder, utterance)

    try:
        assert say(f"(Utterance Segments ({sound}))")
    except ParleyError as error:
        pytest.skip(error.cause)
    assert say("(nonsense)") is None
    assert say(f"(Utterance Segments ({sound}))")
    with pytest.raises(ParleyError, match="nobody is not there"):
        festival.speak("nobody", "nowhere", "(nonsense)")


def check(said: Utterance, text: str) -> None:
    assert [word.text for word in said.words] == spoken(text)
    assert {phone.text for phone in said.phones} <= set(PHONES)
    times = [t for word in said.words for t in (word.start_s, word.end_s)]
    assert min(np.diff(times)) > -1e-9
    assert times[0] >= 0
    assert times[-1] <= said.seconds + 0.05
    assert np.abs(said.pcm).max() <= 1.0
    # There is sound inside the words and little outside them.
    inside = np.zeros(len(said.pcm), bool)
    for word in said.words:
        inside[int(word.start_s * 16_000) : int(word.end_s * 16_000)] = True
    energy = said.pcm.astype(np.float64) ** 2
    assert energy[inside].sum() > 0.95 * energy.sum()


@pytest.mark.parametrize("tract", [0.88, 1.0, 1.14])
def test_espeak_words_lie_where_the_sound_is(espeak: Espeak, tract: float) -> None:
    said = espeak.say(TEXT, EspeakManner(tract=tract))
    assert said is not None
    check(said, TEXT)


def test_espeak_says_everything_the_grammar_makes(espeak: Espeak) -> None:
    talk, chance = Conversation(4), random.Random(4)
    for _ in range(60):
        text = talk.say("caller")
        said = espeak.say(text, random_manner(chance))
        assert said is not None
        assert [word.text for word in said.words] == spoken(text)


def test_flite_words_lie_where_the_sound_is(flite: Flite) -> None:
    try:
        said = flite.say(TEXT, Manner("slt", 180.0))
    except ParleyError as error:
        pytest.skip(error.cause)
    assert said is not None
    check(said, TEXT.replace("-", " "))


@pytest.mark.parametrize("throat", [*THROATS, *AMERICANS], ids=lambda throat: throat.name)
def test_foreign_voices_say_what_espeak_would_and_when(
    espeak: Espeak, festival: Festival, throat: Throat
) -> None:
    manner = ForeignManner(throat, 150, pitch=1.1, liveliness=0.1, tract=1.1, accent=3)
    text = "Could you say that again, please?"
    try:
        said = Foreign(espeak, festival).say(text, manner)
    except ParleyError as error:
        pytest.skip(error.cause)
    assert said is not None
    check(said, text)
    model = espeak.say(text, EspeakManner("en-us", 150))
    assert model is not None
    assert [phone.text for phone in said.phones] == [phone.text for phone in model.phones]
    assert said.seconds == pytest.approx(model.phones[-1].end_s / 1.1, abs=0.05)


def test_times_moved_from_one_speaker_to_another_lie_where_the_other_has_them(flite: Flite) -> None:
    talk = Conversation(3)
    misses_s = []
    for text in (talk.say("caller") for _ in range(12)):
        slow = flite.say(text, Manner("rms", 104.0, slowness=1.1))
        quick = flite.say(text, Manner("slt", 172.0, slowness=0.85))
        if slow and quick:
            moved = like(slow.pcm, quick)
            pairs = zip(moved.words, slow.words, strict=True)
            misses_s += [abs(here.end_s - true.end_s) for here, true in pairs]
    assert len(misses_s) > 40
    assert np.mean(misses_s) < 0.04
    assert np.percentile(misses_s, 95) < 0.12


@pytest.fixture(scope="module")
def rhvoice(flite: Flite) -> Rhvoice:
    try:
        return Rhvoice(flite)
    except ParleyError as error:
        pytest.skip(error.cause)


@pytest.mark.parametrize("model", [*ENGLISH, *ABROAD], ids=lambda model: model.name)
def test_rhvoice_says_what_flite_would(rhvoice: Rhvoice, flite: Flite, model: Model) -> None:
    text = "Could you book a table for twenty-two people?"
    try:
        said = rhvoice.say(text, RhvoiceManner(model, 0.9, 1.1, 1.05, accent=2))
    except ParleyError as error:
        pytest.skip(error.cause)
    assert said
    check(said, text)
    like_it = flite.say(text, Manner(*model.like))
    assert like_it
    assert [phone.text for phone in said.phones] == [phone.text for phone in like_it.phones]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_readers_say_what_flite_would(flite: Flite, festival: Festival, reader: Reader) -> None:
    text = "Could you book a table for twenty-two people?"
    try:
        said = Readers(flite, festival).say(text, ReaderManner(reader, tract=1.05, accent=2))
    except ParleyError as error:
        pytest.skip(error.cause)
    assert said
    check(said, text)
    like_it = flite.say(text, Manner(*reader.like))
    assert like_it
    assert [phone.text for phone in said.phones] == [phone.text for phone in like_it.phones]


def test_a_blend_has_the_times_of_one_and_nears_the_sound_of_the_other(flite: Flite) -> None:
    text = "My sister wants to know when the train leaves."
    one, other = (
        flite.say(text, Manner(base, hz)) for base, hz in (("rms", 104.0), ("slt", 172.0))
    )
    assert one
    assert other
    between = blend(one, other, 0.7)
    assert between.phones == one.phones
    assert len(between.pcm) == len(one.pcm)
    assert np.abs(blend(one, other, 0.0).pcm - one.pcm).max() < 1e-3
    assert away(between, other) < 0.8 * away(one, other)


def away(one: Utterance, other: Utterance) -> float:
    """How far the spectra of two speakers are apart on the vowels they share, in nepers."""

    def spectra(said: Utterance) -> list[np.ndarray]:
        middles = [
            round(8_000 * (p.start_s + p.end_s)) for p in said.phones if p.text[0] in "aeiou"
        ]
        windows = (said.pcm[m - 256 : m + 256] * np.hanning(512) for m in middles)
        return [
            np.log(np.abs(np.fft.rfft(w)).reshape(-1)[:256].reshape(32, 8).mean(1)) for w in windows
        ]

    pairs = zip(spectra(one), spectra(other), strict=True)
    return float(np.mean([np.abs((a - a.mean()) - (b - b.mean())).mean() for a, b in pairs]))


def test_the_voices_of_the_test_are_no_ones_teacher() -> None:
    taught = {throat.name.removesuffix("_diphone") for throat in (*THROATS, *AMERICANS)}
    taught |= {model.name for model in (*ENGLISH, *ABROAD)}
    assert not taught & set(strangers.VOICES)


@pytest.mark.slow
def test_our_own_voice_has_word_times() -> None:
    talk = Conversation(8)
    ours = Ours(Path("tts/nano"), lambda: talk.say("caller"), random.Random(2))
    said = ours.say(ours.someone())
    check(said, " ".join(word.text for word in said.words))


def test_held_out_voices_are_held_out() -> None:
    chance = random.Random(0)
    trained = {random_manner(chance).voice for _ in range(3000)}
    unseen = {random_manner(chance, held_out=True).voice for _ in range(500)}
    assert not trained & unseen


def tone(seconds: float = 1.0) -> np.ndarray:
    times = np.arange(int(16_000 * seconds)) / 16_000
    return (0.3 * np.sin(2 * np.pi * 700 * times)).astype(np.float32)


def test_noise_has_the_ratio_asked_for() -> None:
    chance = np.random.default_rng(0)
    clean = tone()
    for snr_db in (20.0, 5.0):
        noisy = augment.add_at(clean, augment.coloured_noise(len(clean), chance), snr_db)
        added = noisy - clean
        measured = 10 * np.log10((clean**2).mean() / (added**2).mean())
        assert measured == pytest.approx(snr_db, abs=0.5)


def test_effects_keep_length_and_timing() -> None:
    chance = np.random.default_rng(1)
    pcm = np.concatenate([np.zeros(8_000, np.float32), tone(0.5), np.zeros(8_000, np.float32)])
    effects = {
        "room": augment.room(pcm, 0.3, 6.0, chance),
        "phone": augment.phone_band(pcm),
        "opus": augment.opus(pcm, 24_000),
        "clipped": augment.clipped(pcm, 3.0),
        "mu-law": augment.mu_law(pcm),
    }
    for name, out in effects.items():
        assert out.shape == pcm.shape, name
        assert out.dtype == np.float32, name
        onset = np.flatnonzero(np.abs(out) > 0.25 * np.abs(out).max())[0]
        assert abs(onset - 8_000) < 320, (name, onset)


def test_a_telephone_carries_its_band_only() -> None:
    times = np.arange(16_000) / 16_000
    both = (np.sin(2 * np.pi * 1_000 * times) + np.sin(2 * np.pi * 6_000 * times)) / 4
    spectrum = np.abs(np.fft.rfft(augment.phone_band(both.astype(np.float32))))
    assert spectrum[1_000] > 50 * spectrum[6_000]


def test_spoiling_is_repeatable_and_various() -> None:
    pcm = tone()
    same = [augment.spoil(pcm, 5, others=[tone()]) for _ in range(2)]
    assert np.array_equal(*same)
    different = {augment.spoil(pcm, seed, others=[tone()]).tobytes() for seed in range(30)}
    assert len(different) > 12
