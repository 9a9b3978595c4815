"""Train the speech model on a frozen codec's codes: what comes next, given a voice and a text.

Each example is a whole prompt as at run time: some frames of the same speaker saying something else,
the text units, then the frames to be learnt. Two things are added to the published losses (semantic
cross-entropy and conditional flow matching, Voxtral TTS, arXiv 2603.25551 §3): a few attention heads
are asked to look at the units spoken in the frame being predicted and in the next one, which makes
reading out a text learnable in minutes, and at the mark that ends the clause, which tells its tune;
and frames fed back are disturbed, so that the model learns to recover from its own mistakes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional

from backbone.rope import rotate
from training.learner import best_device
from training.optimise import Schedule, optimisers
from training.voice.aligned import Aligned
from training.voice.batches import Batch, SpeechExamples
from training.voice.timed_run import TimedRun, mean_terms
from tts.config import N_SPECIAL_CODES, TtsConfig
from tts.model import TtsModel

_PLAIN = ("semantic_codebook_output", "acoustic_codebook_output", "input_projection")
VALIDATION_BATCH = 24


@dataclass(frozen=True, slots=True)
class SpeechRun:
    """How the speech model is trained.

    Attributes:
        core_minutes: Processor time; a resumed run goes on counting.
        batch: Utterances per step, of similar length.
        shortest_voice_frames: Fewest frames of reference in front.
        longest_voice_frames: Most frames of reference.
        shipped_references: Part of a shipped voice's utterances that follow the very reference it
            ships with.
        flow_draws: Noise draws per frame.
        guide_weight: Of the guided heads at the start; falls to a fifth.
        guided_layers: Layers whose head 0 follows the present frame, head 1 the next and head 2 the
            mark that ends the clause.
        unconditioned: Share of frames whose hidden state is zeroed for the flow.
        disturbed: Share of frames fed back whose levels are jittered, by up to `jitter_levels`.
        jitter_levels: Largest standard deviation of that jitter.
        mistaken: Share of frames fed back whose semantic code is a random one.
        dropped: Share of frames fed back as nothing.
        matrix_lr: Muon's rate.
        other_lr: AdamW's rate for tables and gains.
        plain_lr: AdamW's rate for the heads.
        decay_share: Last part of the budget over which the rates fall to zero.
        seed: Of weights and batches.
        compiled: Fuse what is done to each element: 1.3 times as many steps on a CPU, for half a
            minute at the start and a C++ compiler.
    """

    core_minutes: float = 30.0
    batch: int = 16
    shortest_voice_frames: int = 24
    longest_voice_frames: int = 84
    shipped_references: float = 0.0
    flow_draws: int = 2
    guide_weight: float = 1.0
    guided_layers: tuple[int, ...] = (1, 3)
    unconditioned: float = 0.1
    disturbed: float = 0.6
    jitter_levels: float = 2.5
    mistaken: float = 0.06
    dropped: float = 0.06
    matrix_lr: float = 0.015
    other_lr: float = 2e-3
    plain_lr: float = 1e-3
    decay_share: float = 0.5
    seed: int = 0
    compiled: bool = False


class SpeechTrainer:
    """Losses of a speech model over batches."""

    def __init__(self, model: TtsModel, run: SpeechRun):
        self.model, self.run = model, run
        self._seen: dict[int, tuple[Tensor, Any]] = {}
        for layer in run.guided_layers:
            attention = model.layers[layer].get_submodule("attention")
            attention.register_forward_pre_hook(self._remember)

    def _remember(self, attention: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._seen[attention.layer] = inputs  # type: ignore[index]

    def losses(self, batch: Batch, *, disturb: bool) -> dict[str, Tensor]:
        """Semantic cross-entropy and accuracy, flow error, guided-head cross-entropy and hits."""
        model, run = self.model, self.run
        x = model.embed_text(batch.ids)
        frames = model.embed_frames(self._disturbed(batch) if disturb else batch.codes)
        if disturb:
            kept = torch.rand_like(frames[:, :1]) >= run.dropped
            kept |= ~batch.target[:, None]
            frames = frames * kept
        x = x.masked_scatter(batch.frame_at[..., None], frames)
        with torch.autocast(x.device.type, torch.bfloat16):
            hidden = model(x, batch.positions)[batch.predicts]
            logits = model.acoustic_transformer.semantic_logits(hidden)
            guide, hits = self._guided(batch)
        terms = {
            "semantic": functional.cross_entropy(logits, batch.semantic),
            "guide": guide,
            "flow": self._flow(hidden[batch.sounding], batch.acoustic, disturb),
        }
        with torch.no_grad():
            terms["right"] = (logits.argmax(-1) == batch.semantic).float().mean()
            terms["hits"] = hits
        return terms

    def _flow(self, hidden: Tensor, data: Tensor, training: bool) -> Tensor:
        draws = self.run.flow_draws if training else 4
        hidden, data = hidden.repeat(draws, 1), data.repeat(draws, 1)
        noise, at = torch.randn_like(data), torch.linspace(0.02, 0.98, len(data))
        t = torch.rand_like(noise[:, 0]) if training else at.to(data.device)
        between = noise.lerp(data, t[:, None])
        if training:
            hidden = hidden * (torch.rand_like(noise[:, :1]) >= self.run.unconditioned)
        with torch.autocast(hidden.device.type, torch.bfloat16):
            velocity = self.model.acoustic_transformer.velocity(between, t, hidden)
        return functional.mse_loss(velocity.float(), data - noise)

    def _disturbed(self, batch: Batch) -> Tensor:
        """The frames as a model that errs would feed them back."""
        run, codes = self.run, batch.codes
        size, jittered, mistaken = torch.rand(3, len(codes), 1, device=codes.device)
        size = size * run.jitter_levels * (jittered < run.disturbed)
        top = self.model.sizes.audio.acoustic_codebook_size - 1
        noise = torch.randn_like(codes[:, 1:], dtype=torch.float32) * size
        levels = codes[:, 1:] + noise.round().long()
        random = torch.randint_like(codes[:, :1], self.model.sizes.audio.semantic_codebook_size)
        semantic = torch.where(mistaken < run.mistaken, random, codes[:, :1])
        disturbed = torch.cat([semantic, levels.clamp(0, top)], dim=1)
        return torch.where(batch.target[:, None], disturbed, codes)

    def _guided(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy between the first heads of the guided layers and where they should look."""
        config, heads = self.model.config, batch.attend.shape[1]
        group = config.n_heads // config.n_kv_heads
        total = hits = torch.zeros((), device=batch.ids.device)
        length = batch.ids.shape[1]
        later = torch.ones(length, length, dtype=torch.bool, device=batch.ids.device).triu(1)
        for layer, (x, at) in self._seen.items():
            attention = self.model.layers[layer].get_submodule("attention")
            q_rows = attention.wq.weight[: heads * config.head_dim]
            q = rotate((x @ q_rows.T).unflatten(-1, (heads, -1)), at.rotation)
            k_rows = attention.wk.weight[: -(-heads // group) * config.head_dim]
            k = rotate((x @ k_rows.T).unflatten(-1, (-1, config.head_dim)), at.rotation)
            k = k.repeat_interleave(group, dim=2)[:, :, :heads]
            scores = torch.einsum("bqhd,bkhd->bqhk", q, k).float() * config.head_dim**-0.5
            scores = scores.masked_fill(later[:, None], -torch.inf)[batch.predicts]
            log_attention = scores.log_softmax(-1).clamp(min=-30)
            total = total - (batch.attend * log_attention).sum(-1).mean()
            with torch.no_grad():
                hit = log_attention[:, 0].argmax(-1) == batch.attend[:, 0].argmax(-1)
                hits = hits + hit.float().mean() / len(self._seen)
        return total / len(self._seen), hits


def read_config(path: Path, codec: dict[str, Any]) -> tuple[dict[str, Any], SpeechRun]:
    """Read a YAML file of `params` (as in params.json, without the codec) and `run`."""
    sections: dict[str, Any] = yaml.safe_load(path.read_text())
    params = sections["params"]
    params["multimodal"]["audio_tokenizer_args"] = codec
    run = sections["run"]
    if "guided_layers" in run:
        run["guided_layers"] = tuple(run["guided_layers"])
    return params, SpeechRun(**run)


def train(
    folder: Path,
    params: dict[str, Any],
    run: SpeechRun,
    utterances: list[Aligned],
    validation: list[Aligned],
    references: dict[int, np.ndarray],
    *,
    start_from: Path | None = None,
) -> None:
    """Train, or go on training, in `folder`; `state.pt` there is always a whole, resumable state.

    Args:
        folder: Where state and log are kept.
        params: As for `params.json`, codec included.
        run: How to train.
        utterances: What to learn.
        validation: What to measure on.
        references: Raw codes [frames, codebooks] of the references that ship, by speaker.
        start_from: A `state.pt` of another run whose weights a new run begins with.
    """
    torch.manual_seed(run.seed)
    sizes = TtsConfig.from_params(params)
    model = TtsModel(sizes)
    del model.audio_tokenizer  # frozen; its codes are all that is needed here
    _initialise(model)
    device = best_device()
    model.to(device)
    if run.compiled:
        _compile(model)
    trainer = SpeechTrainer(model, run)
    examples = SpeechExamples(sizes, utterances, run, references)
    unseen = SpeechExamples(sizes, validation, run, references)
    rows = np.array_split(
        np.argsort([len(u.codes) for u in unseen.utterances]),
        max(1, len(unseen.utterances) // VALIDATION_BATCH),
    )
    checks = [unseen.collate(r.tolist(), np.random.default_rng(3)).to(device) for r in rows]
    steppers = optimisers(model, run.matrix_lr, run.other_lr, run.plain_lr, _PLAIN)
    timed = TimedRun(
        folder,
        model,
        steppers,
        Schedule(steppers, 40, run.decay_share),
        core_minutes=run.core_minutes,
        seed=run.seed,
        largest_gradient=2.0,
        start_from=start_from,
        about={"run": asdict(run)},
    )

    def losses(done: float) -> tuple[Tensor, dict[str, Tensor]]:
        terms = trainer.losses(examples.draw(timed.chance).to(device), disturb=True)
        guide = run.guide_weight * max(0.2, 1.0 - done)
        return terms["semantic"] + terms["flow"] + guide * terms["guide"], terms

    timed.go(
        "speech",
        losses,
        lambda: _validate(trainer, checks),
        lambda line: f"{line['val_semantic']:.2f} {line['val_flow']:.3f}",
        log_every=50,
    )


def _compile(model: TtsModel) -> None:
    """The flow head as one, of the layers what is not attention: its complex turns do not compile."""
    acoustic = model.acoustic_transformer
    acoustic.velocity = torch.compile(acoustic.velocity, dynamic=True)  # type: ignore[method-assign]
    for layer in model.layers:
        for part in ("feed_forward", "attention_norm", "ffn_norm"):
            layer.get_submodule(part).compile(dynamic=True)


def _initialise(model: TtsModel) -> None:
    """Residual branches start silent; levels of one acoustic code start on a line."""
    audio = model.sizes.audio
    with torch.no_grad():
        for layer in [*model.layers, *model.acoustic_transformer.layers]:
            layer.get_submodule("feed_forward.w2").weight.zero_()
            layer.get_submodule("attention.wo").weight.zero_()
        model.acoustic_transformer.acoustic_codebook_output.weight.zero_()
        model.mm_audio_embeddings.tok_embeddings.weight.normal_(std=0.5)
        table = model.mm_audio_embeddings.audio_codebook_embeddings["embeddings"].weight
        table.normal_(std=0.02)
        table[: audio.semantic_rows].normal_(std=0.5)
        line = torch.linspace(-1, 1, audio.acoustic_codebook_size)[:, None]
        for offset in audio.offsets[1:]:
            rows = slice(offset + N_SPECIAL_CODES, offset + N_SPECIAL_CODES + len(line))
            direction = torch.randn(1, table.shape[1]) * 0.6 / audio.n_acoustic_codebook**0.5
            table[rows] += line * direction


def _validate(trainer: SpeechTrainer, checks: list[Batch]) -> dict[str, float]:
    state = torch.random.get_rng_state()
    torch.manual_seed(1)
    trainer.model.eval()
    with torch.no_grad():
        rows = [trainer.losses(check, disturb=False) for check in checks]
    trainer.model.train()
    torch.random.set_rng_state(state)
    return mean_terms(rows)
