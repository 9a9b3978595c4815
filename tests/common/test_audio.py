"""Reading audio files and resampling: durations, levels and honest errors."""

import subprocess
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from common.audiofile import read_audio, write_wav
from common.errors import AudioError
from common.pcm import to_float, to_pcm16
from common.resample import Resampler, resample


def tone(hz, seconds, rate_hz, amplitude=0.5):
    return (
        amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)
    ).astype(np.float32)


def peak_hz(pcm, rate_hz):
    return np.argmax(np.abs(np.fft.rfft(pcm))) * rate_hz / len(pcm)


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(8000, 16000), (16000, 24000), (48000, 16000), (44100, 16000)]
)
def test_a_tone_keeps_its_pitch_length_and_level(from_hz, to_hz):
    out = resample(tone(440, 1.0, from_hz), from_hz, to_hz)
    assert abs(len(out) - to_hz) <= 1
    assert peak_hz(out, to_hz) == pytest.approx(440, abs=2)
    assert np.abs(out[to_hz // 4 : -to_hz // 4]).max() == pytest.approx(0.5, abs=0.02)


def test_a_stream_in_portions_equals_the_whole_and_holds_little_back():
    pcm = tone(300, 0.5, 48_000)
    stream = Resampler(48_000, 16_000)
    first = stream.feed(pcm[:960])
    assert len(first) >= 320 - 40  # 20 ms in: at most 2.5 ms held back
    rest = [stream.feed(pcm[i : i + 960]) for i in range(960, len(pcm), 960)]
    streamed = np.concatenate([first, *rest, stream.drain()])
    np.testing.assert_allclose(streamed, resample(pcm, 48_000, 16_000), atol=1e-6)


def test_pcm16_round_trip_and_clipping():
    pcm = np.array([-1.0, -0.5, 0.0, 0.25, 0.999], np.float32)
    np.testing.assert_allclose(to_float(to_pcm16(pcm)), pcm, atol=1 / 32768)
    assert to_float(to_pcm16(np.array([9.0, -9.0], np.float32))).tolist() == [32767 / 32768, -1.0]


def test_a_stereo_wav_of_another_rate_is_averaged_and_resampled(tmp_path):
    left, right = tone(440, 0.5, 44_100), np.zeros(22_050, np.float32)
    write_wav(tmp_path / "a.wav", np.stack([left, right], 1), 44_100)
    pcm = read_audio(tmp_path / "a.wav", 16_000)
    assert pcm.dtype == np.float32
    assert abs(len(pcm) - 8000) <= 2
    assert np.abs(pcm[2000:6000]).max() == pytest.approx(0.25, abs=0.02)


def compress(path, rate_hz, options=None):
    """Write a second of a 440 Hz tone, in the codec that the file's name ends with."""
    codec = {".flac": "flac", ".mp3": "mp3", ".opus": "libopus"}[path.suffix]
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate_hz)
        frame = av.AudioFrame.from_ndarray(
            (tone(440, 1.0, rate_hz)[None] * 32767).astype(np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = rate_hz
        swr = av.AudioResampler(
            format=stream.codec_context.format, layout=stream.codec_context.layout, rate=rate_hz
        )
        fifo = av.AudioFifo()
        for out in swr.resample(frame):
            fifo.write(out)
        while (
            piece := fifo.read(stream.codec_context.frame_size or 4096, partial=True)
        ) is not None:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", ["flac", "mp3", "opus"])
def test_compressed_files(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    compress(path, 48_000)
    pcm = read_audio(path, 16_000)
    assert len(pcm) / 16_000 == pytest.approx(1.0, abs=0.1)
    assert peak_hz(pcm, 16_000) == pytest.approx(440, abs=3)


def test_a_file_may_change_its_format_half_way(tmp_path):
    for rate_hz in (44_100, 24_000):
        compress(tmp_path / f"{rate_hz}.mp3", rate_hz, {"write_xing": "0", "id3v2_version": "0"})
    both = tmp_path / "both.mp3"
    both.write_bytes(b"".join((tmp_path / f"{hz}.mp3").read_bytes() for hz in (44_100, 24_000)))
    pcm = read_audio(both, 16_000)
    assert len(pcm) / 16_000 == pytest.approx(2.0, abs=0.2)
    for second in (pcm[:16_000], pcm[-16_000:]):
        assert peak_hz(second, 16_000) == pytest.approx(440, abs=3)


def test_a_truncated_wav_yields_what_it_holds(tmp_path):
    write_wav(tmp_path / "a.wav", tone(440, 1.0, 16_000), 16_000)
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    assert len(read_audio(tmp_path / "cut.wav", 16_000)) == pytest.approx(8000, abs=100)


def test_an_empty_wav_is_no_samples(tmp_path):
    with wave.open(str(tmp_path / "empty.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
    assert len(read_audio(tmp_path / "empty.wav", 16_000)) == 0


def test_a_missing_file_and_a_text_file_are_clear_errors(tmp_path):
    with pytest.raises(AudioError, match="no file"):
        read_audio(tmp_path / "none.wav", 16_000)
    (tmp_path / "text.wav").write_text("not audio at all")
    with pytest.raises(AudioError, match="cannot be read as audio"):
        read_audio(tmp_path / "text.wav", 16_000)


def test_the_command_line_says_it_in_one_line(tmp_path):
    done = subprocess.run(
        [str(Path(sys.executable).with_name("parley")), "transcribe", str(tmp_path / "none.wav")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "There is no file" in done.stderr
    assert "Traceback" not in done.stderr
