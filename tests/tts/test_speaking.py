"""The batch: prefixes shared, rows independent, words followed by attention."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backbone.cache import KvCache
from tests.fakes.graphs import RerunGraphs
from tests.tts.checkpoints import write_checkpoint
from tests.tts.sizes import toy
from tts.alignment import AlignmentProbe, Pace, WordClock
from tts.checkpoint import load_model
from tts.config import TtsConfig
from tts.graphs import GraphedFrame
from tts.model import TtsModel
from tts.speaking import Said, SpeakingBatch, Start
from tts.text import Clause, PlannedWord

VOICES = {"a": 9, "b": 5}
IDS = (1003, 1010, 1020, 1030)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TtsModel:
    folder = tmp_path_factory.mktemp("speaking") / "toy"
    write_checkpoint(folder, alignment_heads=[[0, 1], [1, 3]])
    return load_model(folder, torch.device("cpu"))


def new_batch(model: TtsModel) -> SpeakingBatch:
    batch = SpeakingBatch(model, 4, max_tokens=256)
    for name, frames in VOICES.items():
        batch.add_voice(name, voice_rows(model, frames))
    return batch


def voice_rows(model: TtsModel, frames: int) -> torch.Tensor:
    codes = torch.randint(20, (frames, 7), generator=torch.Generator().manual_seed(3))
    return model.voice_rows(codes.to(model.norm.weight.device))


def never_ends(model: TtsModel, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = model.acoustic_transformer.semantic_logits
    monkeypatch.setattr(
        model.acoustic_transformer,
        "semantic_logits",
        lambda h: plain(h).index_fill(1, torch.tensor([1]), -torch.inf),
    )


def speak(batch: SpeakingBatch, row: int, frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([batch.step([row], [generator])[0].codes for _ in range(frames)])


@torch.inference_mode()
def test_a_row_speaks_as_one_unbroken_sequence_would(
    model: TtsModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefix sharing, cached steps and rewound rows against a forward over everything."""
    never_ends(model, monkeypatch)
    batch = new_batch(model)
    batch.begin([Start(2, "a", (1050, 1051))])  # leaves something to be overwritten
    speak(batch, 2, 5)
    batch.reset(2)
    first = batch.begin([Start(2, "a", IDS)])[0]
    codes = speak(batch, 2, 8, seed=7)
    rows = voice_rows(model, VOICES["a"])
    assert first == len(rows) + 3
    x, positions, start = model.embed_utterance(rows, list(IDS), codes)
    hidden = model(x[None], positions[None])[0, start:]
    generator = torch.Generator().manual_seed(7)
    head = model.acoustic_transformer
    for frame in range(8):
        noise = torch.randn(6, generator=generator)[None]
        expected = head.next_frame(hidden[frame][None], noise, torch.tensor([frame > 0]))
        assert torch.equal(expected[0], codes[frame])


