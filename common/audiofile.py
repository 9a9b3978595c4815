"""Reading any audio file and writing wav: the edges of the command line and of voice cloning."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from pathlib import Path

import av
import numpy as np

from common.errors import AudioError
from common.pcm import to_pcm16


def read_audio(path: str | Path, sample_rate_hz: int) -> np.ndarray:
    """Decode a wav, flac, mp3, opus… file of any rate and channel count.

    Returns:
        float32 mono in [-1, 1] at `sample_rate_hz`, shape [samples]; channels are averaged. An empty
        recording has no samples.

    Raises:
        AudioError: The file is missing, is not audio, or is damaged before the first sample.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path} holds no audio.", "Give a wav, flac, mp3 or opus file.")
            stream = container.streams.audio[0]
            pieces = list(_resampled(_decoded(container, stream, path), sample_rate_hz))
    except FileNotFoundError as error:
        raise AudioError(f"There is no file {path}.", "Check the path.") from error
    except av.FFmpegError as error:
        raise AudioError(
            f"{path} cannot be read as audio ({error.strerror}).",
            "Give a wav, flac, mp3 or opus file.",
        ) from error
    return np.concatenate(pieces).astype(np.float32) if pieces else np.zeros(0, np.float32)


def _resampled(frames: Iterable[av.AudioFrame], sample_rate_hz: int) -> Iterator[np.ndarray]:
    """Mono pieces. The format may change within a file, and a resampler takes just one."""
    for _, alike in groupby(frames, lambda one: (one.format.name, one.layout.name, one.rate)):
        swr = av.AudioResampler(format="fltp", rate=sample_rate_hz)
        for frame in chain(alike, [None]):
            for out in swr.resample(frame):
                # By hand: swr's stereo-to-mono matrix changes the level of one-sided sound.
                yield out.to_ndarray().mean(axis=0)


def _decoded(container, stream, path):  # type: ignore[no-untyped-def]
    """Frames up to the first damaged packet: a truncated recording still yields what it holds."""
    got_any = False
    try:
        for frame in container.decode(stream):
            got_any = True
            yield frame
    except av.FFmpegError as error:
        if not got_any:
            raise AudioError(
                f"{path} is damaged.", "Export it again, for instance as wav."
            ) from error


def write_wav(path: str | Path, pcm: np.ndarray, sample_rate_hz: int) -> None:
    """Write float32 in [-1, 1], shape [samples] or [samples, channels], as a 16-bit wav."""
    channels = 1 if pcm.ndim == 1 else pcm.shape[1]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(to_pcm16(np.ascontiguousarray(pcm).reshape(-1)))
