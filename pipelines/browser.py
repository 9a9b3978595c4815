"""Calls from browsers: offers in, conversations out, and none of them able to hurt another."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import RTCIceServer
from loguru import logger

from agent.eventlog import EventLog
from agent.llm_choice import LlmChoice
from agent.persona import Persona
from common.errors import EngineFull, ParleyError
from pipelines.conversation import Conversation
from pipelines.engines import Engines
from pipelines.judges import warm_judges
from pipelines.media.looplag import LoopLag
from pipelines.peer import Peer
from pipelines.recorder import Recorder
from pipelines.tasks import Tasks

_RTVI = "rtvi-ai"
_OUR_PAGE = "parley-page"
# Of what pipecat tells stock clients our page needs nothing, and it would fill a narrow line.
_FOR_OUR_PAGE = {"server-message", "error"}
_QUALITY_S = 2.0
_LONGEST_RTT_MS = 2000.0
# A line of 64 kbit/s or less that is asked for more gets here within seconds: packets queue, or are
# dropped in numbers that no other line knows.
_CROWDED_RTT_MS = 400.0
_CROWDED_LOSS_PERCENT = 10.0
_BROWSER_BUFFER_MS = 40.0  # what a browser's own jitter buffer holds on a quiet network
# A packet of 20 ms leaves when it is full, and Opus looks 6.5 ms ahead each way.
_PACKET_AND_CODEC_MS = 33.0
# An engine's thread may keep the interpreter for that long whenever the event loop wants it; with
# Python's default of 5 ms, waking for one 20 ms frame could take half of the frame.
_GIL_SWITCH_S = 0.001
_LINGER_S = 0.3  # for the last message to leave before the line is cut


class BrowserCall:
    """One browser's call: glue between its connection and its conversation."""

    def __init__(
        self,
        conversation: Callable[[Callable[[Any], None]], Conversation],
        ice_servers: Sequence[RTCIceServer],
    ):
        self.peer = Peer(self, ice_servers)
        self.conversation = conversation(self._send)
        self._greeted = False
        self._is_our_page = False

    def hear(self, pcm: np.ndarray) -> None:
        """20 ms from the caller."""
        self.conversation.hear(pcm)

    def pull(self, n_samples: int) -> np.ndarray | None:
        """The next samples for the caller."""
        return self.conversation.pull(n_samples)

    def on_connected(self) -> None:
        """Greet, once per call however often the browser reconnects."""
        if not self._greeted:
            self._greeted = True
            self.conversation.greet()

    def on_message(self, message: dict[str, Any]) -> None:
        """What is typed and the stop button go through turn-taking; the rest is pipecat's RTVI."""
        data = message.get("data")
        data = data if isinstance(data, dict) else {}
        match message.get("type"):
            case "send-text":
                self.conversation.typed(str(data.get("content", "")))
            case "client-message" if data.get("t") == "interrupt":
                self.conversation.stop_pressed()
            case "llm-function-call-result":
                pass  # tools run here; pipecat's log would quote what a client makes up
            case "client-ready" if _library(data) == _OUR_PAGE:
                self._is_our_page = True
            case _ if message.get("label") == _RTVI:
                self.conversation.client_message(message)

    def on_lost(self, reason: str) -> None:
        """The caller is gone."""
        self.conversation.end(reason)

    async def run(self) -> None:
        """Watch the line until the call is over, then free everything."""
        ended = self.conversation.ended
        try:
            while not ended.is_set():
                await self._report_quality()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), _QUALITY_S)
            await asyncio.sleep(_LINGER_S)
        finally:
            await self.hang_up()

    async def hang_up(self) -> None:
        """Free everything. Idempotent."""
        try:
            await self.peer.close()
        finally:
            await self.conversation.close()

    def _send(self, message: Any) -> None:
        if not self._is_our_page or message["type"] in _FOR_OUR_PAGE:
            self.peer.send(message)

    async def _report_quality(self) -> None:
        quality = await self.peer.quality()
        if quality:
            # By the wall clock, which may be set: what was not heard must not count as heard.
            rtt_ms = min(max(quality.get("rtt_ms", 0.0), 0.0), _LONGEST_RTT_MS)
            self.conversation.set_downstream_ms(rtt_ms / 2 + _BROWSER_BUFFER_MS)
            self.conversation.set_line_ms(rtt_ms + _PACKET_AND_CODEC_MS)
            self.conversation.tell("network", **quality)
            crowded = rtt_ms > _CROWDED_RTT_MS
            if crowded or quality.get("sent_loss_percent", 0.0) > _CROWDED_LOSS_PERCENT:
                self.peer.spare_the_line()


