"""Noise, level, colour and other throats for spectrograms, anew each time a clip is used.

Powers of independent sounds add, so noise can be added to a mel spectrogram without the audio:
thousands of times faster, and each hearing of a clip is a different one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, avg_pool2d, interpolate

from asr.interface import SAMPLE_RATE_HZ
from asr.noise_filter import NoiseGain
from training.ears.corpus import UNKNOWN_PHONE

_LOG10 = 2.302585
_PER_DB = 1 / 40  # one decibel in the published scale, (log10 power + 4) / 4
_FLOOR = -0.625  # the published floor in that scale
_TRACT = 0.14  # vocal tracts differ by so much from the one that spoke, at most,
_FORMANT = 0.05  # their resonances by so much more, each its own way (standard deviation),
_PHONE, _PHONE_DB = 0.06, 3.0  # every phone's own by so much again, and its colour,
_PITCH = 0.3  # and voices by so much, at most
_PHONE_KNOTS = 5
_FILTERED = 0.85  # of the clips go through the filter that a caller's audio goes through
_GAP_BANDS, _GAP_FRAMES = 10, 8  # widest gap in the spectrum, and in time (10 ms each)


def spoil_mels(mel: Tensor, phones: Tensor, generator: torch.Generator) -> Tensor:
    """What a batch of clean spectrograms may sound like.

    Args:
        mel: float32 [B, bins, T] in the published scale, without its floor.
        phones: int64 [B, T / 2], which phone is heard every 20 ms; whatever is no phone, above all.
        generator: Of all random choices.

    Returns:
        float32 [B, bins, T] with the published floor.
    """
    draws = _Draws(len(mel), generator)
    mel = _of_another_throat(mel, phones, draws)
    mel = _in_another_manner(mel, draws)
    return _amid_noise(_with_gaps(mel, draws), draws)


@dataclass(frozen=True, slots=True)
class _Draws:
    """Random numbers, other ones for each row: float32 [B, 1, 1], and curves along one axis."""

    rows: int
    generator: torch.Generator

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(self.rows, 1, 1, generator=self.generator)

    def sometimes(self, share: float) -> Tensor:
        return (torch.rand(self.rows, 1, 1, generator=self.generator) < share).float()

    def curve(self, knots: int, spread_db: float, length: int, axis: int) -> Tensor:
        drawn = torch.randn(self.rows, 1, knots, generator=self.generator) * spread_db
        smooth = interpolate(drawn, length, mode="linear", align_corners=True)
        return smooth if axis == 2 else smooth.transpose(1, 2)


def _of_another_throat(mel: Tensor, phones: Tensor, draws: _Draws) -> Tensor:
    bins = mel.shape[1]
    uniform, sometimes = draws.uniform, draws.sometimes
    # Resonances and the harmonics between them move apart: another throat, another pitch.
    tract = 1 + sometimes(0.8) * uniform(-_TRACT, _TRACT) + draws.curve(5, _FORMANT, bins, 1)
    pitch = 1 + sometimes(0.8) * uniform(-_PITCH, _PITCH)
    # People differ in every sound, not only in their throats: somebody's "iy" is another's "ih".
    own = sometimes(0.6) * uniform(0, 1.5)
    tract = tract * (1 + own * _by_phone(phones, bins, _PHONE, draws.generator))
    envelope = avg_pool2d(mel, (7, 1), 1, (3, 0), count_include_pad=False)
    fine = _warped(mel - envelope, pitch) * (1 + sometimes(0.5) * uniform(-0.7, 0.4))
    envelope = envelope + own * _by_phone(phones, bins, _PHONE_DB * _PER_DB, draws.generator)
    # Some resonate more sharply than others.
    coarse = avg_pool2d(envelope, (25, 1), 1, (12, 0), count_include_pad=False)
    envelope = coarse + (envelope - coarse) * (1 + sometimes(0.5) * uniform(-0.3, 0.6))
    return _warped(envelope, tract) + fine


def _in_another_manner(mel: Tensor, draws: _Draws) -> Tensor:
    bins = mel.shape[1]
    uniform, sometimes, curve = draws.uniform, draws.sometimes, draws.curve
    # How sharply sounds stand out, from moment to moment and from each other.
    slow = avg_pool2d(mel, (1, 7), 1, (0, 3), count_include_pad=False)
    mel = slow + (mel - slow) * (1 + sometimes(0.5) * uniform(-0.6, 0.4))
    speech = mel.amax(1, keepdim=True)
    heard = (speech > speech.amax(2, keepdim=True) - 30 * _PER_DB).float()
    usual = (mel * heard).sum(2, keepdim=True) / heard.sum(2, keepdim=True)
    # One speaker in another's colour: what is said must not be told by who is known to say it so.
    worn = usual + sometimes(0.7) * uniform(0, 1) * (usual.roll(1, 0) - usual)
    mel = worn + (mel - usual) * (1 + sometimes(0.5) * uniform(-0.15, 0.2))
    # The colour of throats, rooms and microphones, which is no part of what is said.
    colour_db = curve(5, 8.0, bins, 1) + curve(12, 4.0, bins, 1) + _slope(bins) * uniform(-12, 8)
    return mel + sometimes(0.9) * uniform(0, 1) * colour_db * _PER_DB


def _with_gaps(mel: Tensor, draws: _Draws) -> Tensor:
    """Some bands and moments are not heard at all: no sound may hang on one of them."""
    band = torch.arange(mel.shape[1])[None, :, None]
    kept = (band >= draws.uniform(-20, 8)) & (band <= draws.uniform(52, 130))
    moment = torch.arange(mel.shape[2])[None, None, :]
    for axis, longest in ((band, _GAP_BANDS), (moment, _GAP_FRAMES)) * 2:
        width = draws.sometimes(0.4) * draws.uniform(0, longest)
        start = draws.uniform(0, 1) * axis.numel()
        kept = kept & ((axis < start) | (axis >= start + width))
    return mel - 60 * _PER_DB * (1 - kept.float())


def _amid_noise(mel: Tensor, draws: _Draws) -> Tensor:
    rows, bins, frames = mel.shape
    uniform, sometimes, curve = draws.uniform, draws.sometimes, draws.curve
    power = torch.exp((4 * mel - 4) * _LOG10)
    loudest = power.flatten(1).topk(frames, dim=1).values.mean(1)[:, None, None] + 1e-9

    tilt = _slope(bins) * uniform(-18, 3)
    shape_db = curve(10, 5.0, bins, 1) + tilt
    swell_db = sometimes(0.4) * curve(16, 5.0, frames, 2)
    noise = torch.exp((shape_db + swell_db) / 10 * _LOG10)
    # A mel band of noise is a sum of few squared Gaussians: low bands flicker more than high ones.
    flicker = -torch.log(torch.rand(2, rows, bins, frames, generator=draws.generator) + 1e-6)
    steady = torch.linspace(0, 0.5, bins)[None, :, None]
    noise = noise * (flicker[0] * (1 - steady) + flicker[1] * steady)
    noise = noise / noise.mean((1, 2), keepdim=True)
    # Loudness is judged where speech is loudest; the mean over bands lies some 20 dB below that.
    snr_db = 3 + 39 * uniform(0, 1) ** 1.5 + 18 + 30 * sometimes(0.12)
    power = power + noise * loudest * 10 ** (-snr_db / 10)

    babble = torch.exp((4 * mel.roll(1, 0) - 4) * _LOG10)
    babble_db = uniform(8, 25)
    power = power + sometimes(0.15) * babble * 10 ** (-babble_db / 10)

    level_db = uniform(-30, 6)
    power = power + sometimes(_FILTERED) * (_filtered(power) - power)
    out = (torch.log10(power.clamp_min(1e-12)) + 4) / 4 + level_db * _PER_DB
    return out.clamp_min(_FLOOR)


def _filtered(power: Tensor) -> Tensor:
    """What the recogniser's noise filter leaves, in bands instead of frequencies."""
    frames = power.permute(2, 0, 1).double().cpu().numpy()
    gain = NoiseGain(frames.shape[1:])
    gains = np.stack([gain.of(frame) for frame in frames])
    return power * torch.from_numpy(gains).to(power).permute(1, 2, 0) ** 2


