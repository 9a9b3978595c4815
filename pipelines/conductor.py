"""Carries out what turn-taking decides: on the playout at once, on pipecat's pipeline in order."""

from __future__ import annotations

from collections.abc import Callable

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EagerEndOfTurnCancelFrame,
    EagerTranscriptionFrame,
    Frame,
    InterimTranscriptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    UserBackchannelFrame,
)
from pipecat.utils.time import time_now_iso8601

from agent import decisions as d
from agent.evidence import AgentAudio, AgentThinking
from agent.manners import Line, Manners
from asr.interface import SAMPLE_RATE_HZ, Hypothesis
from common.errors import ParleyError
from pipelines.head import Head
from pipelines.listener import Listener
from pipelines.memory import heard, sure, taken_back
from pipelines.mouth import Mouth, Reply
from pipelines.playout import Utterance
from pipelines.waterfall import Step, Waterfall
from tts.interface import SAMPLE_RATE_HZ as SAID_HZ

_CALLER = "caller"


class Conductor:
    """One conversation's hands: what the agent does, and what people are told about it.

    Attributes:
        turn: How many turns of the caller have been committed.
        downstream_samples: Samples at 24 kHz between the playout and the caller's ear.
    """

    listener: Listener
    mouth: Mouth
    head: Head

    def __init__(
        self,
        manners: Manners,
        tell: Callable[..., None],
        hang_up: Callable[[str], None],
        now_s: Callable[[], float],
    ):
        """Create it; `listener`, `mouth` and `head` are attached by the conversation.

        Args:
            manners: The words for where no language model speaks.
            tell: Tells people (the page, the log) of an event and its fields.
            hang_up: Ends the call, with the reason.
            now_s: The clock of latencies.
        """
        self.turn = 0
        self.downstream_samples = 0
        self._manners = manners
        self._tell = tell
        self._hang_up = hang_up
        self._now_s = now_s
        self._state = ""
        self._speculating = False
        self._expecting = False  # a reply of the language model may begin
        self._spoken_turn: int | None = None
        self._last_turn: int | None = None  # the call ends when its reply has been heard
        self._words_told = (0, 0)
        self._words_awaited = False
        self._caller_text = ""
        self._waterfall = Waterfall()

    # ---- what turn-taking decides ---------------------------------------------------------------

    def decide(self, decision: d.Decision) -> None:
        """Carry out one decision."""
        match decision:
            case d.TurnStarted():
                self.head.put(sure(ProposedUserStartedSpeakingFrame()))
                self._enter("listening", decision.reason)
            case d.FlushWords():
                self._words_awaited = True
            case d.AskFinished():
                self._waterfall.move(Step.VOICE_ENDED, self._arrival_s(decision.pause_began))
            case d.Speculate():
                self._speculate(decision.text)
            case d.DropSpeculation():
                self._drop(decision.reason)
            case d.Commit():
                self._commit(decision)
            case d.Duck():
                self.mouth.playout.duck()
                self._enter("ducked", decision.reason)
            case d.Resume():
                self.mouth.playout.resume()
                audible = self.mouth.playout.audible
                self._enter("speaking" if audible else "thinking", decision.reason)
            case d.Interrupt():
                self._interrupt(decision.reason)
            case d.Backchannel():
                self.head.put(UserBackchannelFrame(decision.text, _CALLER, time_now_iso8601()))
            case d.Idle():
                self.say(self._manners.idle(decision.prompts))
            case d.Acknowledge():
                self.say(self._manners.acknowledgement(), remembered=False)

    def _speculate(self, text: str) -> None:
        self._speculating = self._expecting = True
        self.head.put(
            sure(ProposedUserStartedSpeakingFrame()),
            EagerTranscriptionFrame(text, _CALLER, time_now_iso8601()),
        )

    def _drop(self, reason: str) -> None:
        """The reply that was being prepared is void; nobody has heard any of it."""
        self._expecting = False
        self._waterfall.restart()
        if self._speculating:
            self._speculating = False
            self._drop_held()
            self.head.put(sure(EagerEndOfTurnCancelFrame()))
            return
        self.turn -= 1
        for reply in self.mouth.silence():
            if reply.text:
                self._tell("agent_cut", turn=reply.turn, heard="", unheard=reply.text)
        self.head.put(taken_back())
        self.head.interrupt()
        self._enter("listening", reason)

    def _drop_held(self) -> None:
        reply = self.mouth.playout.held
        if isinstance(reply, Reply):
            self._tell("speculation", kept=False, characters=len(reply.text))
            self.mouth.drop(reply)

    def _commit(self, commit: d.Commit) -> None:
        now_s = self._now_s()
        self._waterfall.mark(Step.VOICE_ENDED, now_s)
        self._waterfall.mark(Step.COMMITTED, now_s)
        self.turn += 1
        self._speculating, self._expecting = False, True
        self._last_turn = self.turn if commit.goodbye else None
        self._caller_text = ""
        self._tell("caller_words", turn=self.turn, text=commit.text, final=True)
        self._enter("thinking", commit.reason)
        reply = self.mouth.playout.held
        if isinstance(reply, Reply):
            self._tell("speculation", kept=True, characters=len(reply.text))
            reply.held = False
            for clause in reply.clauses:
                self._tell("agent_text", turn=reply.turn, text=clause)
        said = TranscriptionFrame(commit.text, _CALLER, time_now_iso8601(), finalized=True)
        self.head.put(
            sure(ProposedUserStartedSpeakingFrame()),
            sure(said),
            sure(ProposedUserStoppedSpeakingFrame()),
        )

    def _interrupt(self, reason: str) -> None:
        self._expecting = False
        for reply in self.mouth.silence():
            cut = reply.cut(self.downstream_samples)
            self._tell("agent_cut", turn=reply.turn, heard=cut.heard, unheard=cut.unheard)
            if cut.for_model and reply.remembered:
                self.head.put(heard(cut.for_model))
        self.head.interrupt()
        self._enter("listening", reason)

    def say(self, line: Line, *, remembered: bool = True) -> None:
        """Say something that no language model wrote."""
        reply = Reply(self.turn, interruptible=line.interruptible, remembered=remembered)
        if line.ends_call:
            self._last_turn = self.turn
        self._spoken_turn = self.turn
        self.mouth.say(reply, line.text)

    # ---- what the language model writes ---------------------------------------------------------

    def llm(self, frame: Frame) -> None:
        """Take what the language model's service sends, before pipecat's gate holds it back.

        The voice prepares a speculative reply too; its audio is held in the playout instead.
        """
        mouth = self.mouth
        match frame:
            case LLMFullResponseStartFrame() if self._expecting:
                turn = self.turn + self._speculating
                self._spoken_turn = turn
                mouth.writing = mouth.begin(Reply(turn, held=self._speculating))
                if not self._speculating:
                    self.listener.observe(AgentThinking(self.listener.at, True))
            case LLMFullResponseStartFrame():
                mouth.writing = None
            case LLMTextFrame() if mouth.writing:
                mouth.write(mouth.writing, frame.text)
            case LLMFullResponseEndFrame() if mouth.writing:
                mouth.end(mouth.writing)
                mouth.writing = None
            case TTSSpeakFrame() if self._expecting:
                self.say(Line(frame.text), remembered=False)  # while a slow tool runs
            case EagerEndOfTurnCancelFrame() if frame.broadcast_sibling_id is not None:
                # Not ours: the model wants a tool, and that has to wait for the commit.
                self._drop_held()

    def withdraw(self) -> None:
        """The call ends: nobody waits for a reply any more."""
        if self._speculating:
            self._drop("the call ended")

    def hang_up_when_said(self) -> None:
        """End the call as soon as the last words have been heard, and never without any."""
        self._last_turn = self.turn
        if self._spoken_turn != self.turn:
            self.say(self._manners.closing())
        elif self.mouth.idle:
            self._hang_up("goodbye")

    # ---- what the mouth tells -------------------------------------------------------------------

    def on_text(self, reply: Reply) -> None:
        """The first text of a reply arrived."""
        self._waterfall.mark(Step.LLM_WORD, self._now_s())

    def on_clause(self, reply: Reply, clause: str) -> None:
        """A clause was handed to the voice."""
        self._waterfall.mark(Step.CLAUSE, self._now_s())
        if not reply.held:
            self._tell("agent_text", turn=reply.turn, text=clause)
        if self.mouth.playout.audible and self.mouth.playout.current is reply:
            self._observe_audio(reply, audible=True)

    def on_frame(self, reply: Reply) -> None:
        """One more frame of a reply's audio exists."""
        self._waterfall.mark(Step.FRAME, self._now_s())

    def on_voice_failure(self, reply: Reply, error: ParleyError) -> None:
        """The voice cannot speak."""
        self._tell("error", message=error.cause, cure=error.cure)

    # ---- what the playout tells -----------------------------------------------------------------

    def on_audible(self, audible: bool) -> None:
        """The agent has begun to be heard, or has finished."""
        reply = self.mouth.playout.current
        self._observe_audio(reply, audible=audible)
        self.head.put(BotStartedSpeakingFrame() if audible else BotStoppedSpeakingFrame())
        if audible:
            self._enter("speaking", "")
            self._waterfall.mark(Step.AUDIBLE, self._now_s())
            if self._waterfall.complete and isinstance(reply, Reply):
                parts, total_ms = self._waterfall.parts(), round(self._waterfall.total_ms(), 1)
                self._tell("latency", turn=reply.turn, total_ms=total_ms, parts=parts)
            self._waterfall = Waterfall()
        elif self._state != "thinking":
            self._enter("listening", "")

    def on_done(self, reply: Utterance) -> None:
        """All of a reply has been written."""
        assert isinstance(reply, Reply)
        said = reply.cut(0).for_model
        if said and reply.remembered:
            self.head.put(heard(said))
        self._tell_words(reply)
        if self.mouth.playout.audible and (follower := self.mouth.playout.current):
            self._observe_audio(follower, audible=True)
        if reply.starved_samples:
            starved_ms = 1000 * reply.starved_samples // SAID_HZ
            self._tell("underrun", turn=reply.turn, ms=starved_ms)
        if not reply.written_samples:
            self.listener.observe(AgentThinking(self.listener.at, False))
        if self._last_turn == reply.turn and self.mouth.idle:
            self._hang_up("goodbye")

    def on_pulled(self) -> None:
        """20 ms went out: tell how many words have been heard by now."""
        reply = self.mouth.playout.current
        if isinstance(reply, Reply) and self.mouth.playout.audible:
            self._tell_words(reply)

    # ---- what the recogniser tells --------------------------------------------------------------

    def on_words(self, hypothesis: Hypothesis) -> None:
        """The recogniser's view changed."""
        if hypothesis.final and self._words_awaited:
            self._words_awaited = False
            self._waterfall.move(Step.FINAL_WORDS, self._now_s())
        text = hypothesis.text
        if text and text != self._caller_text:
            self._caller_text = text
            self._tell("caller_words", turn=self.turn + 1, text=text, final=False)
            self.head.put(InterimTranscriptionFrame(text, _CALLER, time_now_iso8601()))

    # ---- common words ---------------------------------------------------------------------------

    def _observe_audio(self, reply: Utterance | None, *, audible: bool) -> None:
        text = reply.text if isinstance(reply, Reply) else ""
        interruptible = reply is None or reply.interruptible
        self.listener.observe(AgentAudio(self.listener.at, audible, text, interruptible))

    def _tell_words(self, reply: Reply) -> None:
        count = reply.words_heard(self.downstream_samples)
        if count and (id(reply), count) != self._words_told:
            self._words_told = (id(reply), count)
            self._tell("agent_words", turn=reply.turn, spoken=count)

    def _enter(self, state: str, reason: str) -> None:
        if state != self._state:
            self._state = state
            self._tell("state", state=state, reason=reason)

    def _arrival_s(self, at_samples: int) -> float:
        return self._now_s() - (self.listener.at - at_samples) / SAMPLE_RATE_HZ
