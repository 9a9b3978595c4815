"""Voxtral TTS for many conversations: one thread, one model, all speakers one batch.

Every step makes one 80 ms frame for those who need it soonest. Speakers with enough audio ahead sit
out; one that has just got its text starts between two steps. A speaker that could not be served in
time is refused at the door rather than slowing everyone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import torch
from loguru import logger

from backbone.cache import KvCache
from backbone.cuda import memory_for, rows_that_fit
from backbone.stepper import Stepper, on_one_core
from common.errors import EngineFull, ParleyError
from tts.alignment import Pace
from tts.capacity import BUSY_SHARE, capacity
from tts.checkpoint import load_model, load_units
from tts.interface import TtsInfo, VoiceInfo
from tts.metrics import Meter, TtsMetrics
from tts.model import TtsModel
from tts.schedule import FRAME_S, next_turn
from tts.speaking import Said, SpeakingBatch, Start
from tts.stream import Item, Speaker, VoxtralSpeechStream
from tts.text import ClausePlanner, TextUnits
from tts.voices import VoiceShelf

AHEAD_S = 2.0
"""Audio ahead after which a speaker sits out: what an interruption would throw away."""
MAX_TOKENS = 2048
MAX_ROWS = {"cpu": 8, "cuda": 32}
MEMORY_SHARE = 0.1
"""Of a GPU's free memory, for speakers nobody asked for: the ears come after, and this leaves them
room for about as many callers."""


class VoxtralTtsEngine:
    """See `tts.interface.TtsEngine`. Open one with `load`."""

    def __init__(
        self,
        batch: SpeakingBatch,
        units: TextUnits,
        shelf: VoiceShelf,
        *,
        name: str,
        max_streams: int | None = None,
        ahead_s: float = AHEAD_S,
        carry_on: bool | None = None,
    ):
        self._batch, self._units, self._shelf, self._name = batch, units, shelf, name
        self._ahead_s = ahead_s
        self._carry_on = batch.model.sizes.audio.carry_on if carry_on is None else carry_on
        self._max_text = min(batch.model.sizes.audio.max_text_chars, batch.max_tokens // 4)
        self._editions: dict[str, int] = {}
        self._paces: dict[str, Pace] = {}
        self._speakers: list[Speaker] = []
        self._meter = Meter()
        self._max_streams = self._prepare(max_streams)
        self._stepper = Stepper("tts", self._step, failed=self._on_failure)

    @classmethod
    @on_one_core
    @memory_for("the voice")
    def load(
        cls,
        folder: str | Path,
        *,
        voices_dir: Path | None = None,
        max_streams: int | None = None,
        device: str | None = None,
        ahead_s: float = AHEAD_S,
        carry_on: bool | None = None,
    ) -> Self:
        """Load a checkpoint and measure how many speakers this machine can serve. Blocks.

        Args:
            folder: With params.json, consolidated.safetensors and the text front end's files.
            voices_dir: Voices added on this machine; None is the user's own folder.
            max_streams: Speakers at once; None measures it.
            device: As torch names it; None takes a GPU if there is one.
            ahead_s: Audio ahead of playback after which a speaker sits out.
            carry_on: Whether a clause continues the frames before it; None is as the checkpoint says.

        Raises:
            CheckpointError: The folder does not hold what it promises.
            ParleyError: The GPU's memory has no room for the model or the speakers.
        """
        folder = Path(folder)
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        model = load_model(folder, place)
        tokens = min(model.sizes.max_seq_len, MAX_TOKENS)
        rows = _rows(model, tokens, max_streams)
        batch = SpeakingBatch(model, rows, max_tokens=tokens)
        units = load_units(folder, model.sizes)
        shelf = VoiceShelf(folder, voices_dir)
        return cls(
            batch,
            units,
            shelf,
            name=folder.name,
            max_streams=max_streams,
            ahead_s=ahead_s,
            carry_on=carry_on,
        )

    @torch.inference_mode()
    def _prepare(self, max_streams: int | None) -> int:
        """Have the default voice ready, warm everything up, and know how many may speak."""
        default = self._shelf.find(None).name
        self._have_voice(default)
        self._batch.warm_up()
        return max_streams or capacity(self._batch, default, tuple(self._units.encode("a.")[0]))

    @property
    def info(self) -> TtsInfo:
        """Name, place and limits, for people."""
        clones = self._batch.model.audio_tokenizer.has_encoder
        place = self._batch.hidden.device.type
        return TtsInfo(
            name=f"voxtral-tts {self._name}",
            where=f"in process, {place}",
            can_clone=clones,
            limits="" if clones else "Preset voices only: this checkpoint has no codec encoder.",
            extra={"max_speakers": str(self._max_streams)},
        )

    def voices(self) -> tuple[VoiceInfo, ...]:
        """The voices that `open` accepts; the first is the default."""
        return self._shelf.infos()

    async def open(
        self,
        *,
        voice: str | None = None,
        seed: int | None = None,
        lexicon: Mapping[str, str] | None = None,
    ) -> VoxtralSpeechStream:
        """Open an utterance.

        Args:
            voice: One of `voices`; None is the first.
            seed: The same seed speaks the same codes, whatever else is in the batch.
            lexicon: Spellings by which particular words are to be spoken.

        Raises:
            EngineFull: One more speaker would make the others stutter.
            ParleyError: No such voice; the message lists those there are.
        """
        loop = asyncio.get_running_loop()
        stream = VoxtralSpeechStream(
            write=lambda text: self._stepper.post(lambda: speaker.write(text, time.monotonic())),
            end_text=lambda: self._stepper.post(lambda: speaker.end_text()),
            cancel=lambda: self._cancel(speaker),
        )
        speaker = await self._stepper.call(
            lambda: self._join(voice, seed, lexicon, stream.sender(loop)), undo=self._leave
        )
        return stream

    def _cancel(self, speaker: Speaker) -> None:
        with suppress(ParleyError):  # an engine that has stopped has no slot to free
            self._stepper.post(lambda: self._leave(speaker))

    @property
    def refusal(self) -> str:
        """Why no further caller should be taken in at this moment; empty when one may.

        `open` is not as strict: a caller who is there is better answered late than not at all.
        """
        return self._stepper.why_stopped or self._why_full() or self._why_late()

    @property
    def failure(self) -> str:
        """Why it serves nobody any more until Parley is started again; empty while it works."""
        return self._stepper.why_stopped

    async def metrics(self) -> TtsMetrics:
        """How the engine is doing, or was doing when it stopped."""
        if self._stepper.why_stopped:
            return self._measure()
        return await self._stepper.call(self._measure)

    async def close(self) -> None:
        """Stop the engine's thread. Idempotent."""
        await self._stepper.close()
        for speaker in self._speakers:
            speaker.finish()
        self._speakers = []

    def _why_full(self) -> str:
        full = len(self._speakers) >= self._max_streams
        return f"All {self._max_streams} voices of this machine are speaking." if full else ""

    def _why_late(self) -> str:
        """The capacity was measured in CPU time, of which a busy machine may give too little."""
        step_s = self._meter.step_s if self._speakers else 0.0
        if step_s <= BUSY_SHARE * FRAME_S:
            return ""
        return (
            f"The voice needs {1000 * step_s:.0f} ms for every {1000 * FRAME_S:.0f} ms of speech."
        )

    # --- on the engine's thread -----------------------------------------------------------------

    def _join(
        self,
        voice: str | None,
        seed: int | None,
        lexicon: Mapping[str, str] | None,
        send: Callable[[Item], None],
    ) -> Speaker:
        if why := self._why_full():
            raise EngineFull(why)
        info = self._shelf.find(voice)
        self._have_voice(info.name)
        taken = {speaker.row for speaker in self._speakers}
        row = next(row for row in range(self._batch.rows) if row not in taken)
        self._batch.reset(row)
        planner = ClausePlanner(self._units, lexicon, info.language)
        pace = self._paces.setdefault(info.name, Pace())
        speaker = Speaker(row, info.name, seed, planner, pace, self._max_text, send)
        self._speakers.append(speaker)
        return speaker

    def _leave(self, speaker: Speaker) -> None:
        if speaker in self._speakers:
            self._speakers.remove(speaker)
            speaker.finish()

    def _have_voice(self, name: str) -> None:
        """Make sure the batch knows a voice as it now is on disk."""
        if self._editions.get(name) == (edition := self._shelf.edition(name)):
            return
        model = self._batch.model
        tensor, are_codes = self._shelf.tensors(name, model.audio_tokenizer)
        tensor = tensor.to(self._batch.hidden.device)
        self._batch.add_voice(name, model.voice_rows(tensor) if are_codes else tensor)
        self._editions[name] = edition

    def _step(self) -> float | None:
        """One frame for those who need it soonest; see `Stepper`."""
        speaking = [speaker for speaker in list(self._speakers) if self._has_clause(speaker)]
        now_s = time.monotonic()
        turn = next_turn(speaking, now_s, self._ahead_s)
        if not turn.speak:
            return turn.wait_s
        self._begin(turn.begin)
        self._speak(turn.speak)
        self._meter.step(time.monotonic() - now_s)
        return 0.0

    def _has_clause(self, speaker: Speaker) -> bool:
        """Whether there is something for a speaker to say; one that is through leaves."""
        try:
            if speaker.next_clause():
                return True
        except Exception as error:  # one caller's strange text must not silence the others
            logger.exception("a text could not be prepared for speaking")
            speaker.finish(ParleyError(f"A text could not be prepared for speaking: {error!r}."))
            self._speakers.remove(speaker)
            return False
        if speaker.over:
            self._leave(speaker)
        return False

    def _begin(self, speakers: Sequence[Speaker]) -> None:
        starts = [self._start(speaker) for speaker in speakers]
        rooms = [self._batch.room_after(start) for start in starts]
        firsts = self._batch.begin(starts)
        for speaker, first_unit, room_frames in zip(speakers, firsts, rooms, strict=True):
            speaker.begin(first_unit, room_frames)

    def _start(self, speaker: Speaker) -> Start:
        assert speaker.clause is not None
        assert speaker.row is not None
        ids, said = speaker.clause.ids, speaker.said
        afresh = Start(speaker.row, speaker.voice, ids)
        if not self._carry_on or not said.ids or len(said.ids) + len(ids) > self._max_text:
            return afresh
        continued = self._units.onward(ids)
        between = max(len(continued) - len(ids), 0)  # units that belong to neither clause
        said = Said((*said.ids, *continued[:between]), said.codes)
        onward = Start(speaker.row, speaker.voice, tuple(continued[between:]), said)
        return onward if self._batch.room_after(onward) >= speaker.clause.max_frames else afresh

    def _speak(self, speakers: Sequence[Speaker]) -> None:
        rows = [speaker.row for speaker in speakers if speaker.row is not None]
        made = self._batch.step(rows, [speaker.generator for speaker in speakers])
        now_s = time.monotonic()
        for speaker, spoken in zip(speakers, made, strict=True):
            if spoken.pcm is None:
                speaker.end_clause()
                continue
            self._meter.frame(
                now_s=now_s, plays_until_s=speaker.plays_until_s, wrote_s=speaker.wrote_s
            )
            speaker.wrote_s = None
            speaker.plays_until_s = max(speaker.plays_until_s, now_s) + FRAME_S
            speaker.frame(spoken.pcm, spoken.codes, spoken.scores)

    def _measure(self) -> TtsMetrics:
        now_s = time.monotonic()
        return self._meter.read(self._max_streams, (s.lead_s(now_s) for s in self._speakers))

    def _on_failure(self, error: Exception) -> None:
        failure = ParleyError(f"The voice has failed: {error!r}.", "Restart Parley.")
        speakers, self._speakers = self._speakers, []
        for speaker in speakers:
            speaker.finish(failure)


def _rows(model: TtsModel, max_tokens: int, max_streams: int | None) -> int:
    """Room for as many speakers as asked for, or as memory allows."""
    weight = model.norm.weight
    most = max_streams or MAX_ROWS[weight.device.type]
    if weight.device.type != "cuda":
        return most
    row = KvCache.allocate(
        model.config, 1, max_tokens=max_tokens, device="meta", dtype=weight.dtype
    )
    least = max_streams or 1
    return rows_that_fit(weight.device, row.row_bytes, least=least, most=most, share=MEMORY_SHARE)
