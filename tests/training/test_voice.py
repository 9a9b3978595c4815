"""The nano voice's training: teacher, alignment, resuming, and a checkpoint the engine can open."""

from __future__ import annotations

import asyncio
import ctypes.util
import json
import lzma

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from common.errors import ParleyError
from training.voice.lexicon import save_front_end
from training.voice.text import WORD_LIST, words_of_the_language
from tts.phonemes import LetterRules, Phonemes

pytestmark = [
    pytest.mark.skipif(
        ctypes.util.find_library("flite") is None, reason="libflite1 is not installed"
    ),
    pytest.mark.skipif(not WORD_LIST.exists(), reason="wamerican is not installed"),
]

CODEC = {
    "semantic_codebook_size": 16,
    "semantic_dim": 8,
    "acoustic_codebook_size": 21,
    "acoustic_dim": 4,
    "attn_sliding_window_size": 8,
    "dim": 32,
    "hidden_dim": 32,
    "head_dim": 8,
    "encoder_transformer_lengths_str": "1,1,1,1",
    "decoder_transformer_lengths_str": "1,1,1,1",
    "decoder_convs_kernels_str": "3,4,4,4",
    "decoder_convs_strides_str": "1,2,2,2",
    "patch_proj_kernel_size": 3,
    "encoder_input": "patch+magnitudes",
    "output_head": "istft",
    "semantic_norm": True,
}
SPEECH = {
    "dim": 32,
    "n_layers": 2,
    "head_dim": 16,
    "hidden_dim": 32,
    "n_heads": 4,
    "n_kv_heads": 2,
    "vocab_size": 128,
    "multimodal": {
        "audio_model_args": {
            "semantic_codebook_size": 16,
            "acoustic_codebook_size": 21,
            "n_acoustic_codebook": 4,
            "text_units": "phonemes",
            "restart_positions_at_audio": True,
            "alignment_heads": [[1, 0]],
            "acoustic_transformer_args": {
                "input_dim": 32,
                "dim": 16,
                "n_layers": 1,
                "head_dim": 8,
                "hidden_dim": 16,
                "n_heads": 2,
                "n_kv_heads": 2,
                "n_decoding_steps": 2,
            },
        }
    },
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    from training.voice.corpus import CorpusOptions, build

    folder = tmp_path_factory.mktemp("corpus")
    build(folder, CorpusOptions(utterances=8, shard_utterances=8, passers_by=1), 1)
    return folder


@pytest.fixture(scope="module")
def front_end():
    from training.voice.flite import pronounce
    from training.voice.lexicon import FIRST_ID, UNITS

    class Asked(dict[str, str]):
        """A dictionary that asks the teacher."""

        def __contains__(self, word: object) -> bool:
            return True

        def __getitem__(self, word: str) -> str:
            # "to" and its like come without the stress that vowels have.
            return " ".join(p if p in UNITS else f"{p}0" for p in pronounce(word))

    return Phonemes(UNITS, FIRST_ID, Asked(), LetterRules({}))


def pitch_at_end(text):
    from training.voice.corpus import speak
    from training.voice.flite import Manner, Teacher
    from training.voice.judge import pitch_hz

    pcm, segments = speak(Teacher("rms"), text, Manner("rms", 104.0))
    end = round(segments[-2].end_s * 24_000)
    return pitch_hz(pcm[end - 7_200 : end])


def test_questions_rise():
    assert pitch_at_end("Are you ready now?") > 1.2 * pitch_at_end("Are you ready now.")


def test_a_manner_changes_pitch_and_pace():
    from training.voice.flite import Manner, Teacher
    from training.voice.judge import pitch_hz

    teacher = Teacher("rms")
    low, _ = teacher.speak("We are open all day.", Manner("rms", 90.0))
    high, _ = teacher.speak("We are open all day.", Manner("rms", 140.0, slowness=1.3))
    wide = [np.interp(np.arange(0, len(x), 2 / 3), np.arange(len(x)), x) for x in (low, high)]
    assert pitch_hz(wide[0]) == pytest.approx(90, rel=0.15)
    assert pitch_hz(wide[1]) == pytest.approx(140, rel=0.15)
    assert len(high) > 1.2 * len(low)


def test_utterances_are_whole_frames_at_one_level(corpus):
    from training.voice.data import SpokenCorpus

    speech = SpokenCorpus(corpus)
    assert len(speech) >= 6
    for index, utterance in enumerate(speech.utterances):
        wave = speech.wave(index)
        assert len(wave) == utterance.n_frames * 1920
        assert 0.02 < wave.std() < 0.15
        assert np.abs(wave).max() <= 0.9
        assert abs(wave[-1]) < 1e-3


def test_a_finished_shard_is_not_made_again(corpus):
    from training.voice.corpus import CorpusOptions, build

    before = (corpus / "0000.pcm").stat().st_mtime_ns
    build(corpus, CorpusOptions(utterances=8, shard_utterances=8, passers_by=1), 1)
    assert (corpus / "0000.pcm").stat().st_mtime_ns == before


def test_a_corpus_has_one_kind_of_shards(corpus):
    from training.voice.corpus import CorpusOptions, build

    with pytest.raises(ParleyError, match="other options: random_share"):
        build(corpus, CorpusOptions(8, shard_utterances=8, passers_by=1, random_share=0.9), 1)


def test_units_cover_the_audio_in_order(corpus, front_end):
    from training.voice.aligned import align
    from training.voice.data import SpokenCorpus

    for utterance in SpokenCorpus(corpus).utterances:
        aligned = align(utterance, front_end)
        assert aligned is not None
        ids, times_s = aligned
        assert len(ids) == len(times_s)
        assert times_s[0, 0] == 0
        assert times_s[-1, 1] == pytest.approx(utterance.n_frames * 0.08)
        assert (np.diff(times_s.ravel()) >= -1e-9).all()


def test_words_said_otherwise_take_the_teachers_phones(front_end):
    from training.voice.aligned import _match
    from training.voice.flite import Segment

    segments = [(Segment("k", "1", 0, 0.1), 0.0), (Segment("ae", "1", 0, 0.3), 0.1)]
    units, cuts = _match(["b", "iy1", "z", "t"], segments)
    assert units == ["k", "ae1"]
    assert cuts == [(0.0, 0.1), (0.1, 0.3)]
    units, cuts = _match(["k", "aa1"], segments)
    assert units == ["k", "aa1"]


def test_heads_are_asked_to_follow_the_units_and_the_mark_that_ends_the_clause():
    from training.voice.aligned import Aligned
    from training.voice.batches import attention_wanted
    from training.voice.lexicon import FIRST_ID, UNITS

    ids = np.array([FIRST_ID + UNITS.index(unit) for unit in ("n", "ow1", ",", "w", "ay1", "?")])
    cuts = np.array([0.0, 0.08, 0.16, 0.24, 0.32, 0.4, 0.48])
    times_s = np.stack([cuts[:-1], cuts[1:]], axis=1)
    utterance = Aligned(ids, times_s, np.zeros((6, 3), np.int16), np.zeros((6, 2)), 0)
    now, later, mark = attention_wanted(utterance, 4, 12).argmax(-1).T - 4
    assert now.tolist() == [0, 1, 2, 3, 4, 5, 5]
    assert later.tolist() == [1, 2, 3, 4, 5, 5, 5]
    assert mark.tolist() == [2, 2, 2, 5, 5, 5, 5]


def test_a_shipped_voice_follows_its_own_reference():
    from training.voice.aligned import Aligned
    from training.voice.batches import SpeechExamples
    from training.voice.export import published_params
    from training.voice.speech import SpeechRun
    from tts.config import TtsConfig

    def said(code, frames):
        times_s = np.array([[0.0, frames * 0.08]])
        codes, latents = np.full((frames, 5), code, np.int16), np.zeros((frames, 4), np.float16)
        return Aligned(np.array([60]), times_s, codes, latents, speaker=code)

    sizes = TtsConfig.from_params(published_params(SPEECH, {**CODEC, "semantic_norm": False}))
    run = SpeechRun(shipped_references=1.0, shortest_voice_frames=3, longest_voice_frames=3)
    reference = np.full((7, 5), 9, np.int16)
    utterances = [said(0, 4), said(0, 4), said(1, 4), said(1, 4)]
    examples = SpeechExamples(sizes, utterances, run, {0: reference})
    batch = examples.collate([0, 2], np.random.default_rng(0))
    shipped, other = batch.frame_at.sum(1).tolist()
    assert (shipped, other) == (7 + 1 + 4, 3 + 1 + 4)  # a reference ends with END
    assert batch.codes[:7].eq(9).all()


def config_file(folder, minutes):
    path = folder / "codec.yaml"
    run = {"core_minutes": minutes, "batch": 4, "frames": 8, "resolutions": 1, "wave_share": 0.5}
    path.write_text(yaml.safe_dump({"codec": CODEC, "run": run}))
    return path


def logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_training_resumes_and_its_checkpoint_speaks(corpus, front_end, tmp_path, monkeypatch):
    from training.voice import aligned, codec, export, speech
    from training.voice.speakers import SHIPPED
    from tts.config import TtsConfig
    from tts.engine import VoxtralTtsEngine

    for minutes in (0.015, 0.03):
        settings, run = codec.read_config(config_file(tmp_path, minutes))
        codec.train(tmp_path / "codec", settings, run, corpus, corpus)
    first, *_, second = logged(tmp_path / "codec")
    assert second["step"] > first["step"]
    assert second["core_minutes"] > first["core_minutes"]

    trained, codec_args = export.load_codec(tmp_path / "codec" / "state.pt")
    assert not codec_args["semantic_norm"]
    encoded = aligned.encode_corpus(trained, corpus, front_end)
    aligned.save(tmp_path / "encoded.npz", encoded, trained)
    again = aligned.load(tmp_path / "encoded.npz", trained)
    assert len(again) == len(encoded)
    np.testing.assert_array_equal(again[-1].codes, encoded[-1].codes)
    np.testing.assert_array_equal(again[0].ids, encoded[0].ids)

    monkeypatch.setattr(speech, "VALIDATION_BATCH", 4)
    for minutes in (0.015, 0.03):
        run = speech.SpeechRun(core_minutes=minutes, batch=2, guided_layers=(1,))
        params = export.published_params(SPEECH, codec_args)
        speech.train(tmp_path / "speech", params, run, again, again, {})
    first, *_, second = logged(tmp_path / "speech")
    assert second["step"] > first["step"]
    assert np.isfinite(second["val_semantic"])

    save_front_end(tmp_path / "front-end", {"hello": "hh ax0 l ow1"}, {})
    state = tmp_path / "speech" / "state.pt"
    export.export(tmp_path / "made", params, trained, [state, state], tmp_path / "front-end")
    assert TtsConfig.from_params(params).codec.semantic_norm is False

    async def hello():
        engine = VoxtralTtsEngine.load(
            tmp_path / "made", max_streams=1, voices_dir=tmp_path / "own"
        )
        names = [voice.name for voice in engine.voices()]
        stream = await engine.open(voice=SHIPPED[0].name, seed=1)
        stream.write("Hello.")
        stream.end_text()
        frames = [frame async for frame in stream.frames()]
        await engine.close()
        return names, frames

    names, frames = asyncio.run(hello())
    assert names == [voice.name for voice in SHIPPED]
    assert frames
    assert all(np.isfinite(frame.pcm).all() for frame in frames)

    export.unpack(tmp_path / "made", tmp_path / "again")
    unpacked, unpacked_args = export.load_codec(tmp_path / "again" / "codec" / "state.pt")
    assert unpacked_args == codec_args
    own, theirs = unpacked.state_dict(), trained.state_dict()
    for name in theirs:
        torch.testing.assert_close(own[name], theirs[name].float(), rtol=0.01, atol=0.01)
    run = speech.SpeechRun(core_minutes=0.01, batch=2, guided_layers=(1,))
    begun = tmp_path / "again" / "before" / "state.pt"
    speech.train(tmp_path / "further", params, run, again, again, {}, start_from=begun)
    assert logged(tmp_path / "further")[0]["val_semantic"] < first["val_semantic"]


def test_codes_of_another_codec_are_refused(tmp_path):
    from training.voice import aligned
    from tts.codec import Codec
    from tts.config import CodecConfig

    one = np.zeros((1, 2), np.float32)
    said = aligned.Aligned(np.array([64]), one, one, one, speaker=0)
    codec = Codec(CodecConfig(**CODEC))
    aligned.save(tmp_path / "train.npz", [said], codec)
    assert aligned.load(tmp_path / "train.npz", codec)[0].speaker == 0
    codec.quantizer.semantic_codebook.embedding_sum += 1  # it was trained on
    with pytest.raises(ParleyError, match="another codec"):
        aligned.load(tmp_path / "train.npz", codec)


def codec_trainer(**run):
    from training.voice.codec import CodecRun, CodecTrainer
    from tts.config import CodecConfig

    return CodecTrainer(CodecConfig(**CODEC), CodecRun(**run)).train()


def test_a_decoder_that_learns_alone_leaves_the_encoder_as_it_is():
    trainer = codec_trainer(decoder_only=True)
    learning = {n.split(".")[1] for n, p in trainer.named_parameters() if p.requires_grad}
    assert learning == {"decoder_blocks", "output_proj", "output_head"}
    assert not trainer.codec.quantizer.training


def test_jitter_moves_acoustic_codes_by_whole_levels():
    codec = (trainer := codec_trainer(jitter_levels=0.5)).codec
    codes = torch.cat([torch.randint(16, (2, 50, 1)), torch.randint(21, (2, 50, 4))], dim=-1)
    latent = codec.quantizer.decode(codes)
    moved = trainer.jittered(latent)
    torch.testing.assert_close(moved[..., :8], latent[..., :8], rtol=0, atol=0)
    levels = (moved[..., 8:] + 1) * 10
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    assert levels.min() >= 0
    assert levels.max() <= 20
    off = (levels.round() - codes[..., 1:]).abs()
    assert (
        0.2 < (off > 0).float().mean() < 0.45
    )  # beyond half a level of a normal distribution: 0.32


@pytest.mark.parametrize(
    ("step", "first"),
    [
        (["codec"], "corpus"),
        (["encode"], "codec"),
        (["speech"], "codec"),
        (["decoder"], "codec"),
        (["export", "out"], "codec"),
    ],
)
def test_a_step_run_too_early_names_the_one_before(tmp_path, step, first):
    from training.voice.__main__ import app

    result = CliRunner().invoke(app, [*step, "--work", str(tmp_path)])
    assert isinstance(result.exception, ParleyError)
    assert f"training.voice {first}`" in result.exception.cure


def test_a_missing_word_list_names_its_package(tmp_path):
    with pytest.raises(ParleyError, match="wamerican"):
        words_of_the_language(tmp_path / "words")


def test_every_word_of_the_dictionary_is_said_as_it_stands_there(tmp_path):
    """The rules say "bas" right, but at run time it might be taken for more than one "ba"."""
    words = {"ba": "b aa1", "bas": "b ae1 s", "bab": "b ae1 b"}
    save_front_end(tmp_path, words, {">b<": "b", ">a<": "ae1", ">s<": "s"})
    front_end = Phonemes.load(tmp_path)
    assert {word: " ".join(front_end.pronounce(word)) for word in words} == words
    assert "bab" not in lzma.decompress((tmp_path / "lexicon.json.xz").read_bytes()).decode()
