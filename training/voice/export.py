"""Turn a trained codec and speech model into a checkpoint folder the engine opens, and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from backbone.checkpoint import load_weights, read_params, save_checkpoint, weight_files
from training.voice.corpus import speak
from training.voice.flite import Teacher
from training.voice.speakers import SHIPPED, Shipped
from tts.codec import Codec
from tts.config import CodecConfig, TtsConfig
from tts.model import TtsModel
from tts.voices import VoiceCard, fingerprint

VOICE_TEXT = "Hello, I would like to tell you how my day has been, and what we could do tomorrow."
"""What every shipped voice says in its reference."""
_FRONT_END = ("phonemes.json", "lexicon.json.xz")
_VOICE_LICENCE = "Made with flite from a CMU ARCTIC voice (free for any use)."


def load_codec(state_path: Path) -> tuple[Codec, dict[str, Any]]:
    """The codec of a training state, its training-only norm folded away, and its parameters."""
    state = torch.load(state_path, weights_only=True)
    config = dict(state["config"])
    codec = Codec(CodecConfig(**config))
    prefix = "codec."
    codec.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state["model"].items() if k.startswith(prefix)}
    )
    codec.eval().fold_semantic_norm()
    config["semantic_norm"] = False
    return codec, config


def unpack(folder: Path, work: Path) -> None:
    """Lay out a checkpoint as the states and the front end it was exported from, to train on.

    Args:
        folder: The checkpoint, encoder included.
        work: Gets `codec/state.pt`, `before/state.pt` (the speech model's) and `front-end`.
    """
    params = read_params(folder)
    model = TtsModel(TtsConfig.from_params(params), encoder=True)
    load_weights(model, weight_files(folder), dtype=torch.float32)
    codec = params["multimodal"]["audio_tokenizer_args"]
    del codec["voice"]
    weights, own = model.state_dict(), "audio_tokenizer."
    of_codec = {f"codec.{k.removeprefix(own)}": v for k, v in weights.items() if k.startswith(own)}
    of_speech = {k: v for k, v in weights.items() if not k.startswith(own)}
    for name, state in (
        ("codec", {"config": codec, "model": of_codec}),
        ("before", {"model": of_speech}),
    ):
        (work / name).mkdir(parents=True, exist_ok=True)
        torch.save(state, work / name / "state.pt")
    (work / "front-end").mkdir(exist_ok=True)
    for name in _FRONT_END:
        shutil.copy(folder / name, work / "front-end" / name)


def published_params(params: dict[str, Any], codec: dict[str, Any]) -> dict[str, Any]:
    """`params.json` of the checkpoint: the speech model's sections with the codec's in place."""
    params = json.loads(json.dumps(params))
    voices = {voice.name: index for index, voice in enumerate(SHIPPED)}
    params["multimodal"]["audio_tokenizer_args"] = {**codec, "voice": voices}
    return params


def export(
    folder: Path, params: dict[str, Any], codec: Codec, speech_states: list[Path], front_end: Path
) -> None:
    """Write the whole checkpoint in bf16, the codebook's statistics in fp32, and its voices.

    Of several states of the speech model the mean of their weights is taken.
    """
    model = TtsModel(TtsConfig.from_params(params), encoder=True)
    states = [torch.load(path, weights_only=True)["model"] for path in speech_states]
    own = {name: sum(state[name] for state in states) / len(states) for name in states[0]}
    model.load_state_dict(own, strict=False)
    model.audio_tokenizer = codec
    missing = [
        n for n, _ in model.named_parameters() if n not in own and "audio_tokenizer" not in n
    ]
    assert not missing, missing
    model.to(torch.bfloat16)
    model.audio_tokenizer.quantizer.float()
    save_checkpoint(folder, params, model)
    for name in _FRONT_END:
        shutil.copy(front_end / name, folder / name)
    save_voices(folder / "voices", model.audio_tokenizer.float())


@torch.no_grad()
def reference(codec: Codec, voice: Shipped) -> torch.Tensor:
    """Raw codes int64 [frames, codebooks] of what a shipped voice says in its reference."""
    pcm, _ = speak(Teacher(voice.manner.base), VOICE_TEXT, voice.manner)
    return codec.encode(torch.from_numpy(pcm)[None])[0]


def save_voices(folder: Path, codec: Codec) -> None:
    """One folder per shipped voice: its card and the codes of one reference sentence."""
    shutil.rmtree(folder, ignore_errors=True)
    for voice in SHIPPED:
        codes = reference(codec, voice)
        home = folder / voice.name
        home.mkdir(parents=True)
        card = VoiceCard(
            name=voice.name,
            description=voice.description,
            licence=_VOICE_LICENCE,
            codec=fingerprint(codec),
        )
        save_file({"codes": codes.to(torch.int16)}, home / "voice.safetensors")
        text = yaml.safe_dump(card.model_dump(exclude_none=True), sort_keys=False)
        (home / "voice.yaml").write_text(text)
