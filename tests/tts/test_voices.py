"""Voices on disk: presets, clones, and recordings that will not do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from loguru import logger
from safetensors.torch import save

from common.audiofile import write_wav
from common.errors import AudioError, CheckpointError, ParleyError
from common.resample import resample
from tests.tts.checkpoints import write_checkpoint
from tts.checkpoint import load_codec
from tts.codec import Codec
from tts.engine import VoxtralTtsEngine
from tts.reference import LEVEL_DBFS, prepare, read_reference
from tts.voices import VoiceShelf, consent_of, encode

CONSENT = consent_of("Maria P.", "answering the shop's phone")


def speech(seconds: float, level: float = 0.1, rate_hz: int = 24_000) -> np.ndarray:
    """Noise with the ups and downs of syllables, and a quiet start and end."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(0).standard_normal(len(t)).astype(np.float32)
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * t)
    pause = np.zeros(rate_hz // 2)
    return np.concatenate([pause, level * noise * syllables, pause]).astype(np.float32)


@pytest.fixture
def shelf(checkpoint: Path) -> VoiceShelf:
    return VoiceShelf(checkpoint)


@pytest.fixture(scope="module")
def codec(checkpoint: Path) -> Codec:
    return load_codec(checkpoint)


def test_presets_are_listed_in_published_order_and_loaded_weights_only(
    shelf: VoiceShelf, codec: Codec, checkpoint: Path, tmp_path: Path
) -> None:
    assert [info.name for info in shelf.infos()] == ["casual_female", "casual_male", "pt_male"]
    assert shelf.infos()[2].language == "pt"
    rows, are_codes = shelf.tensors("casual_male", codec)
    assert rows.shape == (7, 32)
    assert not are_codes
    evil = write_checkpoint(tmp_path / "evil")
    torch.save({"rows": Path("anything but a tensor")}, evil / "voice_embedding" / "bad.pt")
    (evil / "voice_embedding" / "empty.pt").touch()
    other = VoiceShelf(evil)
    for name in ("bad", "empty"):
        with pytest.raises(CheckpointError, match=name):
            other.tensors(name, codec)


@pytest.mark.parametrize(
    ("held", "cause"),
    [
        (None, "is no voice"),
        (b"xx", "is no voice"),
        (save({"others": torch.zeros(5, 7)}), "is no voice"),
        (save({"rows": torch.zeros(5, 3)}), r"shape \[5, 3\]"),
        (save({"codes": torch.zeros(5, 3, dtype=torch.int16)}), r"shape \[5, 3\]"),
        (save({"codes": torch.zeros(0, 7, dtype=torch.int16)}), r"shape \[0, 7\]"),
        (save({"codes": torch.full((5, 7), 21, dtype=torch.int16)}), "does not know"),
        (save({"codes": torch.full((5, 7), -1, dtype=torch.int16)}), "does not know"),
    ],
)
def test_a_voice_that_does_not_fit_says_so(
    shelf: VoiceShelf, codec: Codec, voices_dir: Path, held: bytes | None, cause: str
) -> None:
    folder = voices_dir / "zoe"
    folder.mkdir(parents=True)
    (folder / "voice.yaml").write_text("name: zoe\n")
    if held is not None:
        (folder / "voice.safetensors").write_bytes(held)
    with pytest.raises(CheckpointError, match=cause):
        shelf.tensors("zoe", codec)


async def test_a_recording_becomes_a_voice_that_speaks(
    shelf: VoiceShelf, codec: Codec, checkpoint: Path, tmp_path: Path, voices_dir: Path
) -> None:
    stereo = np.stack([speech(4, rate_hz=48_000)] * 2, axis=1)
    write_wav(tmp_path / "maria.wav", stereo, 48_000)
    folder, reference = shelf.add(
        "maria", tmp_path / "maria.wav", CONSENT, codec, language="pt", description="the shop"
    )
    assert folder == voices_dir / "maria"
    assert reference.seconds == pytest.approx(4.2, abs=0.15)
    card = yaml.safe_load((folder / "voice.yaml").read_text())
    assert card["consent"] == {
        "who": "Maria P.",
        "when": CONSENT.when,
        "what_for": "answering the shop's phone",
    }
    codes, are_codes = shelf.tensors("maria", codec)
    assert are_codes
    assert codes.shape == (-(-len(reference.pcm) // 1920), 7)
    shelf._config = replace(shelf._config, audio=replace(shelf._config.audio, max_voice_frames=20))
    assert torch.equal(shelf.tensors("maria", codec)[0], codes[:20])
    at_length = replace(shelf._config.audio, max_voice_frames=80, repeat_short_voices=True)
    shelf._config = replace(shelf._config, audio=at_length)
    assert torch.equal(shelf.tensors("maria", codec)[0], torch.cat([codes, codes])[:80])
    info = shelf.infos()[-1]
    assert (info.name, info.language, info.cloned) == ("maria", "pt", True)
    engine = VoxtralTtsEngine.load(checkpoint, max_streams=1, device="cpu")
    stream = await engine.open(voice="maria")
    stream.write("Bom dia.")
    assert len((await anext(stream.frames())).pcm) == 1920
    await engine.close()
    with pytest.raises(ParleyError, match="already"):
        shelf.add("maria", tmp_path / "maria.wav", CONSENT, codec)
    shelf.remove("maria")
    assert not folder.exists()
    with pytest.raises(ParleyError, match="part of"):
        shelf.remove("casual_male")


def test_another_codec_encodes_the_reference_anew(
    shelf: VoiceShelf, codec: Codec, tmp_path: Path
) -> None:
    write_wav(tmp_path / "a.wav", speech(4), 24_000)
    folder, _ = shelf.add("a", tmp_path / "a.wav", CONSENT, codec)
    torch.manual_seed(9)
    other = Codec(codec.config).eval().fold()
    codes, _ = shelf.tensors("a", other)
    assert torch.equal(codes, encode(other, read_reference(folder / "reference.wav")))
    (folder / "reference.wav").unlink()
    with pytest.raises(CheckpointError, match="another codec"):
        shelf.tensors("a", other)


def test_without_an_encoder_cloning_says_what_to_do(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "closed", encoder=False)
    shelf = VoiceShelf(folder)
    write_wav(tmp_path / "a.wav", speech(4), 24_000)
    with pytest.raises(CheckpointError, match="preset voices"):
        shelf.add("a", tmp_path / "a.wav", CONSENT, load_codec(folder))
    assert not (shelf.own / "a").exists()


@pytest.mark.parametrize(
    ("seconds", "level", "cause"),
    [(1, 0.1, "1.2 s of speech"), (40, 0.1, "40 s of speech"), (5, 0.0, "silent")],
)
def test_recordings_that_will_not_do(seconds: float, level: float, cause: str) -> None:
    with pytest.raises(AudioError, match=cause):
        prepare(speech(seconds, level), "it")


def test_what_a_recording_is_judged_by() -> None:
    good = prepare(speech(5), "it")
    assert good.remarks == ()
    assert good.snr_db > 30
    again = prepare(good.pcm, "it")
    assert again.level_dbfs == pytest.approx(LEVEL_DBFS, abs=0.5)
    clipped = prepare(np.clip(speech(5, 3.0), -1, 1), "it")
    assert any("clipped" in remark for remark in clipped.remarks)
    noisy = speech(5) + 0.05 * np.random.default_rng(1).standard_normal(6 * 24_000)
    assert any("noise" in remark for remark in prepare(noisy.astype(np.float32), "it").remarks)
    narrow = resample(resample(speech(5), 24_000, 8_000), 8_000, 24_000)
    assert any("telephone" in remark for remark in prepare(narrow, "it").remarks)


def test_no_audio_at_all(tmp_path: Path) -> None:
    write_wav(tmp_path / "empty.wav", np.zeros(0, np.float32), 24_000)
    with pytest.raises(AudioError, match=r"empty\.wav"):
        read_reference(tmp_path / "empty.wav")


def test_a_damaged_voice_is_named_left_out_and_can_be_removed(
    shelf: VoiceShelf, codec: Codec, tmp_path: Path, voices_dir: Path
) -> None:
    (voices_dir / "x").mkdir(parents=True)
    (voices_dir / "x" / "voice.yaml").write_text("name: x\ncolour: blue\n")
    told: list[str] = []
    sink = logger.add(told.append)
    assert [info.name for info in shelf.infos()] == ["casual_female", "casual_male", "pt_male"]
    logger.remove(sink)
    assert "colour" in "".join(told)
    write_wav(tmp_path / "a.wav", speech(4), 24_000)
    with pytest.raises(ParleyError, match="already"):
        shelf.add("x", tmp_path / "a.wav", CONSENT, codec)
    shelf.remove("x")
    folder, _ = shelf.add("x", tmp_path / "a.wav", CONSENT, codec)
    assert folder.stat().st_mode & 0o777 == 0o700  # somebody's voice
    with pytest.raises(ParleyError, match="no voice"):
        shelf.remove("../x")


def test_where_voices_cannot_be_kept_is_said(
    checkpoint: Path, codec: Codec, tmp_path: Path
) -> None:
    write_wav(tmp_path / "a.wav", speech(4), 24_000)
    shelf = VoiceShelf(checkpoint, tmp_path / "a.wav")
    with pytest.raises(ParleyError, match="cannot be kept"):
        shelf.add("x", tmp_path / "a.wav", CONSENT, codec)
