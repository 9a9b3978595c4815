"""Numbers of a Voxtral Realtime checkpoint, as `params.json` states them.

The 4B model and the nano model differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from asr.interface import SAMPLE_RATE_HZ
from backbone.config import DecoderConfig
from common.errors import CheckpointError

HOP_SAMPLES = 160
WINDOW_SAMPLES = 400
TOKEN_SAMPLES = 1_280
"""80 ms: one decoder position, one decision."""
TOKEN_MS = 80
TOKEN_MEL_FRAMES = TOKEN_SAMPLES // HOP_SAMPLES
MAX_DELAY_MS = 2_400
MAX_BEAM_WIDTH = 64
OFFLINE_EXTRA_TOKENS = 10
"""Silence fed after the end of a file beyond the delay, so that the last pieces come out."""


@dataclass(frozen=True, slots=True)
class AsrConfig:
    """A whole recogniser.

    Attributes:
        decoder: The text side, conditioned on the delay.
        encoder: The audio side, 50 frames a second, with Whisper's biases.
        num_mel_bins: Height of the spectrogram.
        global_log_mel_max: The fixed maximum (log10) from which the spectrogram's floor, 8 below,
            is counted; fixed so that it never depends on what is still to come.
        downsample_factor: Encoder frames that become one decoder position.
        beam_width: Readings of a stream that are followed side by side (`asr.beam`).
        language_weight: How much the checkpoint's language model (`asr.language_model`) has to say.
        noise_filter: Whether steady noise is taken out first (`asr.noise_filter`). Of these three
            published checkpoints say nothing: they get one reading and all the noise.
    """

    decoder: DecoderConfig
    encoder: DecoderConfig
    num_mel_bins: int
    global_log_mel_max: float = 1.5
    downsample_factor: int = 4
    beam_width: int = 1
    language_weight: float = 0.0
    noise_filter: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Read a `params.json`.

        Raises:
            CheckpointError: It is that of another model, of another time grid than 80 ms, or has a
                number where none can be.
        """
        try:
            whisper = params["multimodal"]["whisper_model_args"]
            encoder = whisper["encoder_args"]
            audio = encoder["audio_encoding_args"]
            downsample = int(whisper["downsample_args"]["downsample_factor"])
            bins = int(audio["num_mel_bins"])
            width = int(params.get("beam_width", 1))
            language_weight = float(params.get("language_weight", 0.0))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"params.json is not that of a Voxtral Realtime model: {error!r}.",
                "It needs multimodal.whisper_model_args with encoder_args and downsample_args.",
            ) from error
        grid = {
            "sampling_rate": SAMPLE_RATE_HZ,
            "frame_rate": SAMPLE_RATE_HZ / TOKEN_SAMPLES,
            "hop_length": HOP_SAMPLES,
            "window_size": WINDOW_SAMPLES,
        }
        other = {key: audio[key] for key, value in grid.items() if audio.get(key, value) != value}
        if other or downsample != TOKEN_MEL_FRAMES // 2:
            raise CheckpointError(
                f"params.json describes another time grid: {other}, downsample {downsample}.",
                f"This code runs at {grid} and downsample {TOKEN_MEL_FRAMES // 2}.",
            )
        if not 1 <= width <= MAX_BEAM_WIDTH:
            raise CheckpointError(
                f"params.json asks for a beam_width of {width}.",
                f"It can be 1 to {MAX_BEAM_WIDTH}.",
            )
        decoder = DecoderConfig.from_params({"tied_embeddings": True} | dict(params))
        sound = DecoderConfig.from_params(encoder | {"vocab_size": 0, "use_biases": True})
        if None in (decoder.window(0), sound.window(0)) or not decoder.tied_embeddings:
            raise CheckpointError(
                "params.json describes a model that cannot listen for ever.",
                "Encoder and decoder need a sliding_window, and tied_embeddings must be true.",
            )
        return cls(
            decoder=decoder,
            encoder=sound,
            num_mel_bins=bins,
            global_log_mel_max=float(audio.get("global_log_mel_max", 1.5)),
            downsample_factor=downsample,
            beam_width=width,
            language_weight=language_weight,
            noise_filter=bool(audio.get("noise_filter", False)),
        )


def delay_tokens(delay_ms: int) -> int:
    """How many 80 ms decisions the text lags behind the sound.

    Raises:
        ValueError: Not a multiple of 80 from 80 to 2,400 (Voxtral Realtime, arXiv 2602.11298).
    """
    if delay_ms % TOKEN_MS or not TOKEN_MS <= delay_ms <= MAX_DELAY_MS:
        raise ValueError(f"delay_ms must be a multiple of 80 from 80 to 2400, not {delay_ms}")
    return delay_ms // TOKEN_MS
