"""The parts that training the ears stands on: token streams, spectrogram noise, the language model."""

from __future__ import annotations

import io
import json
import math
import random
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from agent.persona import list_personas, small_talk
from agent.scriptbook import PLACEHOLDER, all_rules
from asr.checkpoint import load_model, save_model
from asr.config import AsrConfig
from asr.frontend import LogMel
from asr.model import VoxtralRealtime
from asr.offline import transcribe
from asr.steps import Steps
from asr.words import StreamingIds
from backbone.tekken import Tekken
from common.errors import ParleyError
from training.ears.arpa import BackoffModel
from training.ears.batches import Batch, Corpus
from training.ears.card import card
from training.ears.clips import TestClip as Clip
from training.ears.clips import grammar_sentences
from training.ears.corpus import (
    MEL_BINS,
    MEL_FRAMES,
    OPEN_FLOOR,
    PHONE_FRAMES,
    UNKNOWN_PHONE,
    CorpusOptions,
    Talk,
)
from training.ears.evaluate import WEIGHTS, Evaluation, Heard, error_rate, judge, never_said, sha256
from training.ears.export import average
from training.ears.noise import _by_phone, _warped, spoil_mels
from training.ears.recipe import EarsRecipe
from training.ears.sprint import pack
from training.ears.tokens import LEFT_PAD_TOKENS, learn_pieces, stream_tokens, write_tekken
from training.ears.workers import Workers, together
from training.text.conversation import held_out, spoken

RECIPES = Path(__file__).parents[2] / "training/ears"
RECIPE = EarsRecipe.load(RECIPES / "nano.yaml")


def tokenizer(folder: Path) -> Path:
    words = Counter({"hello": 9, "help": 5, "yellow": 3, "it's": 2, "held": 4})
    write_tekken(folder / "tekken.json", learn_pieces(words, 270), delay_ms=480)
    return folder / "tekken.json"


@pytest.fixture(scope="module")
def tekken(tmp_path_factory: pytest.TempPathFactory) -> Tekken:
    return Tekken.load(tokenizer(tmp_path_factory.mktemp("tokens")))


def test_pieces_begin_with_their_space_and_cover_everything(tekken: Tekken) -> None:
    tokens = tekken.encode(" hello it's über")
    assert tekken.decode(tokens) == " hello it's über"
    assert len(tekken.encode(" hello")) < len(" hello")
    assert tekken.vocab_size == 270 + 5
    assert tekken.audio["streaming_n_left_pad_tokens"] == LEFT_PAD_TOKENS


def test_a_word_is_due_its_delay_after_its_sound(tekken: Tekken) -> None:
    pad, boundary = tekken.special("[STREAMING_PAD]"), tekken.special("[STREAMING_WORD]")
    row = stream_tokens(tekken, [("hello", 1.0)], delay=6, tokens=40)
    prompt = LEFT_PAD_TOKENS + 1 + 6
    assert row[0] == tekken.special("<s>")
    at = int(np.flatnonzero(row == boundary)[0])
    assert at == prompt + int(1.0 / 0.08)
    pieces = tekken.encode(" hello")
    assert list(row[at + 1 : at + 1 + len(pieces)]) == pieces
    said = {0, at, *range(at + 1, at + 1 + len(pieces))}
    assert all(row[i] == pad for i in range(len(row)) if i not in said)


def test_words_in_quick_succession_share_one_boundary(tekken: Tekken) -> None:
    boundary = tekken.special("[STREAMING_WORD]")
    quick = stream_tokens(tekken, [("hello", 1.0), ("it's", 1.05)], 6, 40)
    slow = stream_tokens(tekken, [("hello", 1.0), ("it's", 2.0)], 6, 40)
    assert (quick == boundary).sum() == 1
    assert (slow == boundary).sum() == 2
    assert tekken.decode(quick.tolist()) == tekken.decode(slow.tolist()) == " hello it's"


def test_what_the_trainer_calls_right_is_what_the_listener_reads(tekken: Tekken) -> None:
    """The target tokens, spoken by a perfect model, become the words at the times they ended."""
    from asr.stream import Listener
    from asr.words import Decision

    words = [("hello", 0.50), ("it's", 0.95), ("help", 1.02), ("yellow", 2.4)]
    delay = 6
    row = stream_tokens(tekken, words, delay, 50)
    listener = Listener(tekken, StreamingIds.of(tekken), delay, left=LEFT_PAD_TOKENS)
    listener.feed(np.zeros(50 * 1280, np.float32))
    assert listener.ready_tokens() >= 49
    for position in range(LEFT_PAD_TOKENS - 1, len(row) - 1):
        if position >= LEFT_PAD_TOKENS:
            assert listener.input_token == row[position]
        listener.decide(Decision(int(row[position + 1]), 1.0, 0.0))
    heard = listener.hypothesis(final=True).words
    assert [word.text for word in heard] == [word for word, _ in words]
    for word, (_, end_s) in zip(heard, words, strict=True):
        assert abs(word.end_samples / 16_000 - end_s) <= 0.33


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


