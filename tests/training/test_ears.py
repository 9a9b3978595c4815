"""Training the ears: batches, runs, workers, and what they leave behind."""

from __future__ import annotations

import io
import json
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.checkpoint import load_model, save_model
from asr.config import AsrConfig
from asr.model import VoxtralRealtime
from asr.offline import transcribe
from asr.steps import Steps
from asr.words import StreamingIds
from backbone.tekken import Tekken
from common.errors import ConfigError, ParleyError
from tests.training.ears import RECIPE, RECIPES, shard, tokenizer
from training.ears.batches import Batch, Corpus
from training.ears.corpus import MEL_BINS
from training.ears.export import average
from training.ears.recipe import EarsRecipe
from training.ears.sprint import pack
from training.ears.tokens import LEFT_PAD_TOKENS
from training.ears.workers import Workers, together


@pytest.mark.parametrize("name", ["nano.yaml", "gpu.yaml"])
def test_every_stage_of_a_recipe_takes_a_step(name: str, tmp_path: Path) -> None:
    from training.ears.train import Run

    recipe = EarsRecipe.load(RECIPES / name)
    tiny = {"pieces": 270, "batch": 2, "held_out_clips": 1, "matrix_lr": 1e-4}
    shard(tmp_path / "corpus", 3, "hello\t1.000\nhelp\t3.000")
    tokenizer(tmp_path)
    recipe = recipe.model_copy(update=tiny).lasting(1e-6)
    run = Run(tmp_path, tmp_path / "corpus", recipe)
    run.train()
    assert run.log.steps == len(recipe.stages)
    assert all(torch.isfinite(weight).all() for weight in run.ears.parameters())


def test_a_mistake_in_a_recipe_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text((RECIPES / "nano.yaml").read_text().replace("batch:", "bach:"))
    with pytest.raises(ConfigError, match="line 3: unknown key 'bach'"):
        EarsRecipe.load(path)


def test_an_average_lies_between_its_ends(tmp_path: Path) -> None:
    small = RECIPE.encoder.model_copy(update={"n_layers": 1})
    recipe = RECIPE.model_copy(update={"pieces": 270, "encoder": small})
    ends = []
    for name in ("old", "new"):
        model = VoxtralRealtime(AsrConfig.from_params(recipe.params()))
        save_model(tmp_path / name, recipe.params() | {"language_weight": 0}, model)
        ends.append(model.state_dict())
    shares = {tmp_path / "old": 0.25, tmp_path / "new": 0.75}
    for name, weight in average(recipe.params(), shares).state_dict().items():
        assert torch.allclose(weight, 0.25 * ends[0][name] + 0.75 * ends[1][name], atol=1e-6)


def test_targets_hide_the_prompt_and_delay_the_phones(tmp_path: Path, tekken: Tekken) -> None:
    shard(tmp_path, 4, "hello\t1.000\nhelp\t3.000")
    corpus = Corpus(tmp_path, held_out=1)
    assert len(corpus) == 3
    batch = corpus.batch([1, 2], [4, 9], tekken, RECIPE, seed=2)
    positions = LEFT_PAD_TOKENS + 120
    assert batch.mel.shape == (2, MEL_BINS, 8 * positions)
    assert batch.tokens.shape == batch.targets.shape == (2, positions)
    for row, delay in enumerate((4, 9)):
        assert (batch.targets[row, : LEFT_PAD_TOKENS + delay] == -100).all()
        assert (batch.targets[row, LEFT_PAD_TOKENS + delay :] >= 0).all()
        # The model's own words come back as inputs, one position later; some are noised.
        same = batch.tokens[row, 1:] == torch.where(
            batch.targets[row, :-1] < 0, tekken.special("[STREAMING_PAD]"), batch.targets[row, :-1]
        )
        assert same.float().mean() > 0.85
    assert (batch.phones[:, : 4 * LEFT_PAD_TOKENS] == -100).all()
    assert batch.character_counts.tolist() == [10, 10]


def test_who_speaks_after_a_silence_is_labelled_as_much_later(
    tmp_path: Path, tekken: Tekken
) -> None:
    shard(tmp_path, 1, "hello\t1.000\nhelp\t3.000")
    corpus = Corpus(tmp_path, held_out=0)
    at_once, later = (corpus.batch([0], [4], tekken, RECIPE, seed) for seed in (2, 4))
    wait = 33  # tokens, by the seed
    length = at_once.targets.shape[1] - wait
    prompt = LEFT_PAD_TOKENS + 4
    assert torch.equal(later.targets[0, prompt + wait :], at_once.targets[0, prompt:length])
    assert torch.equal(
        later.phones[0, 4 * (LEFT_PAD_TOKENS + wait) + 5 :],
        at_once.phones[0, 4 * LEFT_PAD_TOKENS + 5 : 4 * length],
    )
    assert corpus.batch([0], [4], tekken, RECIPE, seed=3).character_counts.tolist() == [5]


