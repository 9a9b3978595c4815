"""Log-mel spectrogram at 100 frames a second, the same whether a clip or a trickle comes in.

Frame f covers samples [160 f - 200, 160 f + 200) of the padded stream, so the eight frames of one
token need 1,520 samples and look 40 samples (2.5 ms) ahead.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.config import HOP_SAMPLES, WINDOW_SAMPLES
from asr.interface import SAMPLE_RATE_HZ

HALF_WINDOW_SAMPLES = WINDOW_SAMPLES // 2
LOOK_BACK_SAMPLES = HALF_WINDOW_SAMPLES
LOOK_AHEAD_SAMPLES = HALF_WINDOW_SAMPLES - HOP_SAMPLES
SILENCE = -0.625
"""What digital silence looks like, in every bin, with the published floor."""


class LogMel:
    """Whisper's log-mel with a fixed floor (Voxtral Realtime, arXiv 2602.11298).

    Args:
        num_mel_bins: Filters between 0 and 8 kHz.
        global_log_mel_max: Values more than 8 below this (log10) are raised to the floor.
        device: Where the spectrogram is computed, in float32.
    """

    def __init__(
        self,
        num_mel_bins: int,
        global_log_mel_max: float = 1.5,
        device: torch.device | str = "cpu",
    ):
        self._window = torch.hann_window(WINDOW_SAMPLES, device=device)
        self._bank = mel_bank(num_mel_bins).to(device, torch.float32)
        self._floor = 10.0 ** (global_log_mel_max - 8.0)

    def frames(self, pcm: Tensor) -> Tensor:
        """Frames of samples that already carry their context.

        Args:
            pcm: float32 [B, 160 * T + 240].

        Returns:
            float32 [B, num_mel_bins, T].
        """
        windows = pcm.float().unfold(-1, WINDOW_SAMPLES, HOP_SAMPLES) * self._window
        spectrum = torch.view_as_real(torch.fft.rfft(windows))
        mel = spectrum.square().sum(-1) @ self._bank
        return torch.add(1.0, mel.clamp_min(self._floor).log10(), alpha=0.25).transpose(1, 2)

    def clip(self, pcm: Tensor) -> Tensor:
        """Spectrogram of whole clips, the edges mirrored.

        Args:
            pcm: float32 [B, n] with n > 200.

        Returns:
            float32 [B, num_mel_bins, n // 160].
        """
        count = pcm.shape[-1] // HOP_SAMPLES
        padded = F.pad(pcm[:, None], (HALF_WINDOW_SAMPLES,) * 2, mode="reflect")[:, 0]
        return self.frames(padded)[..., :count]


def mel_bank(num_mel_bins: int) -> Tensor:
    """Triangular filters of equal area on Slaney's mel scale, float64 [201, num_mel_bins]."""
    bins_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, WINDOW_SAMPLES // 2 + 1, dtype=torch.float64)
    top = _to_mel(SAMPLE_RATE_HZ / 2)
    edges = _to_hz(torch.linspace(0, top, num_mel_bins + 2, dtype=torch.float64))
    rising = (bins_hz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins_hz[:, None]) / (edges[2:] - edges[1:-1])
    area = 2.0 / (edges[2:] - edges[:-2])
    return torch.minimum(rising, falling).clamp_min(0) * area


# Slaney's scale: linear below 1 kHz (15 mel), then a factor of 6.4 every 27 mel.
def _to_mel(hz: float) -> float:
    return 3 * hz / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _to_hz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))
