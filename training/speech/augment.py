"""What rooms, microphones and telephone lines do to speech.

Each effect is a pure function of float32 audio at 16 kHz; `spoil` draws a random chain of them.
Effects keep the length and the timing, so word and phone times stay true.
"""

from __future__ import annotations

import io
import random

import av
import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import butter, sosfilt

from asr.interface import SAMPLE_RATE_HZ

_ROOM_S = 0.6  # longest impulse response


def speech_rms(pcm: np.ndarray) -> float:
    """Root mean square of the 20 ms frames that are speech: those within 25 dB of the loudest."""
    frames = pcm[: len(pcm) // 320 * 320].reshape(-1, 320)
    if not len(frames):
        return 1e-4
    power = (frames.astype(np.float64) ** 2).mean(1)
    return float(np.sqrt(power[power >= power.max() * 10**-2.5].mean()) + 1e-9)


def coloured_noise(samples: int, chance: np.random.Generator) -> np.ndarray:
    """Steady noise of unit power whose spectrum is random: hiss, hum of traffic, a fan."""
    size = next_fast_len(samples)
    bins = size // 2 + 1
    spectrum = chance.standard_normal(bins) + 1j * chance.standard_normal(bins)
    hertz = np.linspace(20, SAMPLE_RATE_HZ / 2, bins)
    knots = chance.normal(0, 5, 10)
    shape_db = np.interp(np.log(hertz), np.linspace(np.log(20), np.log(8000), 10), knots)
    tilt = hertz ** -chance.uniform(0, 1.1)
    noise = irfft(spectrum * tilt * 10 ** (shape_db / 20), size)[:samples]
    return (noise / (noise.std() + 1e-9)).astype(np.float32)


def add_at(pcm: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise so that speech stands `snr_db` above it; speech is measured where it is loud."""
    level = speech_rms(pcm) / (np.sqrt((noise**2).mean()) + 1e-9) * 10 ** (-snr_db / 20)
    return (pcm + level * noise).astype(np.float32)


def room(
    pcm: np.ndarray, rt60_s: float, direct_db: float, chance: np.random.Generator
) -> np.ndarray:
    """A made-up room: decaying noise after the direct sound, which is `direct_db` above its echoes."""
    length = int(_ROOM_S * SAMPLE_RATE_HZ)
    seconds = np.arange(length) / SAMPLE_RATE_HZ
    echoes = chance.standard_normal(length) * np.exp(-6.9 * seconds / rt60_s)
    echoes[: int(SAMPLE_RATE_HZ * chance.uniform(0.001, 0.008))] = 0
    echoes *= 10 ** (-direct_db / 20) / (np.sqrt((echoes**2).sum()) + 1e-9)
    echoes[0] = 1.0
    size = next_fast_len(len(pcm) + length)
    return irfft(rfft(pcm, size) * rfft(echoes, size), size)[: len(pcm)].astype(np.float32)


def phone_band(pcm: np.ndarray) -> np.ndarray:
    """A telephone line: 300 to 3,400 Hz and 8-bit mu-law."""
    band = butter(4, (300, 3400), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return mu_law(np.clip(sosfilt(band, pcm), -1, 1).astype(np.float32))


def mu_law(pcm: np.ndarray) -> np.ndarray:
    """Quantise as G.711 does."""
    companded = np.sign(pcm) * np.log1p(255 * np.abs(pcm)) / np.log(256)
    stepped = np.round(companded * 127) / 127
    return (np.sign(stepped) * (256 ** np.abs(stepped) - 1) / 255).astype(np.float32)


def opus(pcm: np.ndarray, bits_per_second: int) -> np.ndarray:
    """Through an Opus encoder and decoder; the codec's own delay is taken out again."""
    store = io.BytesIO()
    with av.open(store, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        stream.bit_rate = bits_per_second
        frame = av.AudioFrame.from_ndarray(pcm[None], format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        resampler = av.AudioResampler("flt", "mono", 48_000, frame_size=960)
        for given in (frame, None):
            for piece in resampler.resample(given):
                container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    store.seek(0)
    back = av.AudioResampler("flt", "mono", SAMPLE_RATE_HZ)
    with av.open(store, "r") as container:
        heard = [p.to_ndarray()[0] for f in container.decode(audio=0) for p in back.resample(f)]
    heard += [p.to_ndarray()[0] for p in back.resample(None)]
    out = np.concatenate(heard)[: len(pcm)]
    return np.pad(out, (0, len(pcm) - len(out)))


def clipped(pcm: np.ndarray, times: float) -> np.ndarray:
    """Turned up `times` and cut off, then at its old level."""
    peak = np.abs(pcm).max() + 1e-9
    return (np.clip(pcm * times, -peak, peak) / times**0.5).astype(np.float32)


def echo(
    pcm: np.ndarray, other: np.ndarray, below_db: float, chance: np.random.Generator
) -> np.ndarray:
    """Another voice, such as the agent's own from a loudspeaker, through a room, softer."""
    start = int(chance.integers(0, max(1, len(other) - len(pcm))))
    other = np.resize(other[start:], len(pcm))
    return add_at(pcm, room(other, 0.3, 3.0, chance), below_db)


def spoil(pcm: np.ndarray, seed: int, *, others: list[np.ndarray]) -> np.ndarray:
    """A random chain of line and room effects; noise and gain are left to training, in mel.

    Args:
        pcm: float32 [samples] at 16 kHz.
        seed: Of the choices.
        others: Other speakers' audio, for echo and babble; may be empty.
    """
    draw, chance = random.Random(seed), np.random.default_rng(seed)
    if draw.random() < 0.45:
        pcm = room(pcm, draw.uniform(0.08, 0.55), draw.uniform(0, 18), chance)
    if others and draw.random() < 0.12:
        pcm = echo(pcm, draw.choice(others), draw.uniform(8, 25), chance)
    if draw.random() < 0.08:
        pcm = clipped(pcm, draw.uniform(1.5, 5))
    line = draw.random()
    if line < 0.12:
        pcm = phone_band(pcm / (np.abs(pcm).max() + 1e-9) * draw.uniform(0.1, 0.9))
    elif line < 0.16:
        pcm = opus(pcm, draw.choice((8_000, 12_000, 24_000)))
    return pcm
