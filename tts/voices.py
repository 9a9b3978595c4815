"""Voices on disk: presets of a checkpoint, and folders made from recordings.

A folder holds `voice.yaml` (name, language, licence, consent), `voice.safetensors` (`codes` of the
reference [frames, codebooks], or ready `rows` [N, dim]) and, when it may be kept, `reference.wav`.
Checkpoints carry theirs under `voices/`; voices added here live in the user's own folder. Published
checkpoints hold `voice_embedding/NAME.pt` instead: a bare tensor of rows.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
import yaml
from loguru import logger
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from backbone.checkpoint import read_params
from common.audiofile import write_wav
from common.errors import CheckpointError, ParleyError
from common.language import Language, language_tag
from common.yamlfile import StrictModel, load_yaml
from tts.codec import Codec
from tts.config import TtsConfig
from tts.interface import SAMPLE_RATE_HZ, VoiceInfo
from tts.reference import Reference, read_reference

_CARD, _TENSORS, _REFERENCE = "voice.yaml", "voice.safetensors", "reference.wav"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_LANGUAGES = ("en", "fr", "de", "es", "nl", "pt", "it", "hi", "ar")


class Consent(StrictModel):
    """Who agreed to the making of a voice from their recording.

    Attributes:
        who: The speaker, or who answers for them.
        when: ISO date on which it was recorded here.
        what_for: What the voice may be used for, in the words given.
    """

    who: str
    when: str
    what_for: str


class VoiceCard(StrictModel):
    """`voice.yaml`.

    Attributes:
        codec: Fingerprint of the codec the codes belong to; other codecs encode the reference anew.
    """

    name: str
    language: Language = "en"
    description: str = ""
    licence: str = ""
    consent: Consent | None = None
    codec: str = ""


@dataclass(frozen=True, slots=True)
class _Voice:
    info: VoiceInfo
    path: Path
    codec: str = ""


def user_voices_dir() -> Path:
    """Where voices added on this machine live: PARLEY_VOICES, or the user's data folder."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(os.environ.get("PARLEY_VOICES") or Path(data) / "parley" / "voices")


def fingerprint(codec: Codec) -> str:
    """What tells one codec's codes from another's."""
    book = codec.quantizer.semantic_codebook.embedding_sum.float().cpu()
    return hashlib.sha256(book.numpy().tobytes()).hexdigest()[:16]


