from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from asr.config import OFFLINE_EXTRA_TOKENS, TOKEN_SAMPLES
from asr.frontend import LOOK_BACK_SAMPLES
from asr.model import VoxtralRealtime
from asr.offline import step, transcribe
from asr.state import StreamState
from asr.steps import Steps
from asr.stream import Listener
from asr.words import StreamingIds
from backbone.tekken import Tekken
from common.errors import AudioError
from tests.asr.test_model import greedy, offline
from tests.asr.tiny import params, random_model, speechlike, tekken

TEKKEN = Tekken(tekken())
IDS = StreamingIds.of(TEKKEN)


def certain(token: int) -> np.ndarray:
    """What `Steps.decode` returns of a model that is sure of a token."""
    return np.array([[[token, 1.0, float(token == IDS.pad)]]], np.float32)


@pytest.fixture(scope="module")
def model() -> VoxtralRealtime:
    """Windows of two and of half a second: both wrap many times in a clip."""
    return random_model(params(layers=2, encoder_layers=2, window=26, encoder_window=25))


@pytest.mark.parametrize("delay", [1, 6, 30])
@torch.inference_mode()
def test_streams_say_what_whole_clips_say(model, delay):
    clips = [speechlike(seconds, seed=delay) for seconds in (0.0, 0.33, 4.1)]
    results = transcribe(Steps(model, IDS, 3), TEKKEN, [clip.numpy() for clip in clips], delay)
    for clip, (_, tokens) in zip(clips, results, strict=True):
        whole = greedy(model, offline(model, clip, delay), delay)
        assert tokens[: len(whole)] == whole


