"""The model card: where a checkpoint comes from, what was measured, what it may be used for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from training.voice.speakers import SHIPPED
from tts.schedule import FRAME_S

_LICENCES = """\
The weights are under this project's licence (Apache-2.0). They were trained on nothing but speech that
flite {flite} synthesised with the CMU ARCTIC voices rms, slt and awb, which are free for any use
(http://festvox.org/cmu_arctic); flite's code and its CMULEX dictionary are under a BSD-style licence of
Carnegie Mellon University, and so is CMUdict, whose words the pronunciations cover. Sentences come from
our own grammar and from Debian's list of American English words. No person was recorded."""

_LIMITS = """\
- It cannot sound better than its teacher: a parametric voice of 2006, nothing above 8 kHz.
- American English only. Names and foreign words are sounded out letter by letter.
- It was trained on pieces of up to 8 s; longer text is cut at punctuation before it is spoken.
- Clones follow pitch, timbre and pace of a recording, not its accent or its manner; recordings with noise
  or from far outside the range of its synthetic teachers are copied badly.
- When how it sounds matters, use the 4B checkpoint on a GPU or a remote voice."""


def write(
    folder: Path,
    corpus: Path,
    codec_runs: tuple[Path, ...],
    speech_run: Path,
    *,
    flite: str,
    notes: str = "",
    before: Path | None = None,
) -> None:
    """Write `README.md` into a checkpoint folder that holds `evaluation.json`.

    Args:
        folder: The checkpoint.
        corpus: The training corpus.
        codec_runs: Folders of the codec's training and of its decoder's, with their logs.
        speech_run: Folder of the speech model's training, with its log.
        flite: Version of the teacher.
        notes: What else a reader must know of how this one was made.
        before: `evaluation.json` of the checkpoint this one replaces, on the same sentences.
    """
    evaluation = json.loads((folder / "evaluation.json").read_text())
    replaced = json.loads(before.read_text()) if before else None
    params = json.loads((folder / "params.json").read_text())
    text = [
        "# Nano voice",
        "",
        "Voxtral TTS (arXiv 2603.25551) at nano size: the published architecture and file layout,",
        "trained from scratch on synthesised speech. It speaks in real time on one processor core.",
        "",
        "| voice | manner |",
        "|---|---|",
        *(f"| `{voice.name}` | {voice.description} |" for voice in SHIPPED),
        "",
        "## Data",
        "",
        _taught_by(corpus),
        "",
        "## Training",
        "",
        "| | steps | core minutes | last losses (validation) |",
        "|---|---|---|---|",
        *(
            _trained(f"codec ({r.name})", r, ("spectra", "periodicity", "phones"))
            for r in codec_runs
        ),
        _trained("speech model", speech_run, ("semantic", "right", "flow", "hits")),
        "",
        *([notes, ""] if notes else []),
        "![Losses](losses.png)",
        "",
        "## Measured",
        "",
        *_measured(evaluation, replaced),
        "",
        "## What differs from the published checkpoint",
        "",
        *_differences(params),
        "",
        "## Limits",
        "",
        _LIMITS,
        "",
        "## Licence and sources",
        "",
        _LICENCES.format(flite=flite),
    ]
    (folder / "README.md").write_text("\n".join(text) + "\n")


def _taught_by(corpus: Path) -> str:
    options = json.loads((corpus / "options.json").read_text())
    shards = sorted(corpus.glob("*.jsonl"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in shards)).hexdigest()
    lines = [json.loads(line) for path in shards for line in path.read_text().splitlines()]
    hours = sum(line["n_frames"] for line in lines) * FRAME_S / 3600
    speakers = {line["speaker"] for line in lines}
    shipped = speakers.intersection(range(len(SHIPPED)))
    return (
        f"{len(lines)} utterances, {hours:.1f} h, by {len(shipped)} shipped and "
        f"{len(speakers - shipped)} other made speakers; seed {options['seed']}; "
        f"SHA-256 of all labels `{digest[:16]}`."
    )


def _trained(name: str, run: Path, wanted: tuple[str, ...]) -> str:
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    losses = ", ".join(f"{key} {last['val_' + key]:.3f}" for key in wanted if f"val_{key}" in last)
    return f"| {name} | {last['step']} | {last['core_minutes']:.0f} | {losses} |"


def _measured(report: dict[str, Any], before: dict[str, Any] | None) -> list[str]:
    """Tables of the evaluation, the codec's and the teacher's figures beside the model's."""
    rows = [
        (
            "our language model",
            report["word_error_our_lm"],
            (before or {}).get("word_error_our_lm"),
        ),
        (
            "its bundled language model",
            report["word_error_bundled_lm"],
            (before or {}).get("word_error_bundled_lm"),
        ),
    ]
    for name, rates in report["word_error_by_voice"].items():
        rows.append((f"… {name}", rates, before["word_error_by_voice"][name] if before else None))
    columns = ["nano", "codec", "teacher"]
    titles = ["nano", "codec alone", "teacher (flite)"]
    if before:
        titles.append("nano before")
    table = [
        f"Word error of pocketsphinx, {report['sentences']} sentences:",
        "",
        f"| | {' | '.join(titles)} |",
        f"|---|{'---|' * len(titles)}",
    ]
    for title, rates, earlier in rows:
        cells = [rates[name] for name in columns]
        cells += [earlier["nano"]] if earlier else []
        table.append(f"| {title} | {' | '.join(f'{cell:.1%}' for cell in cells)} |")
    return [*table, "", *(f"- {fact}" for fact in _facts(report))]


def _facts(report: dict[str, Any]) -> list[str]:
    length, ended, clone = report["length_ratio"], report["ended"], report["cloning"]
    words, levels = report["word_end_error_ms"], report["levels"]
    pauses, rise = report["pauses_ms"], report["final_rise_semitones"]
    asked, told, strangers = rise["questions"], rise["statements"], clone["with_strangers"]
    hoarse = report["periodicity"]
    return [
        f"Periodicity of what is voiced, which hoarseness lowers: {hoarse['nano']:.3f} (codec alone "
        f"{hoarse['codec']:.3f}, teacher {hoarse['teacher']:.3f}).",
        f"Ended by itself: {ended['share']:.1%} of {ended['of']} sentences.",
        f"Length against the teacher's: {length['mean']:.2f} ± {length['sd']:.2f}.",
        f"Word ends against a forced alignment of the same audio: median {words['median']:.0f} ms, "
        f"{words['within_80_ms']:.0%} within 80 ms ({words['teacher_within_80_ms']:.0%} of the teacher's "
        f"known ones are); within 80 ms of where the teacher ends the word: "
        f"{words['of_teacher_within_80_ms']:.0%}.",
        f"First frame {report['first_frame_ms']:.0f} ms, real-time factor "
        f"{report['real_time_factor']:.2f}, on one (shared) core.",
        f"Cloning, {clone['takes']} takes: {_joined(clone['closest_to_own'])} of {clone['of']} held-out "
        f"speakers' clones were closest to their own speaker among {clone['against']} (pitch and "
        f"spectral statistics); with {strangers['against'] - clone['against']} made strangers more, "
        f"{_joined(strangers['closest_to_own'])}.",
        f"The last 0.3 s lie {asked['nano']:+.1f} semitones from the mean pitch in questions (teacher "
        f"{asked['teacher']:+.1f}), {told['nano']:+.1f} in statements (teacher {told['teacher']:+.1f}).",
        f"Silence at the end {pauses['nano']:.0f} ms (teacher {pauses['teacher']:.0f} ms).",
        f"Level {levels['dbfs']:.1f} ± {levels['spread_db']:.1f} dBFS, highest peak "
        f"{levels['highest_peak']:.2f}, offset {levels['offset']:.4f}, clicks "
        f"{levels['clicks_per_s']:.3f} a second.",
    ]


def _differences(params: dict[str, Any]) -> list[str]:
    audio = params["multimodal"]["audio_model_args"]
    codec = params["multimodal"]["audio_tokenizer_args"]
    acoustic = audio["acoustic_transformer_args"]
    return [
        "All of it is declared in `params.json`; the code is the same.",
        "",
        f"- Sizes: width {params['dim']}, {params['n_layers']} layers; {audio['n_acoustic_codebook']} "
        f"acoustic codes, {audio['semantic_codebook_size']} semantic codewords; codec stages "
        f"{codec['encoder_dims_str']} and {codec['decoder_dims_str']} wide.",
        f"- Text units: {audio['text_units']}; positions restart at the audio; heads "
        f"{audio['alignment_heads']} follow the text.",
        f"- Codec input: {codec['encoder_input']}; output: {codec['output_head']}. Raw 240-sample "
        "patches were tried at equal budget and lost; see `docs/nano-voice.md`.",
        f"- Sampling: {acoustic['n_decoding_steps']} Euler steps, noise {acoustic['noise_scale']}, "
        f"guidance {acoustic['cfg_alpha']}.",
    ]


def _joined(counts: list[int]) -> str:
    return ", ".join(map(str, counts))
