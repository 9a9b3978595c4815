"""Whole recordings, many at a time, through the very steps that live streams take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from asr.config import TOKEN_SAMPLES
from asr.interface import Hypothesis
from asr.steps import CONTEXT_SAMPLES, Steps
from asr.stream import Listener
from backbone.tekken import Tekken


@torch.inference_mode()
def transcribe(
    steps: Steps, tekken: Tekken, clips: Sequence[np.ndarray], delay: int
) -> list[tuple[Hypothesis, list[int]]]:
    """Recognise clips as one batch.

    Args:
        steps: With as many rows as there are clips.
        tekken: The model's tokenizer.
        clips: float32 mono at 16 kHz.
        delay: In tokens.

    Returns:
        For each clip its words and its tokens, one per 80 ms, the prompt excluded.
    """
    listeners = [Listener.on(steps, tekken, delay) for _ in clips]
    for row, (listener, clip) in enumerate(zip(listeners, clips, strict=True)):
        steps.seat(row, delay)
        listener.feed(clip)
        listener.finish()
    while any(listener.ready_tokens() for listener in listeners):
        step(steps, listeners)
    return [(each.hypothesis(final=True), list(each.tokens)) for each in listeners]


def step(steps: Steps, listeners: Sequence[Listener], start: int = 0) -> list[bool]:
    """One decision for each listener that has audio for it; they sit on consecutive rows.

    Returns:
        Of each listener, whether a word changed.
    """
    stop = start + len(listeners)
    ready = [listener.ready_tokens() > 0 for listener in listeners]
    nothing = np.zeros(TOKEN_SAMPLES + CONTEXT_SAMPLES, np.float32)
    pcm = [each.take(1) if go else nothing for each, go in zip(listeners, ready, strict=True)]
    active = None if all(ready) else torch.tensor(ready, device=steps.device)
    audio = steps.encode(start, stop, torch.from_numpy(np.stack(pcm)).to(steps.device), active)
    tokens = torch.tensor([each.input_tokens for each in listeners], device=steps.device)
    extent = 1 + max(each.position for each in listeners)
    rated = steps.decode(start, stop, audio, tokens, extent, active).cpu().numpy()
    changed = []
    for row, (go, listener) in enumerate(zip(ready, listeners, strict=True)):
        changed.append(go and listener.decide(rated[row]))
        if go:
            steps.move(start + row, listener.moves)
    return changed
