"""pocketsphinx as ears: real audio, real decoding, through the listener and through the engine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from asr.interface import Hypothesis
from asr.sphinx import SphinxEngine
from asr.sphinx_listener import Listener, ListenerOptions
from common.errors import ConfigError, EngineFull, RemoteError

pytestmark = pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite to speak")

FIRST = "i would like a table for two tomorrow evening"
SECOND = "what is the weather like today"
SILENCE = np.zeros(16_000, np.int16)


def say(text: str, folder: Path) -> np.ndarray:
    path = folder / "said.wav"
    subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as file:
        assert file.getframerate() == 16_000
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return say(FIRST, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return say(SECOND, tmp_path_factory.mktemp("second"))


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener()


def feed(listener: Listener, pcm: np.ndarray, chunk: int = 1280) -> list[Hypothesis]:
    heard = []
    for start in range(0, len(pcm), chunk):
        listener.feed(pcm[start : start + chunk].tobytes())
        heard.append(listener.hypothesis())
    return heard


def test_hears_two_sentences_in_the_callers_time(
    listener: Listener, first: np.ndarray, second: np.ndarray
) -> None:
    listener.reset()
    pcm = np.concatenate([SILENCE, first, SILENCE, second, SILENCE])
    feed(listener, pcm)
    said = listener.flush()
    assert said.text == f"{FIRST} {SECOND}"
    assert said.final
    assert said.stable == len(said.words)
    assert said.heard_samples == len(pcm)
    assert all(0 < word.confidence <= 1 for word in said.words)
    starts = [word.start_samples for word in said.words]
    assert starts == sorted(starts)
    opening, what = said.words[0], said.words[len(FIRST.split())]
    assert 16_000 <= opening.start_samples < 16_000 + 6_400
    second_at = len(SILENCE) * 2 + len(first)
    assert abs(what.start_samples - second_at) < 6_400


def test_chunking_does_not_change_what_is_heard(listener: Listener, first: np.ndarray) -> None:
    pcm = np.concatenate([SILENCE, first, SILENCE])
    texts = []
    for chunk in (160, 1280, 7_001, len(pcm)):
        listener.reset()
        feed(listener, pcm, chunk)
        texts.append((listener.flush().text, listener.flush().words[-1].end_samples))
    assert len(set(texts)) == 1


def test_partials_come_while_speaking_and_pauses_are_noticed(
    listener: Listener, first: np.ndarray
) -> None:
    listener.reset()
    heard = feed(listener, np.concatenate([first, SILENCE]))
    speaking = heard[: len(first) // 1280]
    assert any(0 < len(h.words) < 9 and h.pause == 0 for h in speaking)
    assert not any(h.stable for h in speaking)
    assert heard[-1].pause == 1.0
    assert heard[-1].final
    assert heard[-1].stable == len(heard[-1].words)


def test_a_flush_inside_a_word_loses_and_repeats_nothing(
    listener: Listener, first: np.ndarray
) -> None:
    """Wherever the flush falls, what is said by the end is what is said without it."""
    pcm = np.concatenate([SILENCE, first, SILENCE])
    for cut_s in (1.35, 1.9, 2.4, 3.1):
        listener.reset()
        cut = int(cut_s * 16_000)
        feed(listener, pcm[:cut])
        listener.flush()
        feed(listener, pcm[cut:])
        said = listener.flush()
        ends = [word.end_samples for word in said.words]
        assert ends == sorted(ends)
        wrong = set(said.text.split()) ^ set(FIRST.split())
        assert len(wrong) <= 2, (cut_s, said.text)
        assert abs(len(said.words) - len(FIRST.split())) <= 1, (cut_s, said.text)


def test_speech_without_pauses_is_cut_and_memory_stays_bounded(first: np.ndarray) -> None:
    options = ListenerOptions(max_utterance_s=4.0, max_words=50)
    listener = Listener(options)
    loud = np.flatnonzero(np.abs(first.astype(int)) > 500)
    without_pause = first[loud[0] : loud[-1]]
    said = FIRST.split()
    repeats = 6
    feed(listener, np.concatenate([SILENCE, *[without_pause] * repeats, SILENCE]))
    words = [word.text for word in listener.flush().words]
    assert len(words) <= 50
    right = sum(word in said for word in words)
    assert right >= 0.75 * min(50, repeats * len(said))
    assert len(listener._utterance or b"") <= 2 * 16_000 * 4.1


def test_silence_noise_and_broken_audio_say_nothing(listener: Listener) -> None:
    listener.reset()
    feed(listener, np.zeros(160_000, np.int16))
    assert listener.flush().words == ()
    hum = (300 * np.sin(2 * np.pi * 50 * np.arange(80_000) / 16_000)).astype(np.int16)
    feed(listener, hum)
    assert listener.flush().text in ("", "mhm", "oh")


def test_a_short_word_is_known_before_its_utterance_ends(
    listener: Listener, tmp_path: Path
) -> None:
    listener.reset()
    stop = say("stop", tmp_path)
    ends = 16_000 + np.flatnonzero(np.abs(stop) > 600)[-1]
    heard = feed(listener, np.concatenate([SILENCE, stop, SILENCE]), chunk=320)
    known = next(view for view in heard if view.text == "stop")
    assert known.heard_samples - ends < 0.25 * 16_000
    assert heard[-1].text == "stop"


def test_a_sentence_that_goes_on_after_a_trial_is_heard_once(
    listener: Listener, tmp_path: Path
) -> None:
    listener.reset()
    pause = np.zeros(3_200, np.int16)
    parts = [say(text, tmp_path) for text in ("what time", "is it now")]
    spoken = [part[: np.flatnonzero(np.abs(part) > 600)[-1]] for part in parts]
    feed(listener, np.concatenate([SILENCE, spoken[0], pause, spoken[1], SILENCE]))
    assert listener.flush().text == "what time is it now"


def test_a_dull_line_is_learnt_within_the_first_sentence(first: np.ndarray) -> None:
    """A line that loses its treble and much of its bass: heard better than by waiting for the next."""
    spectrum = np.fft.rfft(first)
    hertz = np.fft.rfftfreq(len(first), 1 / 16_000)
    dull = np.fft.irfft(spectrum / (1 + (hertz / 700) ** 2), len(first))
    pcm = np.concatenate([SILENCE, (8_000 * dull / np.abs(dull).max()).astype(np.int16), SILENCE])
    right = []
    for options in (ListenerOptions(), ListenerOptions(mean_doubt_ms=10**9)):
        listener = Listener(options)
        feed(listener, pcm)
        right.append(len(set(FIRST.split()) & set(listener.flush().text.split())))
    assert right[0] > right[1]


def test_commit_forgets_by_the_middle(listener: Listener, first: np.ndarray) -> None:
    listener.reset()
    feed(listener, np.concatenate([SILENCE, first, SILENCE]))
    words = listener.flush().words
    listener.commit(words[3].end_samples)
    assert listener.flush().words == words[4:]


def float_audio(pcm: np.ndarray) -> np.ndarray:
    return pcm.astype(np.float32) / 32_768


async def test_engine_streams_flushes_and_reuses_its_process(
    first: np.ndarray, second: np.ndarray
) -> None:
    engine = SphinxEngine(max_streams=1)
    stream = await engine.open()
    seen: list[Hypothesis] = []

    async def watch() -> None:
        async for hypothesis in stream.events():
            seen.append(hypothesis)

    watching = asyncio.create_task(watch())
    assert engine.refusal
    with pytest.raises(EngineFull):
        await engine.open()
    stream.feed(float_audio(np.concatenate([SILENCE, first, SILENCE])))
    said = await stream.flush()
    assert said.text == FIRST
    stream.commit(said.words[-1].end_samples)
    stream.feed(float_audio(np.concatenate([second, SILENCE])))
    assert (await stream.flush()).text == SECOND
    await stream.close()
    await watching
    assert seen[-1].text == SECOND
    worker = engine._idle[0].pid

    again = await engine.open()
    assert (await again.flush()).heard_samples == 0
    stream_worker = again._worker.pid
    assert stream_worker == worker
    await again.close()
    await again.close()
    await engine.close()
    await engine.close()


async def test_bad_samples_are_survived(first: np.ndarray) -> None:
    engine = SphinxEngine(max_streams=1)
    stream = await engine.open()
    pcm = float_audio(np.concatenate([SILENCE, first, SILENCE]))
    pcm[:50] = np.nan
    pcm[50:90] = np.inf
    stream.feed(np.zeros(0, np.float32))
    stream.feed(pcm)
    assert (await stream.flush()).text.endswith("tomorrow evening")
    await engine.close()


async def test_a_dead_process_is_an_error_not_silence() -> None:
    engine = SphinxEngine(max_streams=1)
    stream = await engine.open()
    pending = asyncio.create_task(stream.flush())
    os.kill(stream._worker.pid, signal.SIGKILL)
    with pytest.raises(RemoteError):
        async for _ in stream.events():
            pass
    await asyncio.wait([pending])
    with pytest.raises(RemoteError):
        await stream.flush()
    await stream.close()
    fresh = await engine.open()
    assert (await fresh.flush()).words == ()
    await fresh.close()
    (idle,) = engine._idle
    os.kill(idle.pid, signal.SIGKILL)
    await idle.wait()
    assert (await (await engine.open()).flush()).words == ()
    await engine.close()


async def test_leaving_a_long_recording_waits_for_none_of_it(first: np.ndarray) -> None:
    engine = SphinxEngine(max_streams=1)
    stream = await engine.open()
    stream.feed(float_audio(np.tile(np.concatenate([first, SILENCE]), 100)))
    await stream.close()
    assert stream._worker.returncode == -signal.SIGKILL
    assert (await (await engine.open()).flush()).words == ()
    await engine.close()


async def test_nobody_is_taken_in_while_another_is_heard_too_late(first: np.ndarray) -> None:
    engine = SphinxEngine(max_streams=2)
    stream = await engine.open()
    assert not engine.refusal
    for piece in np.array_split(float_audio(np.tile(first, 10)), 1_000):
        stream.feed(piece)
    await anext(stream.events())  # its first words come when most of this is still to be heard
    with pytest.raises(EngineFull, match="busy"):
        await engine.open()
    await stream.close()
    assert not engine.refusal  # a first caller is better heard late than not at all
    await engine.close()


async def test_other_languages_are_refused() -> None:
    engine = SphinxEngine()
    with pytest.raises(ConfigError, match="English"):
        await engine.open(language="fr")
    await engine.close()


def workers() -> set[int]:
    """Process ids of the recognisers that this process started."""
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "sphinx_worker"], capture_output=True
    )
    return set(map(int, found.stdout.split()))


@pytest.mark.parametrize("leave", ["cancel", "close"])
async def test_a_process_that_nobody_waits_for_any_more_is_ended(leave: str) -> None:
    engine = SphinxEngine()
    opening = asyncio.create_task(engine.open())
    while not (started := workers()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    if leave == "cancel":
        opening.cancel()
    else:
        await engine.close()
    with pytest.raises((asyncio.CancelledError, RemoteError)):
        await opening
    while started & workers():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert not engine.refusal
    await engine.close()