class VoiceShelf:
    """The voices one checkpoint can speak with.

    Args:
        checkpoint: Its folder.
        own: Folder of voices added on this machine; None is the user's.

    Raises:
        CheckpointError: There is no checkpoint in that folder.
    """

    def __init__(self, checkpoint: Path, own: Path | None = None):
        self._checkpoint = checkpoint
        self._config = TtsConfig.from_params(read_params(checkpoint))
        self.own = own or user_voices_dir()
        self._roots = (checkpoint / "voices", self.own)
        self._stamp: tuple[int, ...] = ()
        self._voices: dict[str, _Voice] = {}

    def infos(self) -> tuple[VoiceInfo, ...]:
        """All voices, the checkpoint's first."""
        return tuple(voice.info for voice in self._all().values())

    def find(self, name: str | None) -> VoiceInfo:
        """The voice of that name; None is the default.

        Raises:
            ParleyError: There is no such voice; the message lists those there are.
        """
        voices = self._all()
        if not voices:
            raise CheckpointError(
                f"{self._checkpoint} has no voices.", "Add one with `parley voice add`."
            )
        if name is None:
            return next(iter(voices.values())).info
        if name.lower() not in voices:
            raise ParleyError(
                f"There is no voice {name!r}.", "Choose one of: " + ", ".join(voices) + "."
            )
        return voices[name.lower()].info

    def edition(self, name: str) -> int:
        """Changes when the voice does."""
        return self._all()[name].path.stat().st_mtime_ns

    def tensors(self, name: str, codec: Codec) -> tuple[Tensor, bool]:
        """What a voice is made of.

        Returns:
            Codes int64 [frames, codebooks] and True, or rows [N, dim] and False.

        Raises:
            CheckpointError: The voice does not fit this checkpoint.
        """
        voice, dim = self._all()[name], self._config.backbone.dim
        if voice.path.suffix == ".pt":
            return _checked(_preset_rows(voice.path), dim, name), False
        kind, held = _held(voice.path / _TENSORS)
        if kind == "rows":
            return _checked(held, dim, name), False
        codes, reference = held.long(), voice.path / _REFERENCE
        if voice.codec and voice.codec != fingerprint(codec):
            if not (codec.has_encoder and reference.is_file()):
                raise CheckpointError(
                    f"The voice {name!r} was made with another codec.",
                    "Add it again from its recording with `parley voice add`.",
                )
            codes = encode(codec, read_reference(reference))
        codes, audio = self._checked_codes(codes, name), self._config.audio
        if audio.repeat_short_voices and voice.path.parent == self.own:
            codes = codes.repeat(-(-audio.max_voice_frames // len(codes)), 1)
        return codes[: audio.max_voice_frames], True

    def add(
        self, name: str, recording: Path, consent: Consent, codec: Codec, **card: str
    ) -> tuple[Path, Reference]:
        """Make a voice from a recording of 3 to 25 s.

        Args:
            name: Lower-case letters, digits, - and _.
            recording: Any audio file.
            consent: The speaker's.
            codec: Of the checkpoint; needs its encoder.
            **card: Further fields of `VoiceCard`: language, description, licence.

        Raises:
            AudioError: The recording is of no use; the message says why.
            CheckpointError: The checkpoint has no codec encoder.
            ParleyError: The name is taken, name or language are none, or voices cannot be kept here.
        """
        if not _NAME.fullmatch(name):
            raise ParleyError(
                f"{name!r} cannot be a voice's name.",
                "Use up to 40 lower-case letters, digits, - and _.",
            )
        try:
            language_tag(card.get("language", "en"))
        except ValueError as error:
            cure = "Use a language tag such as en, fr or pt-BR."
            raise ParleyError(f"{card['language']!r} is no language.", cure) from error
        folder, making = self.own / name, self.own / f".{name}"
        if name in self._all() or folder.exists():
            raise ParleyError(
                f"There is a voice {name!r} already.", "Choose another name, or remove it first."
            )
        reference = read_reference(recording)
        codes = encode(codec, reference)
        made = VoiceCard(name=name, consent=consent, codec=fingerprint(codec), **card)
        text = yaml.safe_dump(made.model_dump(), sort_keys=False, allow_unicode=True)
        try:
            shutil.rmtree(making, ignore_errors=True)
            self.own.mkdir(parents=True, exist_ok=True)
            making.mkdir(mode=0o700)  # somebody's voice
            write_wav(making / _REFERENCE, reference.pcm, SAMPLE_RATE_HZ)
            save_file({"codes": codes.to(torch.int16)}, making / _TENSORS)
            (making / _CARD).write_text(text, encoding="utf-8")
            making.rename(folder)  # a running engine sees all of it or nothing
        except OSError as error:
            raise ParleyError(
                f"Voices cannot be kept in {self.own}: {error.strerror}.",
                "Free that folder, or name another in PARLEY_VOICES.",
            ) from error
        return folder, reference

    def remove(self, name: str) -> Path:
        """Delete a voice added on this machine, recording included.

        Raises:
            ParleyError: There is none, or it belongs to the checkpoint.
        """
        folder = self.own / name
        if not (
            _NAME.fullmatch(name) and (folder / _CARD).is_file()
        ):  # one that is damaged is there
            folder = self._all()[self.find(name).name].path
        if folder.parent != self.own:
            raise ParleyError(
                f"The voice {name!r} is part of {self._checkpoint}.", "Only added voices go."
            )
        shutil.rmtree(folder)
        return folder

    def _all(self) -> dict[str, _Voice]:
        """All voices by name; read again only when a folder of voices has changed."""
        stamp = tuple(root.stat().st_mtime_ns if root.is_dir() else 0 for root in self._roots)
        if stamp != self._stamp:
            self._stamp, self._voices = stamp, self._read()
        return self._voices

    def _read(self) -> dict[str, _Voice]:
        presets = (self._checkpoint / "voice_embedding").glob("*.pt")
        voices = {path.stem: _Voice(_preset(path.stem), path) for path in self._sorted(presets)}
        for root in self._roots:
            for folder in self._sorted(root.glob("[!.]*")):
                if not (card_path := folder / _CARD).is_file():
                    continue
                try:
                    card = load_yaml(card_path, VoiceCard)
                except ParleyError as error:  # no reason for the others not to speak
                    logger.warning("The voice {} is left out: {}", folder.name, error)
                    continue
                info = VoiceInfo(
                    card.name,
                    card.language,
                    card.description,
                    card.licence,
                    cloned=card.consent is not None,
                )
                voices.setdefault(card.name, _Voice(info, card_path.parent, card.codec))
        return voices

    def _sorted(self, paths: Iterable[Path]) -> list[Path]:
        """In the order of the checkpoint's own list; those not on it after, by name."""
        listed = self._config.voices
        return sorted(paths, key=lambda path: (listed.get(path.stem, len(listed)), path.stem))

    def _checked_codes(self, codes: Tensor, name: str) -> Tensor:
        audio = self._config.audio
        acoustic = [audio.acoustic_codebook_size] * audio.n_acoustic_codebook
        sizes = torch.tensor([audio.semantic_codebook_size, *acoustic])
        codes = _checked(codes, audio.n_codebooks, name)
        if ((codes < 0) | (codes >= sizes)).any():
            raise CheckpointError(
                f"The voice {name!r} has codes that this checkpoint does not know.",
                "It belongs to another checkpoint.",
            )
        return codes


def encode(codec: Codec, reference: Reference) -> Tensor:
    """Codes int64 [frames, codebooks] of a reference."""
    with torch.inference_mode():
        return codec.encode(torch.from_numpy(reference.pcm).to(codec.device)[None])[0].cpu()


def consent_of(who: str, what_for: str) -> Consent:
    """A consent recorded today."""
    return Consent(who=who, when=date.today().isoformat(), what_for=what_for)


def _checked(held: Tensor, width: int, name: str) -> Tensor:
    if held.ndim != 2 or held.shape[1] != width or not len(held):
        raise CheckpointError(
            f"The voice {name!r} has shape {list(held.shape)}, this checkpoint needs [N, {width}].",
            "It belongs to another checkpoint.",
        )
    return held


def _held(path: Path) -> tuple[str, Tensor]:
    """What a voice's file holds, and under which name: `rows` or `codes`."""
    try:
        held = load_file(path)
        kind = "rows" if "rows" in held else "codes"
        return kind, held[kind]
    except (OSError, SafetensorError, KeyError) as error:
        raise CheckpointError(
            f"{path} is no voice ({error}).",
            "Remove it with `parley voice remove`, and add it again.",
        ) from error


def _preset_rows(path: Path) -> Tensor:
    try:
        rows = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is no preset voice.", "Download it again.") from error
    if not isinstance(rows, Tensor):
        raise CheckpointError(f"{path} is no preset voice.", "It must hold a bare tensor.")
    return rows


def _preset(name: str) -> VoiceInfo:
    language = name.split("_")[0]
    return VoiceInfo(
        name,
        language if language in _LANGUAGES else "en",
        name.replace("_", " "),
        "CC BY-NC 4.0",
    )