def test_powers_add_in_the_spectrogram() -> None:
    """What adding noise there stands on: the level is the one that adding waveforms gives."""
    chance = np.random.default_rng(0)
    log_mel = LogMel(MEL_BINS, OPEN_FLOOR)
    a = chance.standard_normal(32_000).astype(np.float32) * 0.05
    b = chance.standard_normal(32_000).astype(np.float32) * 0.1
    mel = [log_mel.clip(torch.from_numpy(x)[None]) for x in (a, b, a + b)]
    power = [10 ** (4 * m - 4) for m in mel]
    ratio = (power[0] + power[1]).mean() / power[2].mean()
    assert 0.95 < ratio < 1.05


def test_spoiled_spectrograms_keep_shape_floor_and_seed() -> None:
    mel = torch.full((6, MEL_BINS, 200), -1.5)
    mel[:, 10:40, 50:150] = 0.9
    phones = torch.randint(0, 40, (6, 100), generator=torch.Generator().manual_seed(4))
    one = spoil_mels(mel, phones, torch.Generator().manual_seed(3))
    two = spoil_mels(mel, phones, torch.Generator().manual_seed(3))
    assert torch.equal(one, two)
    assert one.shape == mel.shape
    assert one.min() >= -0.625
    speech, rest = one[:, 10:40, 50:150].mean((1, 2)), one[:, 10:40, :40].mean((1, 2))
    assert (speech > rest + 0.02).all()
    assert (speech - rest).std() > 0.05  # some noisy, some clean


def test_a_shorter_throat_moves_tones_up_as_the_factor_says() -> None:
    log_mel = LogMel(MEL_BINS, OPEN_FLOOR)
    seconds = torch.arange(16_000) / 16_000
    low, high = (log_mel.clip(torch.sin(6.2832 * hz * seconds)[None]) for hz in (1_500, 1_650))
    moved = _warped(low, torch.full((1, 1, 1), 1 / 1.1))
    assert abs(int(moved[0, :, 50].argmax()) - int(high[0, :, 50].argmax())) <= 1
    assert torch.allclose(_warped(low, torch.ones(1, 1, 1)), low, atol=1e-4)


def test_each_phone_of_a_speaker_has_one_curve_and_silence_has_none() -> None:
    phones = torch.tensor([[0] * 9 + [7] * 9 + [30] * 9 + [7] * 9 + [UNKNOWN_PHONE] * 9] * 2)
    curve = _by_phone(phones, MEL_BINS, 0.1, torch.Generator().manual_seed(1))
    assert curve.shape == (2, MEL_BINS, 90)
    one, other, again = (curve[:, :, middle] for middle in (27, 45, 63))
    assert torch.allclose(one, again)
    assert not torch.allclose(one, other, atol=0.01)
    assert not torch.allclose(one[0], one[1], atol=0.01)
    assert not curve[:, :, :14].any()
    assert not curve[:, :, -14:].any()


def test_an_average_lies_between_its_ends(tmp_path: Path) -> None:
    small = RECIPE.encoder.model_copy(update={"n_layers": 1})
    recipe = RECIPE.model_copy(update={"pieces": 270, "encoder": small})
    ends = []
    for name in ("old", "new"):
        model = VoxtralRealtime(AsrConfig.from_params(recipe.params()))
        save_model(tmp_path / name, recipe.params(), model)
        ends.append(model.state_dict())
    shares = {tmp_path / "old": 0.25, tmp_path / "new": 0.75}
    for name, weight in average(recipe.params(), shares).state_dict().items():
        assert torch.allclose(weight, 0.25 * ends[0][name] + 0.75 * ends[1][name], atol=1e-6)


def test_pocketsphinx_knows_the_words_that_the_personas_hope_to_hear() -> None:
    dictionary = Path(__file__).parents[2] / "asr/sphinx/conversation.dict"
    known = {line.split()[0].split("(")[0] for line in dictionary.read_text().splitlines()}
    scripts = [small_talk(), *(persona.script for persona in list_personas())]
    hoped = {
        word
        for script in scripts
        for rule in all_rules(script.rules)
        for text in rule.hear
        for word in spoken(PLACEHOLDER.sub("", text))
    }
    assert len(hoped) > 300
    assert hoped <= known


def model() -> BackoffModel:
    lm = BackoffModel({"a": 0.4, "b": 0.3, "c": 0.2, "</s>": 0.1})
    lm.add(("<s>",), "a", 0.8)
    lm.add(("a",), "b", 0.7)
    lm.close(2)
    lm.add(("a", "b"), "c", 0.6)
    lm.close(3)
    return lm


