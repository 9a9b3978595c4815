"""`parley codec`: speech to codes and back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from tts.codec import Codec

codec = typer.Typer(no_args_is_help=True, help="Turn speech into codes and back.")

_CHUNK_FRAMES = 50
_Checkpoint = Annotated[
    Path | None, typer.Option(help="Folder of a Voxtral TTS checkpoint; the nano one if left out.")
]


@codec.command("encode")
def encode(
    recording: Annotated[Path, typer.Argument(help="Any audio file.")],
    codes: Annotated[Path, typer.Argument(help="The .npy to write: int16, frames by codebooks.")],
    checkpoint: _Checkpoint = None,
) -> None:
    """Turn a recording into raw codes, 12.5 frames a second.

    Example:
        parley codec encode voice.wav codes.npy
    """
    import numpy as np
    import torch

    from cli.output import check_writable
    from common.audiofile import read_audio
    from common.errors import AudioError

    check_writable(codes)
    model = _load(checkpoint)
    wave = torch.from_numpy(read_audio(recording, model.config.sampling_rate))
    if not len(wave):
        raise AudioError(f"{recording} is empty.", "Give a recording with sound in it.")
    size = model.config.frame_samples
    wave = torch.nn.functional.pad(wave, (0, -len(wave) % size))[None]
    # Chunk by chunk the codes are those of the whole, and an hour takes no more memory than a second.
    memory, age, made = torch.zeros(1, model.encoder_values), torch.zeros(1).long(), []
    model.latents(wave[:, :size])  # without an encoder it says so before anything is drawn
    with torch.inference_mode():
        for chunk in _shown(wave.split(size * _CHUNK_FRAMES, dim=1), "encoding"):
            part, memory = model.encode_next(chunk, memory, age)
            age += part.shape[1]
            made.append(part[0])
    result = torch.cat(made).numpy().astype(np.int16)
    with codes.open("wb") as file:  # given a path, np.save adds .npy to names of one's own choosing
        np.save(file, result)
    typer.echo(f"{codes}: {result.shape[0]} frames of {result.shape[1]} codes")


@codec.command("decode")
def decode(
    codes: Annotated[Path, typer.Argument(help="A .npy of raw codes, frames by codebooks.")],
    out: Annotated[Path, typer.Argument(help="The 24 kHz wav to write.")],
    checkpoint: _Checkpoint = None,
) -> None:
    """Turn raw codes back into sound.

    Example:
        parley codec decode codes.npy again.wav
    """
    import numpy as np
    import torch

    from cli.output import check_writable
    from common.audiofile import write_wav

    check_writable(out)
    model = _load(checkpoint)
    frames = torch.from_numpy(_read_codes(codes, model).astype(np.int64))[None]
    memory, age, made = torch.zeros(1, model.decoder_values), torch.zeros(1).long(), []
    with torch.inference_mode():
        for chunk in _shown(frames.split(_CHUNK_FRAMES, dim=1), "decoding"):
            part, memory = model.decode_next(chunk, memory, age)
            age += chunk.shape[1]
            made.append(part[0])
    pcm = torch.cat(made).float().numpy()
    write_wav(out, pcm, model.config.sampling_rate)
    typer.echo(f"{out}: {len(pcm) / model.config.sampling_rate:.1f} s")


def _load(checkpoint: Path | None) -> Codec:
    from pipelines.engines import NANO_TTS
    from tts.checkpoint import load_codec

    return load_codec((checkpoint or NANO_TTS).expanduser())


def _read_codes(path: Path, model: Codec) -> np.ndarray:
    import numpy as np

    from common.errors import AudioError

    want = model.config.n_codebooks
    try:
        codes: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise AudioError(
            f"{path} holds no codes.", "Give a .npy of integers, as `parley codec encode` writes."
        ) from error
    if codes.ndim != 2 or codes.shape[1] != want or codes.dtype.kind not in "iu" or not len(codes):
        raise AudioError(
            f"{path} holds {codes.dtype} {list(codes.shape)}; this codec needs [frames, {want}].",
            "Codes belong to the checkpoint that made them.",
        )
    semantic, acoustic = model.config.semantic_codebook_size, model.config.acoustic_codebook_size
    if codes.min() < 0 or codes[:, 0].max() >= semantic or codes[:, 1:].max() >= acoustic:
        raise AudioError(
            f"{path} holds codes out of range: semantic 0 to {semantic - 1}, acoustic 0 to "
            f"{acoustic - 1}.",
            "Raw codes are meant, without the offset of the special ones.",
        )
    return codes


def _shown(chunks: Iterable[Tensor], what: str) -> Iterable[Tensor]:
    """A progress bar on stderr for what takes more than a moment, when someone is looking."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(
        list(chunks), what, console=console, transient=True, disable=not console.is_terminal
    )
