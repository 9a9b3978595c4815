"""What can be known of the GPU without one."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from asr.config import AsrConfig
from asr.engine import FORK_ROWS, VoxtralRealtimeEngine
from asr.engine import MAX_STREAMS as MOST_CALLERS
from asr.model import VoxtralRealtime
from asr.state import StreamState
from backbone.cache import KvCache
from backbone.cuda import WARMUP_RUNS, Graphs, rows_that_fit
from backbone.decoder import Decoder
from common.errors import ParleyError
from tests.asr.tiny import checkpoint as write_ears
from tests.asr.tiny import published_params
from tests.tts.checkpoints import write_checkpoint as write_voice
from tests.tts.sizes import PUBLISHED
from tts.config import TtsConfig
from tts.engine import MAX_TOKENS, VoxtralTtsEngine, _rows
from tts.model import TtsModel

GPU = torch.device("cuda")


class Stream:
    def wait_stream(self, other: Stream) -> None:
        pass


class Graph:
    def replay(self) -> None:
        pass


@pytest.fixture
def captures(monkeypatch):
    """A CUDA that bears no second capture beside the first; the settings of each capture."""
    underway, settings = threading.Lock(), []

    @contextmanager
    def graph(captured, **how):
        assert underway.acquire(blocking=False), "two captures at once"
        time.sleep(0.01)
        settings.append(how)
        yield
        underway.release()

    for name, stand_in in {
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": Graph,
        "graph_pool_handle": object,
        "graph": graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return settings


def test_one_graph_at_a_time_is_captured_in_the_process(captures):
    failed = []

    def engine():
        graphs = Graphs()
        try:
            for key in range(5):
                graphs.capture(key, lambda: None)
        except AssertionError as error:
            failed.append(error)

    threads = [threading.Thread(target=engine) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(captures) == 15
    assert {how["capture_error_mode"] for how in captures} == {"thread_local"}


def test_graphs_share_a_pool_and_replay_what_they_captured(captures):
    graphs, runs = Graphs(), []
    for key in ("a", "b"):
        graphs.capture(key, lambda key=key: runs.append(key) or key)
    assert runs == ["a"] * (WARMUP_RUNS + 1) + ["b"] * (WARMUP_RUNS + 1)
    assert (graphs.replay("a"), graphs.replay("b")) == ("a", "b")
    assert captures[0] == captures[1]  # the same pool and stream
    with pytest.raises(KeyError):
        graphs.replay("c")


@pytest.fixture
def card(monkeypatch):
    """A GPU's memory in bytes; what torch holds without using it is free once it was given back."""
    memory = SimpleNamespace(free=0, held=0)

    def give_back():
        memory.free, memory.held = memory.free + memory.held, 0

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (memory.free, 10**12))
    monkeypatch.setattr(torch.cuda, "empty_cache", give_back)
    return memory


@pytest.mark.parametrize(
    ("free_gb", "least", "most", "rows"),
    [(100, 1, 32, 32), (20, 1, 32, 17), (3, 2, 32, 2), (20, 17, 17, 17)],
)
def test_there_are_as_many_rows_as_fit(card, free_gb, least, most, rows):
    card.free = free_gb * 10**9
    assert rows_that_fit(GPU, 10**9, least=least, most=most) == rows


def test_memory_that_torch_holds_unused_has_room_for_rows(card):
    card.free, card.held = 5 * 10**9, 5 * 10**9
    assert rows_that_fit(GPU, 10**9, least=1, most=32) == 8


def test_rows_asked_for_may_take_more_than_the_share(card):
    card.free = 100
    assert rows_that_fit(GPU, 1, least=1, most=32, share=0.15) == 15
    assert rows_that_fit(GPU, 1, least=32, most=32, share=0.15) == 32


def test_streams_that_do_not_fit_are_refused_with_the_sizes(card):
    card.free = 2 * 10**9
    with pytest.raises(ParleyError, match=r"2\.0 GB free; 3 streams of 1\.0 GB"):
        rows_that_fit(GPU, 10**9, least=3, most=130)


def test_attention_is_not_left_to_a_library_that_plans_each_new_shape():
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.parametrize(
    ("card_gib", "speakers", "callers"), [(22.0, 6, 1), (23.6, 7, 2), (47.4, 19, 20)]
)
def test_the_published_voice_and_ears_fit_one_card(card, card_gib, speakers, callers):
    """By arithmetic only: weights and state, 0.6 GB for CUDA itself, 0.3 GB for each one's graphs.

    Cards of 24 GB have 22.0 GiB for us when they check their memory (A10, L4), else 23.6.
    """
    cuda_bytes, graph_bytes = 600_000_000, 300_000_000
    with torch.device("meta"):
        ears = VoxtralRealtime(AsrConfig.from_params(published_params())).bfloat16()
        voice = TtsModel(TtsConfig.from_params(PUBLISHED)).bfloat16()
    card.free = int(card_gib * 2**30) - cuda_bytes - weight_bytes(voice)
    on_gpu = SimpleNamespace(device=GPU, dtype=torch.bfloat16)
    loaded = SimpleNamespace(config=voice.config, norm=SimpleNamespace(weight=on_gpu))
    rows = _rows(loaded, MAX_TOKENS, None)
    assert rows == speakers
    ring = KvCache.allocate(
        voice.config, 1, max_tokens=MAX_TOKENS, device="meta", dtype=torch.bfloat16
    )
    card.free -= rows * ring.row_bytes + graph_bytes + weight_bytes(ears)
    forks = FORK_ROWS["cuda"]
    row_bytes = StreamState.allocate(ears, 1).row_bytes
    rows = rows_that_fit(GPU, row_bytes, least=1 + forks, most=MOST_CALLERS["cuda"] + forks)
    assert rows - forks == callers
    silence_bytes = StreamState.allocate(ears, 1, max_tokens=32).row_bytes
    spare = card.free - rows * row_bytes - graph_bytes - silence_bytes
    assert spare > 900_000_000  # prompts being taken in, and what was overlooked


@pytest.mark.parametrize(
    ("load", "write", "whose"),
    [
        (VoxtralRealtimeEngine.load, write_ears, "ears"),
        (VoxtralTtsEngine.load, write_voice, "voice"),
    ],
)
def test_memory_that_runs_out_after_the_weights_is_told(monkeypatch, tmp_path, load, write, whose):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    write(tmp_path / "checkpoint")
    monkeypatch.setattr(Decoder, "fuse", full)
    with pytest.raises(ParleyError, match=f"no room for the {whose}") as caught:
        load(tmp_path / "checkpoint", device="cpu")
    assert "nvidia-smi" in caught.value.cure


def weight_bytes(model: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in model.state_dict().values())
