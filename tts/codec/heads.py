"""From the decoder's 100 Hz output channels to samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tts.codec.past import Past

MAX_LOG_MAGNITUDE = 6.0
RESTING_LOG_MAGNITUDE = -3.0
"""Where a new decoder starts: about the mean log magnitude of speech at a normal level."""


class PatchHead(nn.Module):
    """As published: the channels of a step are its samples."""

    past_values = 0

    def __init__(self, patch_samples: int):
        super().__init__()
        self.channels = patch_samples

    def forward(self, y: Tensor, past: Past | None = None) -> Tensor:
        """[B, T, patch] to [B, T * patch]."""
        return y.flatten(1)


class IstftHead(nn.Module):
    """A step's channels are log magnitudes and phases of a window of two steps, overlap-added.

    The window of step n spans steps n and n + 1, so step n's samples are final at once. Training may
    aim at a waveform delayed by one step: then every sample is drawn by a window that had seen it.
    Learnt per bin: the log magnitude at rest, as the decoder itself has no biases.
    """

    def __init__(self, patch_samples: int, n_fft: int):
        super().__init__()
        bins = n_fft // 2 + 1
        self.patch_samples, self.n_fft, self.channels = patch_samples, n_fft, 2 * bins
        self.resting = nn.Parameter(torch.full((bins,), RESTING_LOG_MAGNITUDE))
        self.register_buffer("window", torch.hann_window(n_fft, device="cpu"), persistent=False)
        self.past_values = patch_samples

    def forward(self, y: Tensor, past: Past | None = None) -> Tensor:
        """[B, T, n_fft + 2] to fp32 [B, T * patch]."""
        with torch.autocast(y.device.type, enabled=False):
            log_magnitude, phase = y.float().chunk(2, dim=-1)
            log_magnitude = (log_magnitude + self.resting.float()).clamp(max=MAX_LOG_MAGNITUDE)
            spectrum = torch.polar(log_magnitude.exp(), phase)
            windows = torch.fft.irfft(spectrum, self.n_fft) * self.window.float()
        head, tail = windows.split(self.patch_samples, dim=-1)
        before = torch.zeros_like(tail[:, :1]) if past is None else past.take(1, self.past_values)
        if past is not None:
            past.leave(tail[:, -1:])
        return (head + torch.cat([before.to(tail.dtype), tail[:, :-1]], dim=1)).flatten(1)
