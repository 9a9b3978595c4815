"""The shape of a Mistral-family decoder, as `params.json` states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self

from common.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Yarn:
    """Stretched RoPE for contexts longer than trained on (YaRN, arXiv 2309.00071).

    Attributes:
        original_max_position_embeddings: Context the model was first trained on.
        factor: By how much it is stretched.
        beta: Dimensions that turn more often than this over the original context are left alone.
        alpha: Dimensions that turn less often than this are stretched by the full factor.
        apply_scale: Whether queries and keys are also scaled, as in text-only checkpoints.
    """

    original_max_position_embeddings: int
    factor: float
    beta: float = 32.0
    alpha: float = 1.0
    apply_scale: bool = False


@dataclass(frozen=True, slots=True)
class Llama4Scaling:
    """Query temperature that grows with the position: q * (1 + beta * ln(1 + floor(pos / orig)))."""

    original_max_position_embeddings: int
    beta: float = 0.1


@dataclass(frozen=True, slots=True)
class MoE:
    """Mixture of experts in place of each feed-forward (Mixtral, arXiv 2401.04088)."""

    num_experts: int
    num_experts_per_tok: int = 2


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Numbers of one decoder, named as in Mistral's `params.json`.

    Attributes:
        dim: Width of the residual stream.
        n_layers: Number of layers.
        head_dim: Width of one head; `n_heads * head_dim` need not equal `dim`.
        hidden_dim: Inner width of the feed-forward.
        n_heads: Query heads.
        n_kv_heads: Key and value heads, each shared by `n_heads / n_kv_heads` query heads.
        vocab_size: Tokens, 0 for a decoder without embedding (the audio encoder).
        norm_eps: Added to the mean square in RMSNorm.
        rope_theta: Base of the rotary frequencies.
        tied_embeddings: Whether the embedding is also the output head.
        use_biases: Biases on wq, wv, wo and w2, as in Whisper (none on wk, w1, w3).
        sliding_window: Keys each query sees, itself included; None for all of them; a tuple
            gives one entry per layer, repeated as often as needed.
        yarn: Stretched RoPE, or None.
        llama_4_scaling: Query temperature, or None.
        moe: Mixture of experts, or None.
        ada_rms_norm_t_cond: Whether each layer scales its feed-forward input by a condition
            (Voxtral Realtime, arXiv 2602.11298: the transcription delay).
        ada_rms_norm_t_cond_dim: Inner width of that conditioning.
    """

    dim: int
    n_layers: int
    head_dim: int
    hidden_dim: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int = 0
    norm_eps: float = 1e-5
    rope_theta: float = 1e6
    tied_embeddings: bool = False
    use_biases: bool = False
    sliding_window: int | tuple[int | None, ...] | None = None
    yarn: Yarn | None = None
    llama_4_scaling: Llama4Scaling | None = None
    moe: MoE | None = None
    ada_rms_norm_t_cond: bool = False
    ada_rms_norm_t_cond_dim: int = 32

    def __post_init__(self) -> None:
        if self.n_heads % self.n_kv_heads or self.head_dim % 2:
            raise CheckpointError(
                f"{self.n_heads} query heads cannot share {self.n_kv_heads} key heads of width "
                f"{self.head_dim}.",
                "n_heads must be a multiple of n_kv_heads and head_dim even.",
            )

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Read the decoder's part of a `params.json`; training plumbing in it is ignored.

        Raises:
            CheckpointError: A needed key is missing or malformed.
        """
        missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in params]
        if missing:
            raise CheckpointError(
                f"params.json lacks {', '.join(missing)}.", "Is it the params.json of this model?"
            )
        values = {f.name: params[f.name] for f in fields(cls) if params.get(f.name) is not None}
        try:
            for name, nested in (("yarn", Yarn), ("llama_4_scaling", Llama4Scaling), ("moe", MoE)):
                if name in values:
                    known = {f.name for f in fields(nested)}
                    values[name] = nested(**{k: v for k, v in values[name].items() if k in known})
            if "sliding_window" in values:
                values["sliding_window"] = _window(values["sliding_window"])
            return cls(**values)
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"params.json is malformed: {error}.") from error

    def window(self, layer: int) -> int | None:
        """Keys that a query of `layer` sees, itself included; None for all."""
        if isinstance(self.sliding_window, tuple):
            return self.sliding_window[layer % len(self.sliding_window)]
        return self.sliding_window


def _window(value: Any) -> int | tuple[int | None, ...] | None:
    """A window as some files write it: a number, a list of numbers and nulls, or either as text."""
    if isinstance(value, str):
        parts = [part.strip().lower() for part in value.strip("[]").split(",")]
        value = [None if part in ("none", "null", "") else int(part) for part in parts]
        value = value[0] if len(value) == 1 else value
    if isinstance(value, list | tuple):
        return tuple(None if item is None else int(item) for item in value)
    return None if value is None else int(value)
