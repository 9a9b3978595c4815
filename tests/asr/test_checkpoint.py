from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from asr.checkpoint import load_model
from asr.config import AsrConfig
from common.errors import CheckpointError, ParleyError
from tests.asr.reference import hugging_face_tensors
from tests.asr.tiny import checkpoint, params, random_model

PARAMS = params(layers=2, encoder_layers=1)


@pytest.fixture
def folder(tmp_path):
    return checkpoint(tmp_path, PARAMS)


def test_a_folder_gives_back_the_model_in_the_dtype_asked_for(folder):
    model, saved = load_model(folder), random_model(PARAMS)
    for (name, ours), theirs in zip(
        model.state_dict().items(), saved.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    assert not any(parameter.requires_grad for parameter in model.parameters())
    half = load_model(folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_the_hugging_face_layout_holds_the_same_model(folder):
    tensors = hugging_face_tensors(random_model(PARAMS))
    tensors["language_model.lm_head.weight"] = tensors[
        "language_model.model.embed_tokens.weight"
    ].clone()
    (folder / "consolidated.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    theirs, ours = load_model(folder), random_model(PARAMS)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], tensor), name


def test_one_error_lists_everything_that_differs(folder):
    weights = folder / "consolidated.safetensors"
    tensors = load_file(weights)
    del tensors["norm.weight"]
    tensors["output.weight"] = torch.zeros(3)
    tensors["layers.0.attention.wq.weight"] = torch.zeros(2, 2)
    save_file(tensors, weights)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "missing (1): norm.weight" in message
    assert "not of this model (1): output.weight" in message
    assert "layers.0.attention.wq.weight [2, 2] not [64, 48]" in message


def test_a_truncated_file_is_a_clear_error(folder):
    weights = folder / "consolidated.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="download complete"):
        load_model(folder)


def test_missing_files_say_what_a_folder_needs(folder):
    (folder / "consolidated.safetensors").unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_model(folder)
    (folder / "params.json").unlink()
    with pytest.raises(CheckpointError, match=r"tekken\.json"):
        load_model(folder)


def test_foreign_parameters_are_refused(folder):
    path = folder / "params.json"
    path.write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        load_model(folder)
    path.write_text(json.dumps({"dim": 4096}))
    with pytest.raises(CheckpointError, match="not that of a Voxtral Realtime"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"dim": None}, "lacks dim"),
        ({"sliding_window": None}, "sliding_window"),
        ({"n_heads": 3}, "cannot share"),
        ({"sliding_window": "many"}, "malformed"),
    ],
)
def test_parameters_that_make_no_sense_say_so(change, complaint):
    changed = {k: v for k, v in (PARAMS | change).items() if v is not None}
    with pytest.raises(CheckpointError, match=complaint):
        AsrConfig.from_params(changed)


def test_another_time_grid_is_refused():
    changed = json.loads(json.dumps(PARAMS))
    audio = changed["multimodal"]["whisper_model_args"]["encoder_args"]["audio_encoding_args"]
    audio["frame_rate"] = 25
    with pytest.raises(CheckpointError, match="another time grid"):
        AsrConfig.from_params(changed)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_weights_stay_in_the_mapped_file_until_they_are_needed(folder):
    model = load_model(folder)
    ranges = [
        [int(end, 16) for end in line.split()[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith("consolidated.safetensors")
    ]
    for name, parameter in model.named_parameters():
        assert any(start <= parameter.data_ptr() < stop for start, stop in ranges), name


@pytest.mark.parametrize("slow", [False, True])
def test_loading_shows_a_bar_only_when_it_takes_noticeable_time(folder, slow, capsys, monkeypatch):
    if slow:
        monkeypatch.setattr("backbone.checkpoint.SHOW_PROGRESS_AFTER_S", 0.0)
    load_model(folder)
    assert ("loading weights" in capsys.readouterr().err) == slow


def test_weights_that_do_not_fit_say_so(folder, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.Tensor, "to", full)
    with pytest.raises(ParleyError, match=f"{folder} do not fit into the memory that cpu has left"):
        load_model(folder)