def test_one_step_of_training_lowers_the_loss_and_exports(tmp_path: Path, tekken: Tekken) -> None:
    """The very modules of the engine learn a tiny clip by heart and say it back as a stream."""
    from training.ears.train import Ears

    recipe = RECIPE.model_copy(update={"pieces": 270, "token_noise": 0.0})
    shard(tmp_path / "corpus", 2, "hello\t1.000\nhelp\t3.000\nyellow\t6.000")
    corpus = Corpus(tmp_path / "corpus", held_out=0)
    torch.manual_seed(0)
    ears = Ears(AsrConfig.from_params(recipe.params()))
    stepper = torch.optim.AdamW(ears.parameters(), 2e-3)
    stage = recipe.stages[-1]
    batch = corpus.batch([0], [6], tekken, recipe, seed=1)
    losses = []
    for _ in range(30):
        with torch.autocast("cpu", torch.bfloat16):
            found = ears.losses(batch, stage)
        stepper.zero_grad()
        sum(found.values()).backward()  # type: ignore[union-attr]
        stepper.step()
        losses.append(found["text"].item())
    assert losses[-1] < 0.3 * losses[0]

    save_model(tmp_path / "nano", recipe.params() | {"language_weight": 0}, ears.model)
    _deeper_ears_hear_the_same(tmp_path / "nano", recipe, batch)
    loaded = load_model(tmp_path / "nano")
    assert isinstance(loaded, VoxtralRealtime)
    assert json.loads((tmp_path / "nano/params.json").read_text())["dim"] == recipe.decoder.dim
    steps = Steps(loaded, StreamingIds.of(tekken), 1, LEFT_PAD_TOKENS)
    ((_, tokens),) = transcribe(steps, tekken, [np.zeros(16_000, np.float32)], 6)
    assert len(tokens) > 10


def test_a_run_ships_its_average_and_goes_on(tmp_path: Path) -> None:
    from training.ears.train import Run

    stages = [RECIPE.stages[-1].model_copy(update={"minutes": 0.03})]
    tiny = {"pieces": 270, "batch": 2, "held_out_clips": 2, "average_steps": 4, "other_lr": 0.1}
    recipe, out = RECIPE.model_copy(update=tiny | {"stages": stages}), tmp_path / "run"
    shard(tmp_path / "corpus", 6, "hello\t1.000\nhelp\t3.000")
    out.mkdir()
    tokenizer(out)
    run = Run(out, tmp_path / "corpus", recipe)
    first = run.ears.model.tok_embeddings.weight.clone()
    run.train()
    steps = run.log.steps
    shipped = load_model(out, dtype=torch.float32).tok_embeddings.weight
    last = run.ears.model.tok_embeddings.weight
    assert 0 < (shipped - first).norm() < (last - first).norm()
    with pytest.raises(ParleyError, match="stages of the recipe are done"):
        Run(out, tmp_path / "corpus", recipe).train()
    quick = stages[0].model_copy(update={"rate": 1.0, "floor": 1.0})
    longer = recipe.model_copy(update={"stages": [*stages, quick], "warm_up_steps": 1})
    again = Run(out, tmp_path / "corpus", longer)
    assert torch.equal(again.ears.model.tok_embeddings.weight, last)
    again.train()
    assert again.log.steps > steps
    matrices, _ = torch.load(out / "run.pt", weights_only=True)["steppers"]
    assert (
        matrices["param_groups"][0]["lr"] == recipe.matrix_lr
    )  # not what the first stage ended with
    (out / "log.json").unlink()
    (out / "run.pt").unlink()
    with pytest.raises(ParleyError, match=r"log\.json cannot be read"):
        Run(out, tmp_path / "corpus", recipe, start=out)


def test_too_small_a_corpus_is_refused(tmp_path: Path) -> None:
    from training.ears.train import Run

    recipe = RECIPE.model_copy(update={"pieces": 270, "batch": 4, "held_out_clips": 2})
    shard(tmp_path / "corpus", 5, "hello\t1.000")
    tokenizer(tmp_path)
    with pytest.raises(ParleyError, match="needs 6"):
        Run(tmp_path, tmp_path / "corpus", recipe)


def _deeper_ears_hear_the_same(earlier: Path, recipe: EarsRecipe, batch: Batch) -> None:
    """A run that begins from a checkpoint with fewer layers begins with what that one knew."""
    from training.ears.train import Ears

    size = recipe.encoder.model_copy(update={"n_layers": recipe.encoder.n_layers + 2})
    deeper = Ears(AsrConfig.from_params(recipe.model_copy(update={"encoder": size}).params()))
    deeper.take_over(earlier)
    with torch.inference_mode():
        expected = load_model(earlier, dtype=torch.float32).encode(batch.mel)
        assert torch.allclose(deeper.model.encode(batch.mel), expected, atol=1e-5)


def _average_of(workers: Workers, folder: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(2, 3))
    weight.grad = torch.full((2, 3), float(workers.rank))
    unused = torch.nn.Parameter(torch.zeros(1))
    figures = workers.mean([weight, unused], torch.tensor([10.0 * workers.rank]))
    torch.save((weight.grad, figures), Path(folder) / f"{workers.rank}.pt")


def test_workers_share_their_gradients(tmp_path: Path) -> None:
    together(2, _average_of, str(tmp_path))
    for rank in range(2):
        gradient, figures = torch.load(tmp_path / f"{rank}.pt")
        assert torch.equal(gradient, torch.full((2, 3), 0.5))
        assert figures.tolist() == [5.0]


def test_each_worker_has_shards_of_its_own(tmp_path: Path) -> None:
    for name, clips in (("1", 2), ("2", 3)):
        shard(tmp_path, clips, "hello\t1.000", name)
    assert [len(Corpus(tmp_path, 0, Workers(rank, 2))) for rank in range(2)] == [3, 2]
    assert len(Corpus(tmp_path, 0)) == 5


def test_a_run_sent_home_in_pieces_is_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "weights").write_bytes(random.Random(0).randbytes(30_000))
    made = pack(run, tmp_path / "pieces", 12_000)
    assert all(piece.stat().st_size <= 12_000 for piece in made)
    joined = io.BytesIO(b"".join(piece.read_bytes() for piece in sorted(made)))
    with tarfile.open(fileobj=joined) as tar:
        weights = tar.extractfile("run/weights")
        assert weights is not None
        assert weights.read() == (run / "weights").read_bytes()
