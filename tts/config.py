"""What a Voxtral TTS checkpoint says of itself in `params.json`.

The published 4B checkpoint and our nano checkpoints differ only by these numbers. Keys that describe
how a model was trained are ignored; a key the model needs and does not find is an error that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeVar

from backbone.config import DecoderConfig
from common.errors import CheckpointError

N_SPECIAL_CODES = 2
"""Every codebook starts with EMPTY_AUDIO and END_AUDIO: emitted code = raw code + 2."""
EMPTY_AUDIO, END_AUDIO = 0, 1
TABLE_MULTIPLE = 128
"""Audio table and semantic head are padded to a multiple of this many rows."""

T = TypeVar("T")


def _read(cls: type[T], args: Mapping[str, Any], where: str) -> T:
    """Build `cls` from the keys it knows; what it needs and `args` lacks, or has as null, is an error."""
    names = (f.name for f in fields(cls))  # type: ignore[arg-type]
    given = {name: args[name] for name in names if args.get(name) is not None}
    for f in fields(cls):  # type: ignore[arg-type]
        if f.default is MISSING and f.default_factory is MISSING and f.name not in given:
            raise CheckpointError(
                f"params.json has no {where}.{f.name}.",
                "Is this the folder of a Voxtral TTS checkpoint?",
            )
    return cls(**given)


def _ints(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",")) if text else ()


@dataclass(frozen=True)
class CodecStage:
    """One pairing of a convolution with the transformer layers at its finer side."""

    dim: int
    hidden_dim: int
    n_layers: int
    kernel: int
    stride: int
    window: int


@dataclass(frozen=True)
class CodecConfig:
    """`multimodal.audio_tokenizer_args` (Voxtral TTS, arXiv 2603.25551 §2.1).

    Attributes:
        pretransform_patch_size: Samples per 100 Hz step.
        pretransform_gain: Waveforms are multiplied by this before the encoder (1 as published).
        encoder_dims_str: Width of each encoder stage, `dim` everywhere when empty.
        decoder_dims_str: The same for the decoder.
        encoder_input: "patch" (as published: a step's samples) or "patch+magnitudes" (and the log
            magnitudes of the two steps that end there).
        output_head: "patch" (as published: a step's channels are its samples) or "istft" (a step's
            channels are log magnitude and phase of a window of two steps, overlap-added).
        istft_n_fft: Length of that window, samples; twice the patch.
        semantic_norm: Training only: scale semantic channels to unit variance in front of the VQ.
            `SemanticCodebook.fold_norm` removes it from what is shipped.
    """

    semantic_codebook_size: int
    semantic_dim: int
    acoustic_codebook_size: int
    acoustic_dim: int
    attn_sliding_window_size: int
    dim: int
    hidden_dim: int
    head_dim: int
    decoder_transformer_lengths_str: str
    decoder_convs_kernels_str: str
    decoder_convs_strides_str: str
    encoder_transformer_lengths_str: str = "2,2,2,2"
    encoder_convs_kernels_str: str = "4,4,4,3"
    encoder_convs_strides_str: str = "2,2,2,1"
    encoder_dims_str: str = ""
    decoder_dims_str: str = ""
    sampling_rate: int = 24_000
    pretransform_patch_size: int = 240
    pretransform_gain: float = 1.0
    patch_proj_kernel_size: int = 7
    conv_weight_norm: bool = True
    qk_norm_eps: float = 1e-6
    norm_eps: float = 1e-2
    layer_scale_init: float = 0.01
    encoder_input: Literal["patch", "patch+magnitudes"] = "patch"
    output_head: Literal["patch", "istft"] = "patch"
    istft_n_fft: int = 480
    semantic_norm: bool = False

    def __post_init__(self) -> None:
        if self.output_head == "istft" and self.istft_n_fft != 2 * self.pretransform_patch_size:
            raise CheckpointError("params.json: istft_n_fft must be twice pretransform_patch_size.")

    @property
    def latent_dim(self) -> int:
        """Channels of a latent frame: semantic first, then acoustic."""
        return self.semantic_dim + self.acoustic_dim

    @property
    def n_codebooks(self) -> int:
        """Codes per frame."""
        return 1 + self.acoustic_dim

    @property
    def encoder(self) -> tuple[CodecStage, ...]:
        """Encoder stages: transformer at `window`, then the convolution that leaves the stage."""
        window, stages = self.attn_sliding_window_size, []
        for stage in self._stages("encoder"):
            stages.append(CodecStage(*stage, window))
            window = self._next_window(window, stage[-1], coarser=True)
        return tuple(stages)

    @property
    def decoder(self) -> tuple[CodecStage, ...]:
        """Decoder stages: the convolution that enters the stage, then transformer at `window`."""
        window, stages = self.attn_sliding_window_size, []
        for stride in _ints(self.encoder_convs_strides_str):
            window = self._next_window(window, stride, coarser=True)
        for stage in self._stages("decoder"):
            window = self._next_window(window, stage[-1], coarser=False)
            stages.append(CodecStage(*stage, window))
        return tuple(stages)

    @property
    def steps_per_frame(self) -> int:
        """Fine (100 Hz) steps per latent frame."""
        steps = 1
        for stride in _ints(self.decoder_convs_strides_str):
            steps *= stride
        return steps

    @property
    def frame_samples(self) -> int:
        """Samples per latent frame (1920 = 80 ms)."""
        return self.steps_per_frame * self.pretransform_patch_size

    def _next_window(self, window: int, stride: int, *, coarser: bool) -> int:
        if stride == 1:
            return window
        return window // 2 if coarser else window * 2

    def _stages(self, side: str) -> list[tuple[int, int, int, int, int]]:
        lengths, kernels, strides = (
            _ints(getattr(self, f"{side}_{what}_str"))
            for what in ("transformer_lengths", "convs_kernels", "convs_strides")
        )
        dims = _ints(getattr(self, f"{side}_dims_str")) or (self.dim,) * len(lengths)
        hidden = [self.hidden_dim * dim // self.dim for dim in dims]
        if not len(lengths) == len(kernels) == len(strides) == len(dims):
            raise CheckpointError(f"params.json: {side}_*_str name different numbers of stages.")
        return list(zip(dims, hidden, lengths, kernels, strides, strict=True))


@dataclass(frozen=True)
class AcousticConfig:
    """The flow-matching acoustic transformer (`acoustic_transformer_args` and its sampler).

    Attributes:
        n_decoding_steps: Euler steps from noise to latent; the reference server falls back to 7.
        cfg_alpha: Weight of the conditioned velocity against the unconditioned; 1 skips the latter.
        noise_scale: Standard deviation of the noise at t = 0.
    """

    input_dim: int
    dim: int
    n_layers: int
    head_dim: int
    hidden_dim: int
    n_heads: int
    n_kv_heads: int
    norm_eps: float = 1e-5
    n_decoding_steps: int = 7
    cfg_alpha: float = 1.2
    noise_scale: float = 1.0


@dataclass(frozen=True)
class AudioConfig:
    """`multimodal.audio_model_args`: how frames enter and leave the backbone.

    Attributes:
        text_units: "tekken" as published, or "phonemes": text goes through a phone front end.
        max_text_chars: Longer texts are spoken as several clauses; also the most text units.
        max_voice_frames: Of a reference; what lies beyond is not used.
        repeat_short_voices: The reference of a voice added here is repeated until it is that long.
        carry_on: Whether a clause is spoken as the continuation of the frames before it, where both
            fit `max_text_chars`; otherwise it starts afresh from the voice.
        restart_positions_at_audio: The last BEGIN_AUDIO takes the RoPE position of the first text
            token and frames count on from there, so token j and frame j sit close together.
        alignment_heads: (layer, head) pairs whose attention follows the text being spoken.
    """

    semantic_codebook_size: int
    acoustic_codebook_size: int
    n_acoustic_codebook: int
    audio_token_id: int = 24
    begin_audio_token_id: int = 25
    repeat_audio_text_token_id: int = 35
    next_audio_text_token_id: int = 36
    text_units: Literal["tekken", "phonemes"] = "tekken"
    max_text_chars: int = 500
    max_voice_frames: int = 320
    repeat_short_voices: bool = False
    carry_on: bool = True
    restart_positions_at_audio: bool = False
    alignment_heads: tuple[tuple[int, int], ...] = ()

    @property
    def n_codebooks(self) -> int:
        """Codes per frame: one semantic, then the acoustic ones."""
        return 1 + self.n_acoustic_codebook

    @property
    def semantic_rows(self) -> int:
        """Semantic codes with the two special ones in front."""
        return self.semantic_codebook_size + N_SPECIAL_CODES

    @property
    def offsets(self) -> tuple[int, ...]:
        """First row of each codebook in the audio table."""
        rows = self.acoustic_codebook_size + N_SPECIAL_CODES
        return (0, *(self.semantic_rows + k * rows for k in range(self.n_acoustic_codebook)))

    @property
    def table_rows(self) -> int:
        """Rows of the audio table, padded."""
        rows = self.acoustic_codebook_size + N_SPECIAL_CODES
        return padded(self.semantic_rows + self.n_acoustic_codebook * rows)


def padded(rows: int) -> int:
    """Rows of a table as stored."""
    return -(-rows // TABLE_MULTIPLE) * TABLE_MULTIPLE


@dataclass(frozen=True)
class TtsConfig:
    """Everything `params.json` says about the model."""

    backbone: DecoderConfig
    audio: AudioConfig
    acoustic: AcousticConfig
    codec: CodecConfig
    bos_token_id: int = 1
    max_seq_len: int = 65_536
    voices: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> TtsConfig:
        """Read a parsed `params.json`.

        Raises:
            CheckpointError: A number the model needs is missing; the cause names it.
        """
        multimodal = _section(params, "multimodal")
        audio = dict(_section(multimodal, "audio_model_args"))
        audio["alignment_heads"] = tuple(map(tuple, audio.get("alignment_heads") or ()))
        acoustic = {**audio, **_section(audio, "acoustic_transformer_args")}
        codec = _section(multimodal, "audio_tokenizer_args")
        return cls(
            backbone=DecoderConfig.from_params(params),
            audio=_read(AudioConfig, audio, "multimodal.audio_model_args"),
            acoustic=_read(AcousticConfig, acoustic, "acoustic_transformer_args"),
            codec=_read(CodecConfig, codec, "multimodal.audio_tokenizer_args"),
            bos_token_id=multimodal.get("bos_token_id") or 1,
            max_seq_len=params.get("max_seq_len") or 65_536,
            voices=dict(codec.get("voice") or {}),
        )


def _section(params: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if key not in params:
        raise CheckpointError(
            f"params.json has no section {key}.", "Is this the folder of a Voxtral TTS checkpoint?"
        )
    section: Mapping[str, Any] = params[key]
    return section
