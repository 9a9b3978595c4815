from __future__ import annotations

import math

import pytest
import torch
from transformers import VoxtralRealtimeFeatureExtractor

from asr.frontend import LOOK_BACK_SAMPLES, SILENCE, LogMel, mel_bank
from tests.asr.tiny import speechlike


def test_filter_bank_anchors():
    bank = mel_bank(128)
    assert bank.sum().item() == pytest.approx(3.1909855285406996, abs=1e-12)
    assert bank.max().item() == pytest.approx(0.04168174928351783, abs=1e-14)
    assert bank[7, 11] == bank.max()
    assert (bank > 0).sum() == 394
    assert bank[1, 0].item() == pytest.approx(0.012373986332636965, abs=1e-14)
    assert bank[199, 127].item() == pytest.approx(0.001114280198753211, abs=1e-13)


def test_spectrogram_anchors():
    samples = torch.arange(12800, dtype=torch.float64)
    tone = 0.1 * torch.sin(2 * math.pi * 440 * samples / 16000)
    mel = LogMel(128).clip(tone.float()[None])[0]
    assert mel.shape == (128, 80)
    assert mel.double().mean().item() == pytest.approx(-0.5464742069913284, abs=1e-5)
    assert mel.max().item() == pytest.approx(1.1358711111664379, abs=1e-5)
    assert mel[:3, 0].tolist() == pytest.approx([0.55803457, 0.655599, 0.63692007], abs=1e-5)
    assert mel[20, 40].item() == pytest.approx(0.93790814, abs=1e-5)
    assert mel[[21, 22, 23, 127], 40].tolist() == [SILENCE] * 4


def test_digital_silence_is_the_floor_everywhere():
    assert torch.equal(LogMel(128).clip(torch.zeros(1, 16000)), torch.full((1, 128, 100), SILENCE))


@pytest.mark.parametrize("seconds", [0.05, 1.0, 7.77, 40.0])
def test_the_spectrogram_of_transformers(seconds):
    pcm = speechlike(seconds)
    theirs = VoxtralRealtimeFeatureExtractor()(
        pcm.numpy(), sampling_rate=16000, return_tensors="pt", truncation=False, padding=False
    ).input_features
    ours = LogMel(128).clip(pcm[None])
    assert ours.shape[-1] == pcm.shape[0] // 160
    torch.testing.assert_close(ours, theirs[..., : ours.shape[-1]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("bins", [80, 128])
def test_any_chunking_gives_the_spectrogram_of_the_whole(bins):
    mel = LogMel(bins)
    pcm = torch.cat((torch.zeros(LOOK_BACK_SAMPLES), speechlike(3.0), torch.zeros(200)))[None]
    whole = mel.frames(pcm)
    generator = torch.Generator().manual_seed(0)
    pieces, frame = [], 0
    while frame < whole.shape[-1]:
        count = min(int(torch.randint(1, 30, (), generator=generator)), whole.shape[-1] - frame)
        pieces.append(mel.frames(pcm[:, 160 * frame : 160 * (frame + count) + 240]))
        frame += count
    torch.testing.assert_close(torch.cat(pieces, -1), whole, atol=1e-5, rtol=0)
