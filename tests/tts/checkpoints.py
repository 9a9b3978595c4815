"""Checkpoint folders with random weights: everything a real one has, small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from mistral_common.tokens.tokenizers import tekken

from backbone.checkpoint import save_checkpoint
from tests.tts.sizes import toy
from tts.config import TtsConfig
from tts.model import TtsModel

BUNDLED_TEKKEN = Path(tekken.__file__).parents[2] / "data" / "tekken_240911.json"


def small_tekken() -> dict[str, Any]:
    """The bundled Tekken file cut down to 1000 specials, 256 bytes and some merges."""
    content: dict[str, Any] = json.loads(BUNDLED_TEKKEN.read_bytes())
    content["config"] |= {"default_vocab_size": 3000}
    return content


def write_checkpoint(folder: Path, *, encoder: bool = True, **audio: Any) -> Path:
    """A checkpoint with random weights that speaks about as long as it is allowed to."""
    torch.manual_seed(1)
    params = toy()
    params["vocab_size"] = 3000
    params["multimodal"]["audio_model_args"] |= audio
    model = TtsModel(TtsConfig.from_params(params), encoder=encoder)
    save_checkpoint(folder, params, model)
    (folder / "tekken.json").write_text(json.dumps(small_tekken()))
    presets = folder / "voice_embedding"
    presets.mkdir()
    for index, name in enumerate(("casual_female", "casual_male", "pt_male")):
        rows = model.voice_rows(torch.randint(20, (5 + index, 7))).detach()
        torch.save(rows.to(torch.bfloat16), presets / f"{name}.pt")
    return folder