def test_probabilities_sum_to_one_after_backing_off() -> None:
    lm = model()
    for history in ((), ("a",), ("b",), ("<s>",), ("a", "b"), ("b", "a")):
        total = sum(lm.p(history, word) for word in ("a", "b", "c", "</s>"))
        assert total == pytest.approx(1.0), history


def test_arpa_survives_the_way_to_pocketsphinx(tmp_path: Path) -> None:
    import pocketsphinx

    lm, path = model(), tmp_path / "small.arpa"
    lm.write(path)
    again = BackoffModel.read(path)
    theirs = pocketsphinx.NGramModel.readfile(str(path))
    for history, word in (((), "c"), (("a",), "b"), (("a", "b"), "c"), (("a", "b"), "a")):
        assert again.p(history, word) == pytest.approx(lm.p(history, word), rel=1e-3)
        asked = theirs.prob([word, *reversed(history)]) * math.log(1.0001)
        assert math.exp(asked) == pytest.approx(lm.p(history, word), rel=1e-2)


def test_sampled_sentences_follow_the_model() -> None:
    lm, chance = model(), random.Random(0)
    first = Counter(sentence[0] for _ in range(2000) if (sentence := lm.sample(chance)))
    not_empty = 1 - lm.p(("<s>",), "</s>")
    assert first["a"] / first.total() == pytest.approx(lm.p(("<s>",), "a") / not_empty, abs=0.03)


@pytest.mark.parametrize(
    ("heard", "wrong"), [("a b c", 0), ("a x c d", 2), ("", 3), ("a b c d", 1)]
)
def test_words_replaced_missing_and_invented_are_wrong(heard: str, wrong: int) -> None:
    class Says:
        def hear(self, pcm: np.ndarray) -> Heard:
            return Heard(heard.split(), [0.0])

    clip = Clip("trained", "a b c", np.zeros(16_000, np.float32), 1.0)
    assert judge(Says(), [clip], "clean")["wer"] == pytest.approx(100 * wrong / 3, abs=0.05)


def test_an_error_rate_lies_within_its_interval() -> None:
    rate, low, high = error_rate([(0, 5), (1, 5), (0, 5), (2, 5)] * 5)
    assert rate == pytest.approx(15.0)
    assert low < rate < high


def shard(folder: Path, clips: int, words: str, name: str = "1") -> None:
    folder.mkdir(exist_ok=True)
    chance = np.random.default_rng(0)
    mels = chance.uniform(-1, 1, (clips, MEL_BINS, MEL_FRAMES)).astype(np.float16)
    phones = chance.integers(0, 40, (clips, PHONE_FRAMES)).astype(np.uint8)
    np.savez(folder / f"{name}.npz", mels=mels, phones=phones, words=np.array([words] * clips))


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


def test_sentences_of_a_corpus_are_known(tmp_path: Path) -> None:
    shard(tmp_path, 1, "hello\t1.000\nsay\t2.000\nyes\t3.000")
    assert never_said(["say yes", "yes hello", "ye"], tmp_path) == {"yes hello", "ye"}


def test_a_card_tells_only_figures_of_its_own_weights(tmp_path: Path) -> None:
    nano = RECIPES.parents[1] / "asr/nano"
    log = json.loads((nano / "log.json").read_text())
    cell = {"wer": 4.2, "wer_low": 4.0, "wer_high": 5.0, "rtf": 0.05, "flush_ms_p50": 50.0}
    found = Evaluation(figures={"nano": {"kal": {"clean": cell}}})
    with pytest.raises(ParleyError, match="are not of the weights"):
        card(nano, log, RECIPE, found, "")
    found.weights["nano"] = sha256(nano / WEIGHTS)
    text = card(nano, log, RECIPE, found, "")
    assert "| kal | clean | 4.2 (4.0–5.0) |" in text
    assert RECIPE.stages[0].name in text


def test_what_the_test_says_training_never_says(tmp_path: Path) -> None:
    kept = grammar_sentences(50)
    assert all(map(held_out, kept))
    model().write(tmp_path / "tiny.arpa")
    talk = Talk(3, tmp_path / "tiny.arpa", CorpusOptions(caller_share=0.8, agent_share=0.2))
    said = [talk.text() for _ in range(2_000)]
    assert not any(map(held_out, said))
    assert sum(len(spoken(text)) > 3 for text in said) > 1_000


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

    save_model(tmp_path / "nano", recipe.params(), ears.model)
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
        tar.extractall(tmp_path / "home", filter="data")
    assert (tmp_path / "home/run/weights").read_bytes() == (run / "weights").read_bytes()
