"""One call: a caller's ears and screen on one side, models and a persona on the other.

    hear ──▶ Listener ──▶ TurnTaking ──▶ Conductor ──▶ Playout ──▶ pull
                                            │  ▲
          ┌─────────────── pipecat ─────────▼──┴──────────────────┐
          │ Head ─▶ user aggregator ─▶ language model ─▶ assistant │
          └────────────────────────────────────────────────────────┘

It knows no transport: whoever owns the caller's clock feeds `hear` every 20 ms and pulls as often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from loguru import logger
from pipecat.frames.frames import InputTransportMessageFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frameworks.rtvi import models as rtvi
from pipecat.workers.runner import WorkerRunner

from agent.eventlog import EventLog
from agent.evidence import StopPressed, Typed
from agent.llm import LanguageModel, LlmError
from agent.llm_script import END_CALL
from agent.manners import Manners
from agent.pace import options_for
from agent.persona import Persona
from agent.service import AgentTurn
from agent.toolbox import ToolBox
from agent.transfers import PUT_THROUGH
from agent.turns import State, TurnTaking
from common.errors import ParleyError
from pipelines.assembly import SpokenTurn, assemble
from pipelines.conductor import Conductor
from pipelines.engines import Engines
from pipelines.head import Head
from pipelines.judges import warm_judges
from pipelines.listener import Listener
from pipelines.mouth import Mouth, Reply
from pipelines.playout import Playout
from pipelines.recorder import Recorder
from pipelines.reporter import Reporter
from pipelines.tasks import Tasks
from tts.interface import TtsEngine
from tts.speakable import speakable

_NEVER_S = 1e9
_START_S = 15.0

PutThrough = Callable[[str], Awaitable[None]]
"""Given a number (E.164) or a SIP address, hands the caller over; raises ParleyError if that fails."""


class Conversation:
    """One call from greeting to goodbye.

    Attributes:
        log: Everything that happens, with its time and reason; the page's events among it.
        ended: Set when the call is over.
        end_reason: Why it is.
    """

    def __init__(
        self,
        engines: Engines,
        model: LanguageModel,
        persona: Persona,
        *,
        voice: str | None = None,
        log: EventLog | None = None,
        recorder: Recorder | None = None,
        to_client: Callable[[Any], None] = lambda message: None,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    ):
        """Create it inside a running event loop; then `await start()`.

        Raises:
            ParleyError: The engine has no such voice.

        Args:
            engines: The models, shared with other calls.
            model: Takes the agent's turn.
            persona: Who the agent is.
            voice: One of the engine's voices; None for the persona's.
            log: Where everything is noted; None keeps nothing.
            recorder: Where what is heard and said is kept; None keeps nothing.
            to_client: Sends an RTVI message to the caller's screen.
            on_event: Told of every event of the page protocol, for metrics.
        """
        self.log = log or EventLog()
        self._recorder = recorder or Recorder()
        self.ended = asyncio.Event()
        self.end_reason = ""
        self._engines = engines
        self._model = model
        self._persona = persona
        self._voice = _voice_of(engines.tts, voice, persona)
        self._to_client = to_client
        self._on_event = on_event
        self._tasks = Tasks()
        self._line_puts_through: PutThrough = _no_telephone
        idle_s = persona.idle_after_s or _NEVER_S
        rules = replace(options_for(persona.pace), idle_s=idle_s)
        if not persona.filler:
            rules = replace(rules, fillers=0)
        self.log.rules(rules)
        turns = TurnTaking(rules)
        self._manners = Manners(persona)
        self._report = Reporter(self.tell, time.monotonic)
        self._conductor = conductor = Conductor(self._manners, self._report, self.end)
        self._playout = Playout(conductor.on_audible, conductor.on_done)
        self._head = conductor.head = Head(to_client)
        self._listener = conductor.listener = Listener(
            turns,
            self.log,
            self._recorder,
            conductor.decide,
            conductor.on_words,
            self._on_failure,
        )
        self._mouth = conductor.mouth = Mouth(
            engines.tts,
            self._voice,
            partial(speakable, lexicon=persona.lexicon, language=persona.language),
            self._playout,
            conductor,
        )
        tools = persona.find_tools()
        toolbox = ToolBox(tools, {END_CALL: self._on_end_call, PUT_THROUGH: self._on_put_through})
        self.context = LLMContext(tools=toolbox.schema()) if tools else LLMContext()
        llm = SpokenTurn(model, persona, conductor)
        llm.add_event_handler("on_llm_failed", self._on_llm_failed)
        self._worker = assemble(self._head, self.context, llm, summaries=model.name != "script")

    # ---- for whoever owns the caller's clock ------------------------------------------------------

    def hear(self, pcm: np.ndarray) -> None:
        """Take in 20 ms from the caller: float32 [320] at 16 kHz."""
        if not self.ended.is_set():
            self._listener.hear(pcm)

    def pull(self, n_samples: int) -> np.ndarray | None:
        """The next samples for the caller: float32 at 24 kHz, None when all of it is silence."""
        pcm = self._playout.pull(n_samples)
        self._listener.said(pcm, n_samples)
        self._conductor.on_pulled()
        return pcm

    def set_downstream_ms(self, delay_ms: float) -> None:
        """Tell how long audio takes from `pull` to the caller's ear."""
        self._conductor.downstream_samples = round(24 * delay_ms)

    def set_line_ms(self, delay_ms: float) -> None:
        """Tell what packets, codecs and network add to every answer, there and back."""
        self._report.line_ms = delay_ms

    def set_put_through(self, put_through: PutThrough) -> None:
        """Tell how this caller's line is put through to somebody else; without it none is."""
        self._line_puts_through = put_through

    @property
    def at_rest(self) -> bool:
        """Nobody has the floor and nothing is being prepared."""
        return self._listener.turns.state is State.LISTENING and self._mouth.idle

    @property
    def greeted(self) -> bool:
        """The greeting has been heard (or cut off)."""
        reply = self._playout.current
        return not (isinstance(reply, Reply) and reply.turn == 0)

    # ---- for whoever is on the caller's screen ----------------------------------------------------

    def typed(self, text: str) -> None:
        """The caller typed a message."""
        if text.strip():
            self._listener.observe(Typed(self._listener.at, text.strip()))

    def stop_pressed(self) -> None:
        """The caller wants silence."""
        self._listener.observe(StopPressed(self._listener.at))

    def client_message(self, message: Any) -> None:
        """An RTVI message from the caller's screen, for pipecat's processor."""
        self._tasks.start(
            self._worker.queue_frame(InputTransportMessageFrame(message=message)), "client message"
        )

    # ---- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the ears and start the pipeline.

        Raises:
            EngineFull: The recogniser refuses one more caller.
            ParleyError: It cannot be opened.
        """
        warm_judges()
        await self._listener.open(self._engines.asr, self._persona.language)
        started = asyncio.Event()

        @self._worker.event_handler("on_pipeline_started")
        async def on_started(_worker: Any, _frame: Any) -> None:
            started.set()

        self._tasks.start(self._run(), "conversation")
        try:
            await asyncio.wait_for(started.wait(), _START_S)
        except TimeoutError:
            raise ParleyError(
                "The pipeline did not start.", "See the log for the reason."
            ) from None
        self.tell(
            "ready",
            persona=self._persona.title or self._persona.name,
            voice=self._voice,
            asr=self._engines.asr.info.name,
            tts=self._engines.tts.info.name,
            llm=f"{self._model.name} ({self._model.where})",
            limits=[x for x in (self._engines.asr.info.limits, self._engines.tts.info.limits) if x],
        )

    def greet(self) -> None:
        """Say the persona's first words; a legal notice comes first and is heard out."""
        for line in self._manners.opening():
            self._conductor.say(line)

    def end(self, reason: str) -> None:
        """The call is over. Idempotent; `close` frees what it held."""
        if not self.ended.is_set():
            self.end_reason = reason
            self.tell("bye", reason=reason)
            self.ended.set()

    async def close(self) -> None:
        """End the call and free everything. Idempotent."""
        self.end("closed")
        self._conductor.withdraw()
        await self._listener.close()
        await self._worker.cancel(reason=self.end_reason)
        await self._tasks.cancel()
        await self._mouth.close()  # last: until then the model may begin a reply
        await asyncio.gather(self.log.close(), self._recorder.close())

    def tell(self, event: str, **fields: Any) -> None:
        """Tell the caller's screen and the log of an event of the page protocol."""
        self.log.write(event, self._listener.at, **fields)
        told = {"event": event, **fields}
        self._on_event(told)
        self._to_client(rtvi.ServerMessage(data=told).model_dump(exclude_none=True))
        if event == "agent_text":  # the same for stock clients
            text = rtvi.TextMessageData(text=fields["text"])
            self._to_client(rtvi.BotTTSTextMessage(data=text).model_dump(exclude_none=True))

    async def _run(self) -> None:
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self._worker)
        await runner.run()
        self.end("the pipeline stopped")

    async def _on_end_call(self) -> None:
        self._conductor.hang_up_when_said()

    async def _on_put_through(self, to: str) -> None:
        self._conductor.put_through_when_said(
            lambda: self._tasks.start(self._put_through(to), "transfer")
        )

    async def _put_through(self, to: str) -> None:
        try:
            await self._line_puts_through(self._persona.transfers[to])
        except ParleyError as error:
            self.tell("transfer", to=to, done=False, reason=error.cause)
            self._conductor.say(self._manners.unreachable())
        else:
            self.tell("transfer", to=to, done=True, reason="")
            self.end("transferred")

    async def _on_llm_failed(self, _llm: AgentTurn, error: LlmError) -> None:
        self._report.error(error)

    def _on_failure(self, error: ParleyError) -> None:
        """The recogniser died: a call without ears is over."""
        logger.warning(f"The recogniser failed: {error}")
        self._report.error(error)
        self.end("the recogniser failed")


async def _no_telephone(_address: str) -> None:
    raise ParleyError("The caller is on no telephone line that can be put through.")


def _voice_of(tts: TtsEngine, wanted: str | None, persona: Persona) -> str:
    """The voice asked for, or the persona's where the engine has it, or the engine's first."""
    names = [voice.name for voice in tts.voices()]
    if wanted and wanted not in names:
        raise ParleyError(f"There is no voice {wanted!r}.", f"Choose one of: {', '.join(names)}.")
    return wanted or (persona.voice if persona.voice in names else names[0])
