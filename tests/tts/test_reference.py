"""The heads and the codec against vLLM-Omni 0.30.0, which serves the published weights.

It cannot be installed without a GPU's whole serving stack, so what its classes gave for the weights
below was written down here.
"""

from __future__ import annotations

import torch

from tests.tts.sizes import toy
from tts.config import N_SPECIAL_CODES, TtsConfig
from tts.model import TtsModel


def wave(count: int, pitch: float) -> torch.Tensor:
    """Numbers without pattern that are the same everywhere, in [-1, 1]."""
    return torch.sin(pitch * torch.arange(1, count + 1, dtype=torch.float64) ** 1.5).float()


def model_of_waves() -> TtsModel:
    """A toy with eight codec heads, so that ALiBi has the published slopes."""
    config = TtsConfig.from_params(toy(head_dim=4, n_heads=8, n_kv_heads=8))
    model = TtsModel(config, encoder=True).eval().requires_grad_(False)
    for index, (name, tensor) in enumerate(model.state_dict().items()):
        numbers = wave(tensor.numel(), 1.7 + 0.01 * index).view_as(tensor)
        if "norm" in name or "original0" in name or "cluster_usage" in name:
            numbers = 1 + 0.5 * numbers
        elif "scale" not in name:
            numbers = 1.3 * numbers / max(8, tensor[0].numel()) ** 0.5
        tensor.copy_(numbers)
    return model


def test_frames_have_the_reference_s_codes() -> None:
    hidden, noise = wave(6 * 32, 0.9).view(6, 32), 0.5 * wave(6 * 6, 1.1).view(6, 6)
    may_end = torch.ones(6, dtype=torch.bool)
    codes = model_of_waves().acoustic_transformer.next_frame(hidden, noise, may_end)
    assert (codes + N_SPECIAL_CODES).tolist() == [
        [47, 10, 18, 2, 15, 6, 2],
        [10, 21, 11, 21, 15, 17, 12],
        [32, 22, 18, 8, 22, 12, 8],
        [38, 22, 2, 2, 22, 20, 2],
        [6, 2, 11, 3, 5, 10, 2],
        [46, 19, 10, 22, 2, 19, 18],
    ]


def test_codes_have_the_reference_s_sound() -> None:
    """Two utterances of 30 frames: the decoder looks back over 21. Every 5,011th sample."""
    semantic = (wave(60, 2.3).view(2, 30, 1) * 31.5 + 32).long()
    acoustic = (wave(360, 2.9).view(2, 30, 6) * 10 + 10.5).long()
    sound = model_of_waves().audio_tokenizer.decode(torch.cat((semantic, acoustic), 2))
    first = [-0.1845, -0.2035, -1.3981, 1.4805, -0.248, -1.7199, 0.3947, -0.1392]
    first += [0.9477, -0.7597, 0.9985, 0.5493]
    second = [0.0414, -1.1916, -0.0967, -1.5702, 0.2254, -0.487, -0.035, -0.3938]
    second += [1.814, 0.8944, -3.6405, -2.0836]
    expected = torch.tensor([first, second])
    torch.testing.assert_close(sound[:, 1::5011], expected, rtol=0, atol=2e-4)


def test_sound_has_the_reference_s_codes() -> None:
    sound = wave(1920 * 5, 0.01)[None]
    assert model_of_waves().audio_tokenizer.encode(sound).tolist() == [
        [
            [12, 20, 2, 20, 2, 10, 20],
            [34, 20, 1, 20, 1, 14, 19],
            [12, 20, 9, 20, 4, 5, 20],
            [12, 20, 0, 20, 4, 3, 15],
            [40, 19, 19, 2, 5, 8, 20],
        ]
    ]