@torch.inference_mode()
def test_audio_of_a_row_is_the_codec_over_all_its_codes(
    model: TtsModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_ends(model, monkeypatch)
    batch, generator = new_batch(model), torch.Generator().manual_seed(0)
    batch.reset(1)
    codes, sound = [], []
    for clause in (IDS, IDS[::-1]):  # the codec goes on across clauses: no seam to click
        batch.begin([Start(1, "a", clause)])
        for _ in range(6):
            made = batch.step([1], [generator])[0]
            assert made.pcm is not None
            codes.append(made.codes)
            sound.append(made.pcm)
    offline = model.audio_tokenizer.decode(torch.stack(codes)[None])[0]
    torch.testing.assert_close(torch.cat(sound), offline, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_rows_come_go_and_sit_out_without_touching_each_other(
    model: TtsModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_ends(model, monkeypatch)
    alone = {}
    for row, voice in ((0, "a"), (1, "b"), (3, "a")):
        batch = new_batch(model)
        batch.begin([Start(row, voice, IDS[row:])])
        alone[row] = speak(batch, row, 12, seed=row)
    batch = new_batch(model)
    generators = {row: torch.Generator().manual_seed(row) for row in alone}
    made: dict[int, list[torch.Tensor]] = {row: [] for row in alone}
    begins = {0: 0, 1: 3, 3: 5}
    for step in range(40):
        for row, voice in ((0, "a"), (1, "b"), (3, "a")):
            if begins[row] == step:
                batch.begin([Start(row, voice, IDS[row:])])
        rows = [
            row for row in alone if begins[row] <= step and (step + row) % 3 and len(made[row]) < 12
        ]
        if rows:
            for row, spoken in zip(
                rows, batch.step(rows, [generators[r] for r in rows]), strict=True
            ):
                made[row].append(spoken.codes)
    for row, codes in alone.items():
        assert torch.equal(torch.stack(made[row]), codes), row


@torch.inference_mode()
def test_prompts_taken_in_together_equal_prompts_taken_in_alone(
    model: TtsModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_ends(model, monkeypatch)
    said = Said(IDS[:1], torch.randint(20, (3, 7)))
    starts = [Start(0, "a", IDS), Start(1, "b", IDS * 3), Start(3, "b", IDS[:1], said)]
    one, all_ = new_batch(model), new_batch(model)
    firsts = all_.begin(starts[::-1])[::-1]
    for start, first in zip(starts, firsts, strict=True):
        assert one.begin([start]) == [first]
    assert one._tokens == all_._tokens
    for start in starts:
        mine, other = (speak(batch, start.row, 6, seed=4) for batch in (one, all_))
        assert torch.equal(mine, other)


@torch.inference_mode()
def test_prompts_that_are_too_long_for_each_other_are_taken_in_alone(model: TtsModel) -> None:
    """Padded to the longest, the row with the longer voice would have to hold more than it can."""
    batch = SpeakingBatch(model, 3, max_tokens=64)
    for name, frames in {"long": 25, "short": 3}.items():
        batch.add_voice(name, voice_rows(model, frames))
    much = Said(IDS, torch.randint(20, (40, 7)))
    starts = [Start(0, "long", IDS), Start(1, "short", IDS, much), Start(2, "short", IDS)]
    batch.begin(starts)
    assert batch._tokens == [64 - batch.room_after(start) for start in starts]
    assert all(made.codes.shape == (7,) for made in batch.step([0, 1, 2], [torch.Generator()] * 3))


@torch.inference_mode()
def test_carrying_on_equals_having_said_it_all(
    model: TtsModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_ends(model, monkeypatch)
    batch = new_batch(model)
    batch.begin([Start(0, "a", IDS)])
    whole = speak(batch, 0, 10, seed=1)
    generator = torch.Generator().manual_seed(1)
    [torch.randn(6, generator=generator) for _ in range(4)]
    batch.begin([Start(1, "a", IDS[2:], Said(IDS[:2], whole[:4]))])
    rest = torch.stack([batch.step([1], [generator])[0].codes for _ in range(6)])
    assert torch.equal(rest, whole[4:])


@torch.inference_mode()
def test_the_probe_sees_what_attention_sees(model: TtsModel) -> None:
    seen = {}

    def remember(q: torch.Tensor, k: torch.Tensor, *_: object, **kwargs: object) -> torch.Tensor:
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        seen[len(seen)] = scores.unflatten(2, (-1, 9)).flatten(1, 2)[..., :9]  # by head
        return plain(q, k, *_, **kwargs)  # type: ignore[arg-type]

    probe = AlignmentProbe(model, [(0, 1), (1, 3)])
    cache = KvCache.allocate(model.config, 2, max_tokens=32)
    x = torch.randn(2, 9, model.config.dim)
    plain = torch.nn.functional.scaled_dot_product_attention
    torch.nn.functional.scaled_dot_product_attention = remember
    try:
        model(x, torch.arange(9)[None].expand(2, -1), cache, extent=9)
    finally:
        torch.nn.functional.scaled_dot_product_attention = plain
    expected = seen[0][:, 1, -1] + seen[1][:, 3, -1]
    torch.testing.assert_close(probe.scores(cache, 9), expected, rtol=1e-4, atol=1e-4)


def clause() -> Clause:
    words = tuple(
        PlannedWord(text, unit, share)
        for text, unit, share in (("one", 2, 0.2), ("two", 4, 0.5), ("three", 8, 1.0))
    )
    return Clause(tuple(range(8)), words, characters=10)


def test_words_follow_attention_and_never_go_back() -> None:
    clock = WordClock(clause(), 1000, Pace())
    heard = []
    for frame, unit in enumerate([0, 1, 1, 2, 0, 4, 5, 3, 7]):
        scores = torch.zeros(8)
        scores[unit] = 50.0
        heard += [(w.text, frame) for w in clock.frame(1000 + frame * 1920, scores)]
    assert heard == [("one", 3), ("two", 5)]
    last = clock.finish(1000 + 9 * 1920)
    assert [w.text for w in last] == ["three"]
    assert last[0].start_samples == 1000 + 5 * 1920
    assert last[0].end_samples == 1000 + 9 * 1920


def test_a_word_may_end_within_a_frame() -> None:
    clock = WordClock(clause(), 0, Pace())
    shares = torch.tensor([[0.9, 0.1], [0.25, 0.75]])  # of word one and of word two, frame by frame
    first, second = torch.zeros(2, 8).index_add(1, torch.tensor([1, 2]), shares).log()
    assert clock.frame(0, first) == ()
    (one,) = clock.frame(1920, second)
    assert one.end_samples == pytest.approx(1920 * (0.9 + 0.25), abs=1)


def test_without_alignment_words_follow_the_pace_and_the_pace_is_learnt() -> None:
    pace = Pace()
    clock = WordClock(clause(), 0, pace)
    heard = [[w.text for w in clock.frame(frame * 1920, None)] for frame in range(6)]
    assert heard == [[], ["one"], [], [], ["two"], []]
    assert [w.text for w in clock.finish(6 * 1920)] == ["three"]
    assert pace.characters_per_frame == pytest.approx((10 + 10) / (10 + 6))


@torch.inference_mode()
def test_bf16_speaks_too() -> None:
    torch.manual_seed(0)
    exact = TtsModel(TtsConfig.from_params(toy())).eval().requires_grad_(False)
    model = TtsModel(TtsConfig.from_params(toy())).eval().requires_grad_(False)
    model.load_state_dict(exact.state_dict())
    model.to(torch.bfloat16).audio_tokenizer.quantizer.float()
    exact.fuse()
    model.fuse()
    made = []
    for each in (exact, model):
        batch, generator = new_batch(each), torch.Generator().manual_seed(0)
        batch.begin([Start(0, "a", IDS), Start(1, "b", IDS)])
        spoken = [batch.step([0, 1], [generator, generator]) for _ in range(3)]
        assert all(s.pcm is None or s.pcm.dtype == torch.float32 for step in spoken for s in step)
        made.append(torch.stack([s.codes for s in spoken[0]]))
    # One frame from the same prompt: rounding moves a level here and there, not the sound.
    assert (made[0][:, 1:] - made[1][:, 1:]).abs().float().mean() < 1


def speak_side_by_side(one: SpeakingBatch, other: SpeakingBatch) -> None:
    """The outer rows, so that a batch computes the same rows with graphs and without."""
    for _ in range(8):
        made, expected = (
            batch.step([0, 3], [torch.Generator().manual_seed(row) for row in (0, 3)])
            for batch in (one, other)
        )
        for mine, its in zip(made, expected, strict=True):
            assert torch.equal(mine.codes, its.codes)


@torch.inference_mode()
def test_frames_from_graphs_equal_frames_without(
    model: TtsModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each replay runs eagerly: buckets, extents, and state as it was before capturing."""
    never_ends(model, monkeypatch)
    monkeypatch.setattr("tts.graphs.Graphs", RerunGraphs)
    graphed, eager = new_batch(model), new_batch(model)
    for batch in (graphed, eager):
        batch.begin([Start(0, "a", IDS), Start(3, "b", IDS[::-1])])
    speak_side_by_side(graphed, eager)  # there is a frame to take in while capturing
    graphed._graphs, graphed._extent_step = GraphedFrame(graphed._frame, graphed._state), 32
    graphed.warm_up()
    speak_side_by_side(graphed, eager)
    batch_sizes, extents = zip(*graphed._graphs._graphs.captured, strict=True)  # type: ignore[attr-defined]
    assert set(batch_sizes) == {1, 2, 4}
    assert set(extents) == set(range(32, 257, 32))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.inference_mode()
def test_graphs_replay_what_was_captured(tmp_path: Path) -> None:
    graphed = new_batch(load_model(write_checkpoint(tmp_path / "toy"), torch.device("cuda")))
    graphed.warm_up()
    eager = new_batch(graphed.model)
    eager._graphs = None
    for batch in (graphed, eager):
        batch.begin([Start(0, "a", IDS), Start(3, "b", IDS[::-1])])
    speak_side_by_side(graphed, eager)
