"""What the encoder is told besides the samples: the magnitudes an iSTFT head will have to state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tts.codec.past import Past

_FLOOR = 1e-3
_CENTRE, _SCALE = -2.0, 0.5
"""About the mean log magnitude of speech at a normal level, and one over its spread."""


class LogMagnitudes(nn.Module):
    """A step's log magnitudes over the window that ends with it, two steps long.

    Samples move with phase, magnitudes do not: an encoder this small, given only samples, spends its
    width on finding them and still blurs the formants of high voices.
    """

    def __init__(self, patch_samples: int):
        super().__init__()
        self.past_values, self.bins = patch_samples, patch_samples + 1
        n_fft = 2 * patch_samples
        self._floor = _FLOOR * n_fft**0.5
        self.register_buffer("window", torch.hann_window(n_fft, device="cpu"), persistent=False)

    def forward(self, patches: Tensor, past: Past | None = None) -> Tensor:
        """[B, T, patch] samples to fp32 [B, T, patch + 1]; silence stands before the first."""
        before = torch.zeros_like(patches[:, :1])
        if past is not None:
            before = past.take(1, self.past_values).to(patches.dtype)
            past.leave(patches[:, -1:])
        earlier = torch.cat([before, patches[:, :-1]], dim=1)
        with torch.autocast(patches.device.type, enabled=False):
            windows = (
                torch.cat([earlier, patches], dim=-1).float() * self.get_buffer("window").float()
            )
            magnitude = (
                torch.view_as_real(torch.fft.rfft(windows)).square().sum(-1).add(1e-12).sqrt()
            )
            return ((magnitude + self._floor).log() - _CENTRE) * _SCALE
