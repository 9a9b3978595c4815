"""How far a waveform is from another to the ear: log magnitudes at several resolutions.

Phase is free: at 12.5 frames a second the latents could not carry it. (The published codec adds
adversaries and a waveform term, arXiv 2603.25551 §2.1; on two cores the spectra are what pays.)
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from tts.interface import SAMPLE_RATE_HZ

RESOLUTIONS = ((2048, 512, 96), (1024, 256, 80), (512, 128, 48), (256, 64, 24))
"""FFT length, hop, mel bands; samples at 24 kHz."""
_FLOOR = 1e-3
_MEL_FLOOR = 3e-3
_QUIET_ENERGY = 0.05  # of a 64 ms window at 8 kHz, about -43 dBFS: below it nothing is periodic


@cache
def mel_bands(n_mels: int, n_fft: int) -> Tensor:
    """[n_fft // 2 + 1, n_mels] triangles from 30 Hz to 12 kHz, each summing to about its width."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (30.0, SAMPLE_RATE_HZ / 2))
    edges = 700 * (10 ** (np.linspace(low, high, n_mels + 2) / 2595) - 1)
    hz = np.linspace(0, SAMPLE_RATE_HZ / 2, n_fft // 2 + 1)
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    return torch.tensor(np.clip(np.minimum(rising, falling), 0, None).T, dtype=torch.float32)


@cache
def _window(n_fft: int) -> Tensor:
    return torch.hann_window(n_fft)


def magnitudes(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    """[B, samples] fp32 to [B, frames, n_fft // 2 + 1], scaled so that length does not matter."""
    padded = torch.nn.functional.pad(wave, (n_fft // 2, n_fft // 2))
    windows = padded.unfold(1, n_fft, hop) * _window(n_fft).to(wave.device)
    spectrum = torch.view_as_real(torch.fft.rfft(windows))
    return (spectrum.square().sum(-1) / n_fft + 1e-9).sqrt()


def log_mel(wave: Tensor, n_mels: int, n_fft: int, hop: int) -> Tensor:
    """[B, samples] fp32 to [B, frames, n_mels] natural log of the banded magnitude."""
    bands = magnitudes(wave, n_fft, hop) @ mel_bands(n_mels, n_fft).to(wave.device)
    return torch.log(bands + _MEL_FLOOR)


def periodicity(wave: Tensor) -> Tensor:
    """[B, samples] fp32 to [B, frames, lags]: how alike each 64 ms is to itself a pitch period later.

    Normalised autocorrelation at lags of 60 to 400 Hz, on the waveform thinned to 8 kHz. It says
    nothing about phase, but unlike magnitudes it falls when harmonics do not run on from one window
    of the codec to the next, which is heard as hoarseness.
    """
    thin = torch.nn.functional.avg_pool1d(wave[:, None], 3)[:, 0]
    windows = thin.unfold(1, 512, 128) * _window(512).to(wave.device)
    power = torch.view_as_real(torch.fft.rfft(windows, 1024)).square().sum(-1)
    correlation = torch.fft.irfft(power)[..., :133]
    return correlation[..., 20:] / (correlation[..., :1] + _QUIET_ENERGY)


def spectral_distance(made: Tensor, target: Tensor, resolutions: tuple[int, ...]) -> Tensor:
    """Mean over resolutions of L1 distances: log magnitude, magnitude, log mel.

    Args:
        made: fp32 [B, samples].
        target: fp32 [B, samples].
        resolutions: Which of `RESOLUTIONS` to use.
    """
    total = made.new_zeros(())
    for index in resolutions:
        n_fft, hop, n_mels = RESOLUTIONS[index]
        bands = mel_bands(n_mels, n_fft).to(made.device)
        ours = magnitudes(made, n_fft, hop)
        with torch.no_grad():
            theirs = magnitudes(target, n_fft, hop)
            their_log, their_mel = (theirs + _FLOOR).log(), (theirs @ bands + _MEL_FLOOR).log()
        total = total + 0.5 * ((ours + _FLOOR).log() - their_log).abs().mean()
        total = total + 2.5 * (ours - theirs).abs().mean()
        total = total + ((ours @ bands + _MEL_FLOOR).log() - their_mel).abs().mean()
    return total / len(resolutions)
