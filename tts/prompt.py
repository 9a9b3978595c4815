"""The token sequence of one utterance (mistral-common's speech request; arXiv 2603.25551 §2.2).

    <s> [BEGIN_AUDIO] [AUDIO]×N [NEXT_AUDIO_TEXT] text… [REPEAT_AUDIO_TEXT] [BEGIN_AUDIO] frames…

The N `[AUDIO]` tokens are replaced by the rows of a voice. Everything up to `[NEXT_AUDIO_TEXT]` is the
same for every utterance of a voice, so its keys and values are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tts.config import TtsConfig

TEXT_MARGIN = 3
"""`<s>`, `[BEGIN_AUDIO]` and `[NEXT_AUDIO_TEXT]` stand before the text, besides the voice."""


def prefix_ids(config: TtsConfig, voice_rows: int) -> list[int]:
    """Ids of the part that belongs to the voice, `voice_rows + 3` of them."""
    audio = config.audio
    return [
        config.bos_token_id,
        audio.begin_audio_token_id,
        *[audio.audio_token_id] * voice_rows,
        audio.next_audio_text_token_id,
    ]


def suffix_ids(config: TtsConfig, text_ids: Sequence[int]) -> list[int]:
    """Ids of the part that belongs to the utterance, `len(text_ids) + 2` of them."""
    audio = config.audio
    return [*text_ids, audio.repeat_audio_text_token_id, audio.begin_audio_token_id]


def prompt_ids(config: TtsConfig, voice_rows: int, text_ids: Sequence[int]) -> list[int]:
    """The whole prompt, `voice_rows + len(text_ids) + 5` ids."""
    return prefix_ids(config, voice_rows) + suffix_ids(config, text_ids)


def rope_positions(config: TtsConfig, voice_rows: int, n_text: int, n_frames: int = 0) -> Tensor:
    """RoPE positions, int64 [prompt + n_frames].

    They count from 0 as published; with `restart_positions_at_audio` the last BEGIN_AUDIO takes the
    position of the first text token, and frames count on from there.
    """
    text_start = voice_rows + TEXT_MARGIN
    prompt = text_start + n_text + 2
    positions = torch.arange(prompt + n_frames)
    if config.audio.restart_positions_at_audio:
        positions[prompt - 1 :] -= prompt - 1 - text_start
    return positions
