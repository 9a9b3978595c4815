"""An agent that follows a script, over real WebRTC and the real page protocol.

It listens by loudness only and says prepared lines with flite, so what the page must show is known
beforehand: greeting, partial and final words, a reply lit word by word, a duck, a cut.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
import wave
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame, AudioResampler

from common.errors import EngineFull, ParleyError

GREETING = "Good evening, this is the harbour office. What can I do for you?"
EXCHANGES = (
    (
        "What time do you open on Sunday?",
        "On Sundays we open at nine in the morning. The pilot station answers all night, "
        "and the fuel berth follows an hour later, weather permitting, until the evening tide.",
    ),
    ("And is there a berth free for tonight?", "Yes. Berth seven is yours until noon tomorrow."),
    ("Thank you very much.", "You are welcome. Fair winds."),
)
PARTS = (("pause", 190), ("words", 60), ("brain", 85), ("voice", 130), ("network", 35))
_SPEECH_RMS = 0.01
_CUT_AFTER_MS = 240
_TURN_END_MS = 500


@cache
def flite(text: str, voice: str) -> np.ndarray:
    """Speech at 48 kHz, float32."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", file.name], check=True)
        with wave.open(file.name) as wav:
            rate_hz = wav.getframerate()
            pcm = np.frombuffer(wav.readframes(wav.getnframes()), np.int16) / 32768
    at = np.arange(int(len(pcm) * 48_000 / rate_hz)) * rate_hz / 48_000
    return np.interp(at, np.arange(len(pcm)), pcm).astype(np.float32)


def write_wav(path: Path, pcm: np.ndarray) -> None:
    """48 kHz mono, as Chromium's fake microphone wants it."""
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 48_000, 0, "NONE", ""))
        wav.writeframes((np.clip(pcm, -1, 1) * 32767).astype(np.int16).tobytes())