@pytest.mark.parametrize("samples", [0, 1, 1279, 1280, 1281])
def test_every_clip_gets_a_decision_for_each_80_ms_of_it_and_its_silence(model, samples):
    clip = np.zeros(samples, np.float32)
    for delay in (1, 6, 30):
        ((hypothesis, tokens),) = transcribe(Steps(model, IDS, 1), TEKKEN, [clip], delay)
        assert len(tokens) == -(-samples // TOKEN_SAMPLES) + 11
        assert hypothesis.heard_samples == samples


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 1279, 1280, 1281, 16_000])
def test_a_noise_filter_changes_neither_how_much_is_heard_nor_when(samples):
    """However the audio is cut: a click stays where it was, and its silence is as long."""
    clip = np.zeros(samples, np.float32)
    clip[samples // 2 :][:1] = 0.9
    heard = []
    for chunk in (100, 1280):
        listener = Listener(TEKKEN, IDS, 6, left=1, filtered=True)
        for start in range(0, samples, chunk):
            listener.feed(clip[start : start + chunk])
            listener.ready_tokens()
        tokens = listener.finish()
        assert tokens == -(-samples // TOKEN_SAMPLES) + 7 + OFFLINE_EXTRA_TOKENS + 1
        heard.append(listener.take(tokens)[LOOK_BACK_SAMPLES + TOKEN_SAMPLES :])
    assert np.array_equal(*heard)
    assert heard[0].any() == (samples > 0)
    assert not samples or int(np.abs(heard[0]).argmax()) == samples // 2


@torch.inference_mode()
def test_chunks_neighbours_joining_and_leaving_change_nothing(model):
    clips = [speechlike(3.0, seed).numpy() for seed in range(3)]
    delays = [2, 6, 4]
    alone = [
        transcribe(Steps(model, IDS, 1), TEKKEN, [clip], delay)[0][1]
        for clip, delay in zip(clips, delays, strict=True)
    ]
    steps, random = Steps(model, IDS, 3), np.random.default_rng(0)
    listeners = [Listener(TEKKEN, IDS, delay) for delay in delays]
    fed = [0, 0, 0]
    steps.seat(0, delays[0])
    seated = 1
    for turn in range(10_000):
        if turn in (15, 30):  # a caller joins between two steps
            steps.seat(seated, delays[seated])
            seated += 1
        for index in range(seated):
            size = int(random.integers(0, 2500))
            listeners[index].feed(clips[index][fed[index] : fed[index] + size])
            fed[index] += size
        if any(listener.ready_tokens() for listener in listeners[:seated]):
            step(steps, listeners[:seated])
        elif seated == 3 and min(fed) >= len(clips[0]):
            break
    for listener, tokens in zip(listeners, alone, strict=True):
        assert len(listener.tokens) >= 25
        assert listener.tokens == tokens[: len(listener.tokens)]


@torch.inference_mode()
def test_the_shared_beginning_equals_starting_from_nothing(model):
    """The first 40 samples of the caller belong to a frame of the padding's last token."""
    clip = speechlike(1.0)
    clip[:40] = 0.9
    steps, delay = Steps(model, IDS, 1), 3
    steps.seat(0, delay)
    listener = Listener(TEKKEN, IDS, delay)
    listener.feed(clip.numpy())
    listener.ready_tokens()
    heard = steps.encode(0, 1, torch.from_numpy(listener.take(1))[None])
    padded = torch.nn.functional.pad(clip, (32 * TOKEN_SAMPLES + LOOK_BACK_SAMPLES, 0))[None]
    whole = model.encode(steps.mel.frames(padded[:, : 34 * TOKEN_SAMPLES + 240]))[:, 31:32]
    torch.testing.assert_close(heard, whole, atol=1e-4, rtol=1e-4)
    padded[:, -len(clip) :] = 0
    silent = model.encode(steps.mel.frames(padded[:, : 34 * TOKEN_SAMPLES + 240]))[:, 31:32]
    assert not torch.allclose(silent, heard, atol=1e-3)


def test_end_of_text_never_ends_a_live_stream():
    listener = Listener(TEKKEN, IDS, 1)
    for _ in range(2):
        listener.decide(certain(IDS.pad))
    listener.decide(certain(2))
    assert listener.input_tokens == [2]
    listener.decide(certain(IDS.word))
    listener.decide(certain(TEKKEN.encode(" cat")[0]))
    assert listener.hypothesis().text == "cat"
    assert listener.hypothesis().lag_samples == TOKEN_SAMPLES
    assert listener.hypothesis(final=True).lag_samples == 0


def test_the_prompt_is_fed_while_it_lasts_whatever_the_model_says():
    listener = Listener(TEKKEN, IDS, 6)
    spoken = TEKKEN.encode(" cat")[0]
    for _ in range(7):
        assert not listener.decide(certain(spoken))
        assert listener.input_tokens == [IDS.pad]
    assert listener.decide(certain(spoken))
    assert listener.input_tokens == [spoken]


@pytest.mark.parametrize(
    "pcm",
    [
        np.zeros(16000, np.float32),
        np.full(16000, 0.5, np.float32),
        np.sign(np.sin(np.arange(16000) / 20)).astype(np.float32) * 30,
        np.full(16000, np.nan, np.float32),
        np.array([np.inf, -np.inf] * 8000, np.float32),
    ],
    ids=["silence", "offset", "clipping", "NaN", "infinite"],
)
def test_any_audio_gives_finite_results(model, pcm):
    steps = Steps(model, IDS, 2)
    clean = speechlike(1.0).numpy()
    (hypothesis, tokens), (_, neighbour) = transcribe(steps, TEKKEN, [pcm, clean], 2)
    assert len(tokens) == 13 + 11
    assert all(0 <= word.confidence <= 1 for word in hypothesis.words)
    assert neighbour == transcribe(Steps(model, IDS, 1), TEKKEN, [clean], 2)[0][1]


@pytest.mark.parametrize(
    "wrong", [np.zeros(9, np.int16), np.zeros(9), np.zeros((9, 2), np.float32), b"\0\0"]
)
def test_wrong_audio_is_refused_with_the_cure(wrong):
    with pytest.raises(AudioError, match="float32 mono audio at 16 kHz"):
        Listener(TEKKEN, IDS, 6).feed(wrong)


def test_what_a_stream_costs_is_known_before_it_is_paid(model):
    state = StreamState.allocate(model, 2, device="meta")
    assert state.row_bytes == StreamState.allocate(model, 1).row_bytes
    assert {tensor.device.type for tensor in (state.encoder.mel_tail, *state.decoder.rings)} == {
        "meta"
    }


def test_steps_that_nobody_holds_are_gone_at_once(model):
    """Their state may be gigabytes; nothing of theirs may point back at them."""
    steps = Steps(model, IDS, 1)
    steps.seat(0, 6)
    gone = weakref.ref(steps)
    gc.disable()
    try:
        del steps
        assert gone() is None
    finally:
        gc.enable()
