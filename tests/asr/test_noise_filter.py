"""The filter in front of the small recognisers."""

from __future__ import annotations

import numpy as np

from asr.noise_filter import DELAY_SAMPLES, NoiseFilter

_CHANCE = np.random.default_rng(0)
NOISE = _CHANCE.normal(0, 0.01, 48_000)
VOICE = NOISE.copy()
VOICE[16_000:32_000] += 0.2 * np.sin(2 * np.pi * np.arange(16_000) * 440 / 16_000)


def filtered(noise_filter: NoiseFilter, audio: np.ndarray, chunk: int = 480) -> np.ndarray:
    pieces = [audio[i : i + chunk] for i in range(0, len(audio), chunk)]
    return np.concatenate([noise_filter.filter(piece) for piece in pieces])


def test_it_lowers_noise_and_spares_a_voice() -> None:
    out = filtered(NoiseFilter(), VOICE)[DELAY_SAMPLES:]
    assert out[4_000:15_000].std() < 0.4 * 0.01
    assert np.corrcoef(out[18_000:30_000], VOICE[18_000:30_000])[0, 1] > 0.99
    assert out[18_000:30_000].std() > 0.95 * VOICE[18_000:30_000].std()


def test_how_audio_is_cut_changes_nothing() -> None:
    assert np.array_equal(
        filtered(NoiseFilter(), VOICE, 480), filtered(NoiseFilter(), VOICE, 1_600)
    )


def test_a_copy_and_its_original_do_not_hear_each_other() -> None:
    expected = filtered(NoiseFilter(), VOICE)
    for at in (800, 24_000):  # while it believes that there is only noise, and later
        noise_filter = NoiseFilter()
        first = filtered(noise_filter, VOICE[:at])
        twin = noise_filter.copy()
        filtered(twin, 5 * VOICE[:16_000])
        rest = filtered(noise_filter, VOICE[at:])
        assert np.array_equal(np.concatenate((first, rest)), expected)


def test_silence_and_full_scale_stay_finite() -> None:
    for audio in (np.zeros(16_000), np.sign(NOISE[:16_000])):
        assert np.isfinite(filtered(NoiseFilter(), audio, 160)).all()