def _library(about_client: dict[str, Any]) -> Any:
    about = about_client.get("about")
    return about.get("library") if isinstance(about, dict) else None


class BrowserCalls:
    """All calls from browsers; telephones' are opened here too, so that one limit holds for both.

    Attributes:
        lag: How late the event loop is; calls are refused when it is too late to serve them well.
    """

    def __init__(
        self,
        engines: Engines,
        llm: LlmChoice,
        *,
        ice_servers: Sequence[RTCIceServer] = (),
        most_calls: int = 16,
        most_lag_ms: float = 25.0,
        log_dir: Path | None = None,
        log_words: bool = False,
        record_dir: Path | None = None,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    ):
        """Create it inside a running event loop.

        Args:
            engines: The models, shared by all calls.
            llm: Which language model takes the agent's turns.
            ice_servers: STUN and TURN servers.
            most_calls: More calls at a time are refused.
            most_lag_ms: So are calls while the event loop is later than this (95th percentile).
            log_dir: Where each call's event log is written; None writes none.
            log_words: Whether it says what people said.
            record_dir: Where each call's recording is written, named as its log; None records none.
            on_event: Told of every call's events of the page protocol, for metrics.
        """
        sys.setswitchinterval(_GIL_SWITCH_S)
        self.lag = LoopLag()
        self.lag.start()
        warm_judges()
        self._engines = engines
        self._llm = llm
        self._ice_servers = ice_servers
        self._most_calls = most_calls
        self._most_lag_ms = most_lag_ms
        self._log_dir = log_dir
        self._log_words = log_words
        self._record_dir = record_dir
        self._on_event = on_event
        self._calls: dict[str, BrowserCall] = {}
        self._phones: set[Conversation] = set()
        self._starting = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks = Tasks()

    @property
    def active(self) -> int:
        """Calls that are running or being set up."""
        return len(self._calls) + len(self._phones) + self._starting

    @property
    def failure(self) -> str:
        """Why there can be no calls until Parley is started again; empty while it works."""
        return self._engines.asr.failure or self._engines.tts.failure

    def admit(self) -> None:
        """Refuse unless one more call would be served well.

        Raises:
            EngineFull: Says why, and when to try again.
        """
        if self._draining:
            raise EngineFull("The server is about to stop.", 30.0)
        if self.active >= self._most_calls:
            raise EngineFull(f"All {self._most_calls} lines are busy.", 10.0)
        late = self.lag.known and self.lag.percentile_ms(95) > self._most_lag_ms
        if self.active and late:
            raise EngineFull("The server is too busy to serve one more call well.", 10.0)
        # Without a voice the greeting would stay unsaid.
        if why := self._engines.asr.refusal or self._engines.tts.refusal:
            raise EngineFull(why, 10.0)

    def carries(self, pc_id: str) -> bool:
        """Whether the call of that connection still goes on."""
        call = self._calls.get(pc_id)
        return call is not None and not call.conversation.ended.is_set()

    async def offer(
        self,
        sdp: str,
        kind: str,
        *,
        persona: Persona,
        voice: str | None = None,
        pc_id: str | None = None,
        restart: bool = False,
    ) -> dict[str, str]:
        """Answer a browser's offer: a new call, or a call it already has.

        Args:
            sdp: The offer.
            kind: Always "offer".
            persona: Who shall answer.
            voice: One of the engine's voices; None for the persona's.
            pc_id: The connection this belongs to; without one whose conversation still goes on, a
                new call starts.
            restart: Replace the connection under the same conversation.

        Returns:
            `sdp`, `type` and `pc_id`.

        Raises:
            EngineFull: This call could not be served well now.
            ParleyError: The offer cannot be answered; the message says why.
        """
        if pc_id is not None and self.carries(pc_id):
            return await self._calls[pc_id].peer.answer(sdp, kind, restart=restart)
        self.admit()
        self._starting += 1
        self._idle.clear()
        try:
            return await self._start(sdp, kind, persona, voice)
        finally:
            self._starting -= 1
            self._note_idle()

    async def add_candidates(self, pc_id: str, candidates: Sequence[dict[str, Any]]) -> None:
        """Take in candidates that trickle.

        Raises:
            ParleyError: There is no such call, or a candidate is malformed.
        """
        call = self._calls.get(pc_id)
        if call is None:
            raise ParleyError("There is no such call (any more).", "Start a new one.")
        await call.peer.add_candidates(candidates)

    def answer_phone(self, persona: Persona, to_screen: Callable[[Any], None]) -> Conversation:
        """A conversation for a telephone's call, not started yet, counted until it has ended.

        Raises:
            EngineFull: One more call would not be served well.
        """
        self.admit()
        conversation = self._open(persona, None, to_screen)
        self._phones.add(conversation)
        self._idle.clear()
        self._tasks.start(self._until_over(conversation), "telephone call")
        return conversation

    async def drain(self, timeout_s: float) -> None:
        """Take no more calls and wait for those that run to end, at most so long."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_s)

    async def close(self) -> None:
        """End all calls."""
        self._draining = True
        for call in list(self._calls.values()):
            call.conversation.end("the server is stopping")
        for conversation in self._phones:
            conversation.end("the server is stopping")
        await self._idle.wait()
        self.lag.stop()

    async def _start(
        self, sdp: str, kind: str, persona: Persona, voice: str | None
    ) -> dict[str, str]:
        call = BrowserCall(lambda send: self._open(persona, voice, send), self._ice_servers)
        answered, started = await asyncio.gather(
            call.peer.answer(sdp, kind), call.conversation.start(), return_exceptions=True
        )
        for outcome in (answered, started):
            if isinstance(outcome, BaseException):
                await call.hang_up()
                raise outcome
        assert isinstance(answered, dict)
        self._calls[call.peer.id] = call
        self._tasks.start(self._run(call), "browser call")
        return answered

    def _open(
        self, persona: Persona, voice: str | None, to_client: Callable[[Any], None]
    ) -> Conversation:
        name = f"{datetime.now():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
        log = self._log_dir / f"{name}.jsonl" if self._log_dir else None
        recording = self._record_dir / f"{name}.flac" if self._record_dir else None
        about = {"persona": persona.name, "pace": persona.pace}
        return Conversation(
            self._engines,
            self._llm.open(persona),
            persona,
            voice=voice,
            log=EventLog(log, with_words=self._log_words, **about),
            recorder=Recorder(recording),
            to_client=to_client,
            on_event=self._on_event,
        )

    async def _until_over(self, conversation: Conversation) -> None:
        await conversation.ended.wait()
        self._phones.discard(conversation)
        self._note_idle()
        logger.info(f"A telephone call ended: {conversation.end_reason}")

    async def _run(self, call: BrowserCall) -> None:
        try:
            await call.run()
        finally:
            self._calls.pop(call.peer.id, None)
            self._note_idle()
            logger.info(f"A call ended: {call.conversation.end_reason}")

    def _note_idle(self) -> None:
        if not self.active:
            self._idle.set()