class Mouth(MediaStreamTrack):
    """Plays one utterance at a time, 20 ms a frame, and counts what it played."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.pcm = np.zeros(0, np.float32)
        self.played = 0
        self.held = False
        self._start_s: float | None = None
        self._samples = 0

    @property
    def speaking(self) -> bool:
        return self.played < len(self.pcm)

    async def recv(self) -> AudioFrame:
        self._start_s = self._start_s or time.monotonic()
        await asyncio.sleep(max(0, self._start_s + self._samples / 48_000 - time.monotonic()))
        piece = np.zeros(960, np.float32)
        if self.speaking and not self.held:
            fresh = self.pcm[self.played : self.played + 960]
            piece[: len(fresh)] = fresh
            self.played += 960
        frame = AudioFrame.from_ndarray((piece * 32767).astype(np.int16)[None], layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._samples, Fraction(1, 48_000)
        self._samples += 960
        return frame


class StandInCall:
    """One call."""

    def __init__(self, pc: RTCPeerConnection, lines: Mapping[str, np.ndarray], voice: str | None):
        self.pc, self.lines, self.voice = pc, lines, voice
        self.mouth = Mouth()
        self.channel: Any = None
        self.typed: list[str] = []
        self.turn = 0
        self.text = ""
        self.told_words = 0
        self.tasks: set[asyncio.Task[None]] = set()
        pc.addTrack(self.mouth)
        pc.on("datachannel", self._on_channel)
        pc.on("track", lambda track: self.spawn(self._listen(track)))

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def tell(self, **event: Any) -> None:
        if self.channel and self.channel.readyState == "open":
            message = {"label": "rtvi-ai", "type": "server-message", "data": event}
            self.channel.send(json.dumps(message))

    def _on_channel(self, channel: Any) -> None:
        self.channel = channel
        channel.on("message", self._on_message)

    def _on_message(self, raw: str) -> None:
        if raw.startswith("ping"):
            return
        message = json.loads(raw)
        match message["type"], message.get("data"):
            case "client-ready", _:
                self.tell(event="ready", persona="harbour", voice=self.voice or "slt",
                          asr="loudness", tts="flite", llm="script", limits="")  # fmt: skip
                self.spawn(self._say(GREETING, 0))
            case "send-text", {"content": content}:
                self.typed.append(content)
                self.cut("you typed")
                self.turn += 1
                self.tell(event="caller_words", turn=self.turn, text=content, final=True)
                self.spawn(self._say(EXCHANGES[0][1], self.turn))
            case "client-message", {"t": "interrupt"}:
                self.cut("you asked it to stop")

    def cut(self, reason: str) -> None:
        if not self.mouth.speaking:
            return
        words = self.text.split()
        n_heard = int(len(words) * self.mouth.played / len(self.mouth.pcm))
        self.mouth.pcm = self.mouth.pcm[: self.mouth.played]
        heard, unheard = " ".join(words[:n_heard]), " ".join(words[n_heard:])
        cut = {"turn": self.turn, "heard": heard, "unheard": unheard, "by": "caller"}
        self.tell(event="agent_cut", **cut)
        self.tell(event="state", state="listening", reason=reason)

    async def _say(self, text: str, turn: int) -> None:
        if turn:
            self.tell(event="state", state="thinking", reason="finding the answer")
            await asyncio.sleep(0.3)
            parts = [{"name": name, "ms": ms} for name, ms in PARTS]
            self.tell(event="latency", turn=turn, total_ms=sum(ms for _, ms in PARTS), parts=parts)
        self.turn, self.text = turn, text
        self.mouth.pcm, self.mouth.played, self.mouth.held = self.lines[text], 0, False
        self.tell(event="state", state="speaking", reason="")
        for clause in text.replace(". ", ".|").split("|"):
            self.tell(event="agent_text", turn=turn, text=clause + " ")
        n_words = len(text.split())
        told = 0
        while self.mouth.speaking:
            heard = int(n_words * self.mouth.played / len(self.mouth.pcm))
            if heard > told:
                told = heard
                self.tell(event="agent_words", turn=turn, spoken=heard)
            await asyncio.sleep(0.05)
        if self.mouth.played >= len(self.lines[text]):
            self.tell(event="agent_words", turn=turn, spoken=n_words)
            self.tell(event="state", state="listening", reason="your turn")

    async def _listen(self, track: Any) -> None:
        speech_ms = silence_ms = 0
        resampler = AudioResampler("s16", "mono", 48_000)
        while True:
            try:
                frames = resampler.resample(await track.recv())
            except MediaStreamError:
                return  # the caller left
            pcm = frames[0].to_ndarray()[0] / 32768
            loud = float(np.sqrt(np.mean(pcm**2))) > _SPEECH_RMS
            speech_ms, silence_ms = (speech_ms + 20, 0) if loud else (speech_ms, silence_ms + 20)
            if loud and self.mouth.speaking and not self.mouth.held:
                self.mouth.held = True
                self.tell(event="state", state="ducked", reason="it heard you and paused")
            if speech_ms > _CUT_AFTER_MS and self.mouth.speaking:
                self.cut("you took the floor")
            if self.mouth.speaking and self.mouth.held and silence_ms > 300:
                self.mouth.held, speech_ms = False, 0
                self.tell(event="state", state="speaking", reason="that was only a cough")
            if speech_ms and loud and speech_ms % 400 == 0 and self.turn < len(EXCHANGES):
                words = EXCHANGES[self.turn][0].split()[: speech_ms // 350]
                text = " ".join(words)
                self.tell(event="caller_words", turn=self.turn + 1, text=text, final=False)
            if speech_ms >= 300 and silence_ms >= _TURN_END_MS and self.turn < len(EXCHANGES):
                said, reply = EXCHANGES[self.turn]
                speech_ms = 0
                self.tell(event="caller_words", turn=self.turn + 1, text=said, final=True)
                self.spawn(self._say(reply, self.turn + 1))


class StandInCalls:
    """`web.calls.Calls` over aiortc."""

    failure = ""

    def __init__(self, most: int = 4) -> None:
        self.most = most
        lines = [GREETING, *(reply for _, reply in EXCHANGES)]
        self.lines = {line: flite(line, "slt") for line in lines}
        self.calls: dict[str, StandInCall] = {}

    @property
    def active(self) -> int:
        return len(self.calls)

    def admit(self) -> None:
        if self.active >= self.most:
            raise EngineFull("Sorry, all lines are busy.", 10)

    async def offer(
        self,
        sdp: str,
        kind: str,
        *,
        persona: Any,
        voice: str | None = None,
        pc_id: str | None = None,
        restart: bool = False,
    ) -> dict[str, str]:
        pc = RTCPeerConnection()
        key = pc_id if pc_id in self.calls else f"call-{id(pc):x}"
        await self._end(key)
        self.admit()
        call = self.calls[key] = StandInCall(pc, self.lines, voice)
        await pc.setRemoteDescription(RTCSessionDescription(sdp, kind))
        await pc.setLocalDescription(await pc.createAnswer())

        @pc.on("connectionstatechange")
        async def changed() -> None:
            if pc.connectionState in {"closed", "failed"} and call is self.calls.get(key):
                await self._end(key)

        return {"sdp": pc.localDescription.sdp, "type": "answer", "pc_id": key}

    def carries(self, pc_id: str) -> bool:
        return pc_id in self.calls

    async def add_candidates(self, pc_id: str, candidates: Sequence[Mapping[str, Any]]) -> None:
        if pc_id not in self.calls:
            raise ParleyError("There is no such call.", "Call again.")
        for found in candidates:
            if found["candidate"]:
                candidate = candidate_from_sdp(found["candidate"].removeprefix("candidate:"))
                candidate.sdpMid = found["sdp_mid"]
                candidate.sdpMLineIndex = found["sdp_mline_index"]
                await self.calls[pc_id].pc.addIceCandidate(candidate)

    async def close(self) -> None:
        for key in list(self.calls):
            self.calls[key].tell(event="bye", reason="the server hung up")
            await self._end(key)

    async def _end(self, key: str) -> None:
        call = self.calls.pop(key, None)
        if call:
            for task in list(call.tasks):
                task.cancel()
            await call.pc.close()
