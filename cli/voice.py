"""`parley voice`: the voices of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tts.voices import VoiceShelf

voice = typer.Typer(no_args_is_help=True, help="Add, list, check and remove voices.")

_Checkpoint = Annotated[
    Path | None, typer.Option(help="Folder of a Voxtral TTS checkpoint; the nano one if left out.")
]


@voice.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What to call the voice.")],
    recording: Annotated[Path, typer.Argument(help="3 to 25 s of one person speaking.")],
    consent: Annotated[
        str, typer.Option(help="What the speaker agreed the voice may be used for.")
    ],
    speaker: Annotated[str, typer.Option(help="Who agreed; the voice's name if left out.")] = "",
    language: Annotated[str, typer.Option(help="BCP 47 tag.")] = "en",
    description: Annotated[str, typer.Option(help="A few words to choose by.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the voice.")] = "",
    checkpoint: _Checkpoint = None,
) -> None:
    """Make a voice from a recording, with its speaker's consent.

    The recording is kept beside the voice, on this machine only.

    Example:
        parley voice add maria maria.wav --consent "answering the shop's phone"
    """
    from common.errors import ParleyError
    from tts.checkpoint import load_codec
    from tts.voices import consent_of

    if not consent.strip():
        raise ParleyError(
            "A voice needs its speaker's consent.", "Say with --consent what they agreed to."
        )
    folder, reference = _shelf(checkpoint).add(
        name,
        recording,
        consent_of(speaker or name, consent),
        load_codec(_folder(checkpoint)),
        language=language,
        description=description,
        licence=licence,
    )
    typer.echo(f"{name}: {reference.seconds:.1f} s of speech, in {folder}")
    for remark in reference.remarks:
        typer.echo(f"  {remark}")


@voice.command("list")
def list_voices(
    checkpoint: _Checkpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """List the voices; the first is the default."""
    from dataclasses import asdict

    infos = _shelf(checkpoint).infos()
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in infos]))
        return
    for info in infos:
        kind = "cloned" if info.cloned else "preset"
        typer.echo(
            f"{info.name:20} {info.language:6} {kind:7} {info.description:32} {info.licence}"
        )


@voice.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="A voice added on this machine.")],
    checkpoint: _Checkpoint = None,
) -> None:
    """Delete a voice, its recording and its consent record."""
    typer.echo(f"removed {_shelf(checkpoint).remove(name)}")


@voice.command("check")
def check(
    recording: Annotated[Path, typer.Argument(help="A recording that may become a voice.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge a recording before making a voice of it: length, level, noise, clipping."""
    from tts.reference import read_reference

    found = read_reference(recording)
    if as_json:
        report = {
            "file": str(recording),
            "speech_s": round(found.seconds, 2),
            "level_dbfs": round(found.level_dbfs, 1),
            "snr_db": round(found.snr_db, 1),
            "remarks": list(found.remarks),
        }
        typer.echo(json.dumps(report))
        return
    typer.echo(
        f"{recording}: {found.seconds:.1f} s of speech at {found.level_dbfs:.0f} dBFS, "
        f"{found.snr_db:.0f} dB above the background"
    )
    for remark in found.remarks or ("Fit to become a voice.",):
        typer.echo(f"  {remark}")


def _folder(checkpoint: Path | None) -> Path:
    from pipelines.engines import NANO_TTS

    return (checkpoint or NANO_TTS).expanduser()


def _shelf(checkpoint: Path | None) -> VoiceShelf:
    from tts.voices import VoiceShelf

    return VoiceShelf(_folder(checkpoint))
