"""What is done to spectrograms before the ears learn from them."""

from __future__ import annotations

import numpy as np
import torch

from asr.frontend import LogMel
from training.ears.corpus import MEL_BINS, OPEN_FLOOR, UNKNOWN_PHONE
from training.ears.noise import _by_phone, _warped, spoil_mels


def test_powers_add_in_the_spectrogram() -> None:
    """What adding noise there stands on: the level is the one that adding waveforms gives."""
    chance = np.random.default_rng(0)
    log_mel = LogMel(MEL_BINS, OPEN_FLOOR)
    a = chance.standard_normal(32_000).astype(np.float32) * 0.05
    b = chance.standard_normal(32_000).astype(np.float32) * 0.1
    mel = [log_mel.clip(torch.from_numpy(x)[None]) for x in (a, b, a + b)]
    power = [10 ** (4 * m - 4) for m in mel]
    ratio = (power[0] + power[1]).mean() / power[2].mean()
    assert 0.95 < ratio < 1.05


def test_spoiled_spectrograms_keep_shape_floor_and_seed() -> None:
    mel = torch.full((6, MEL_BINS, 200), -1.5)
    mel[:, 10:40, 50:150] = 0.9
    phones = torch.randint(0, 40, (6, 100), generator=torch.Generator().manual_seed(4))
    one = spoil_mels(mel, phones, torch.Generator().manual_seed(3))
    two = spoil_mels(mel, phones, torch.Generator().manual_seed(3))
    assert torch.equal(one, two)
    assert one.shape == mel.shape
    assert one.min() >= -0.625
    speech, rest = one[:, 10:40, 50:150].mean((1, 2)), one[:, 10:40, :40].mean((1, 2))
    assert (speech > rest + 0.02).all()
    assert (speech - rest).std() > 0.05  # some noisy, some clean


def test_a_shorter_throat_moves_tones_up_as_the_factor_says() -> None:
    log_mel = LogMel(MEL_BINS, OPEN_FLOOR)
    seconds = torch.arange(16_000) / 16_000
    low, high = (log_mel.clip(torch.sin(6.2832 * hz * seconds)[None]) for hz in (1_500, 1_650))
    moved = _warped(low, torch.full((1, 1, 1), 1 / 1.1))
    assert abs(int(moved[0, :, 50].argmax()) - int(high[0, :, 50].argmax())) <= 1
    assert torch.allclose(_warped(low, torch.ones(1, 1, 1)), low, atol=1e-4)


def test_each_phone_of_a_speaker_has_one_curve_and_silence_has_none() -> None:
    phones = torch.tensor([[0] * 9 + [7] * 9 + [30] * 9 + [7] * 9 + [UNKNOWN_PHONE] * 9] * 2)
    curve = _by_phone(phones, MEL_BINS, 0.1, torch.Generator().manual_seed(1))
    assert curve.shape == (2, MEL_BINS, 90)
    one, other, again = (curve[:, :, middle] for middle in (27, 45, 63))
    assert torch.allclose(one, again)
    assert not torch.allclose(one, other, atol=0.01)
    assert not torch.allclose(one[0], one[1], atol=0.01)
    assert not curve[:, :, :14].any()
    assert not curve[:, :, -14:].any()
