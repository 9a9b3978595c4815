"""What is captured as a CUDA graph may not touch the host: shown on tensors of no memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import asr.graphs
from asr.config import AsrConfig
from asr.graphs import GraphedSteps
from asr.model import VoxtralRealtime
from asr.words import StreamingIds
from tests.asr.tiny import params
from tests.fakes.graphs import RerunGraphs
from tests.tts.sizes import toy
from tts.config import TtsConfig
from tts.model import TtsModel
from tts.speaking import EXTENT_STEP, SpeakingBatch

GPU = torch.device("meta")  # stands for one: reading a value from it is an error


class NoHost(TorchDispatchMode):
    """Fails on an operation that mixes the GPU's tensors with the host's, or copies between them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given, made = (
            {t.device for t in tree_leaves(each) if isinstance(t, Tensor) and t.ndim}
            for each in ((args, kwargs), out)
        )
        assert len(given | made) < 2, f"{func} on {given} gives {made}"
        return out


@torch.inference_mode()
def test_the_ears_decide_on_the_gpu_alone(monkeypatch):
    monkeypatch.setattr(asr.graphs, "Graphs", RerunGraphs)
    with GPU:
        model = VoxtralRealtime(AsrConfig.from_params(params())).bfloat16()
    steps = GraphedSteps(model, StreamingIds(1, 32, 33), 4)
    steps._encode(2)  # as before a capture: what is made once is made
    steps._decode(2, 256)
    with NoHost():
        steps._encode(2)
        steps._decode(2, 256)


@torch.inference_mode()
def test_the_voice_makes_a_frame_on_the_gpu_alone(monkeypatch):
    monkeypatch.setitem(EXTENT_STEP, "meta", 512)
    sizes = toy()
    sizes["multimodal"]["audio_model_args"]["alignment_heads"] = [[0, 1]]
    with GPU:
        model = TtsModel(TtsConfig.from_params(sizes)).bfloat16().eval()
    model.to(GPU).fuse()
    batch = SpeakingBatch(model, 4, max_tokens=512)
    batch._frame(2, 512)
    with NoHost():
        batch._frame(2, 512)