def _by_phone(phones: Tensor, bins: int, spread: float, generator: torch.Generator) -> Tensor:
    """A curve over the bands for each phone of each row, float32 [B, bins, T], changing gradually."""
    rows = len(phones)
    drawn = torch.randn(rows, UNKNOWN_PHONE + 1, _PHONE_KNOTS, generator=generator) * spread
    drawn[:, 0] = drawn[:, UNKNOWN_PHONE] = 0  # silence, and what is not known
    curves = interpolate(drawn, bins, mode="linear", align_corners=True)
    heard = curves.gather(1, phones[:, :, None].expand(-1, -1, bins)).transpose(1, 2)
    return avg_pool1d(heard.repeat_interleave(2, 2), 5, 1, 2, count_include_pad=False)


def _slope(bins: int) -> Tensor:
    return torch.linspace(0, 1, bins)[None, :, None]


def _warped(mel: Tensor, factor: Tensor) -> Tensor:
    """Divide frequencies by `factor` [B, bins or 1, T or 1], as a longer or shorter throat does."""
    bins = mel.shape[1]
    spacing = _mel(torch.tensor(SAMPLE_RATE_HZ / 2)) / (bins + 1)
    centres_mel = spacing * torch.arange(1, bins + 1)
    above = 1000 * torch.exp((centres_mel - 15) * math.log(6.4) / 27)
    centres_hz = torch.where(centres_mel < 15, centres_mel * 200 / 3, above)
    place = (_mel(centres_hz[:, None] * factor) / spacing - 1).clamp(0, bins - 1).expand_as(mel)
    low = place.long().clamp_max(bins - 2)
    return mel.gather(1, low).lerp(mel.gather(1, low + 1), place - low)


def _mel(hz: Tensor) -> Tensor:
    """Slaney's scale, as `asr.frontend` counts it."""
    return torch.where(hz < 1000, 3 * hz / 200, 15 + 27 * torch.log(hz / 1000) / math.log(6.4))
