"""Carries out what turn-taking decides: on the playout at once, on pipecat's pipeline in order."""

from __future__ import annotations

from collections.abc import Callable

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EagerEndOfTurnCancelFrame,
    EagerTranscriptionFrame,
    Frame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
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
from agent.heard import Cut
from agent.manners import Line, Manners
from asr.interface import SAMPLE_RATE_HZ, Hypothesis
from common.errors import ParleyError
from pipelines.answer import Answer
from pipelines.assembly import Asked
from pipelines.head import Head
from pipelines.listener import Listener
from pipelines.memory import heard, sure, taken_back
from pipelines.mouth import Mouth, Reply
from pipelines.playout import Utterance
from pipelines.reporter import Reporter
from pipelines.waterfall import Step

_CALLER = "caller"


class Conductor:
    """One conversation's hands.

    Attributes:
        turn: How many turns of the caller have been committed.
        downstream_samples: Samples at 24 kHz between the playout and the caller's ear.
    """

    listener: Listener
    mouth: Mouth
    head: Head

    def __init__(self, manners: Manners, report: Reporter, hang_up: Callable[[str], None]):
        """Create it; `listener`, `mouth` and `head` are attached by the conversation.

        Args:
            manners: The words for where no language model speaks.
            report: Tells people what happens.
            hang_up: Ends the call, with the reason.
        """
        self.turn = 0
        self.downstream_samples = 0
        self._manners = manners
        self._report = report
        self._hang_up = hang_up
        self._answer = Answer()
        self._words_awaited = False
        # A turn, and what is done when its reply has been heard.
        self._last: tuple[int, Callable[[], object]] | None = None

    # ---- what turn-taking decides ---------------------------------------------------------------

    def decide(self, decision: d.Decision) -> None:
        """Carry out one decision."""
        match decision:
            case d.TurnStarted():
                self.head.put(sure(ProposedUserStartedSpeakingFrame()))
                self._report.state("listening", decision.reason)
            case d.FlushWords():
                self._words_awaited = True
            case d.AskFinished():
                silent_s = (self.listener.at - decision.pause_began) / SAMPLE_RATE_HZ
                self._report.again(Step.VOICE_ENDED, seconds_ago=silent_s)
            case d.Speculate():
                self._speculate(decision.text)
            case d.DropSpeculation():
                self._drop(decision.reason)
            case d.Commit():
                self._commit(decision)
            case d.Duck():
                self.mouth.playout.duck()
                self._report.state("ducked", decision.reason)
            case d.Resume():
                self.mouth.playout.resume(softly=decision.softly)
                audible = self.mouth.playout.audible
                self._report.state("speaking" if audible else "thinking", decision.reason)
            case d.Interrupt():
                self._interrupt(decision.reason)
            case d.Backchannel():
                self.mouth.playout.speak_up()
                self._report.caller_said(self.turn + 1, "", decision.upto_samples)
                self.head.put(UserBackchannelFrame(decision.text, _CALLER, time_now_iso8601()))
            case d.Ignore():
                self.mouth.playout.speak_up()
                self._report.caller_said(self.turn + 1, "", decision.upto_samples)
            case d.Fill():
                self._fill(self._manners.filler())
            case d.GiveUp():
                self._interrupt(decision.reason)
                self._report.error(ParleyError("No answer came in time.", "See the log."))
                self.say(self._manners.failure())
            case d.Idle():
                self.say(self._manners.idle(decision.prompts))
            case d.Acknowledge():
                self.say(self._manners.acknowledgement(), remembered=False)

    @property
    def _awaited(self) -> bool:
        return self._answer.is_awaited(self.mouth.writing)

    def _speculate(self, text: str) -> None:
        self._answer = Answer(text, guessed=True)
        self.head.put(
            sure(ProposedUserStartedSpeakingFrame()),
            EagerTranscriptionFrame(text, _CALLER, time_now_iso8601()),
        )

    def _drop(self, reason: str) -> None:
        """The reply that was being prepared is void; nobody has heard any of it."""
        self._report.start_over()
        if self._answer.guessed:
            self._answer.guessed = False
            self._drop_held()
            self._answer = Answer()
            self.head.put(sure(EagerEndOfTurnCancelFrame()))
            return
        self._answer = Answer()
        self.turn -= 1
        self._report.cut([(reply, Cut("", reply.text)) for reply in self.mouth.silence()])
        self.head.put(taken_back())
        self.head.interrupt()
        self._report.state("listening", reason)

    def _drop_held(self) -> None:
        if reply := self._answer.held:
            self._answer.reply = None
            self._give_up(reply)

    def _give_up(self, reply: Reply) -> None:
        """Take back a reply of which nobody has heard anything."""
        if reply.held:
            self._report.thrown_away(reply)
        else:
            self._report.cut([(reply, Cut("", reply.text))])
        self.mouth.drop(reply)

    def _commit(self, commit: d.Commit) -> None:
        self._report.step(Step.VOICE_ENDED)  # known already, unless the turn was typed
        self._report.step(Step.COMMITTED)
        self.turn += 1
        if not self._answer.guessed or commit.text != self._answer.to:
            self._answer = Answer(commit.text)
        self._answer.guessed = False
        self._last = (self.turn, self._say_no_more) if commit.goodbye else None
        self._report.caller_said(self.turn, commit.text, commit.upto_samples)
        self._report.state("thinking", commit.reason)
        if reply := self._answer.held:
            self._report.let_go(reply)
            self.mouth.let_go(reply)
            self._thinks(words=reply.worded)
        said = TranscriptionFrame(commit.text, _CALLER, time_now_iso8601(), finalized=True)
        self.head.put(
            sure(ProposedUserStartedSpeakingFrame()),
            sure(said),
            sure(ProposedUserStoppedSpeakingFrame()),
        )

    def _interrupt(self, reason: str) -> None:
        self._answer = Answer(guessed=self._answer.guessed)
        self._last = None  # who cuts off a goodbye stays
        cuts = [(reply, reply.cut(self.downstream_samples)) for reply in self.mouth.silence()]
        self._report.cut(cuts)
        for reply, cut in cuts:
            self._remember(reply, cut)
        self.head.interrupt()
        self._report.state("listening", reason)

    def _remember(self, reply: Reply, cut: Cut) -> None:
        if cut.for_model and reply.remembered:
            self.head.put(heard(cut.for_model, reply.tool_calls))

    def say(self, line: Line, *, remembered: bool = True) -> None:
        """Say something that no language model wrote."""
        if line.ends_call:
            self._last = self.turn, self._say_no_more
        reply = Reply(self.turn, interruptible=line.interruptible, remembered=remembered)
        self.mouth.say(reply, line.text)

    def _fill(self, line: Line) -> None:
        """Ask for patience. It is no answer: nobody remembers it, and words that come replace it."""
        self._answer.filler = Reply(self.turn, remembered=False)
        self.mouth.say(self._answer.filler, line.text)

    def _thinks(self, thinking: bool = True, *, words: bool = False) -> None:
        if not self.mouth.playout.audible:
            self.listener.observe(AgentThinking(self.listener.at, thinking, words))

    def _has_no_more_to_say(self) -> None:
        """The turn was answered without a sound."""
        self._report.state("listening", "nothing more is said")
        self._thinks(False)

    def hang_up_when_said(self) -> None:
        """End the call as soon as the last words have been heard, and never without any."""
        self._when_said(self._say_no_more, self._manners.closing())

    def put_through_when_said(self, put_through: Callable[[], object]) -> None:
        """Put the caller through, likewise."""
        self._when_said(put_through, self._manners.connecting())

    def _when_said(self, act: Callable[[], object], unless_said: Line) -> None:
        self._last = self.turn, act
        if not self._answer.written:
            self._answer.written = True
            self.say(unless_said)
        elif self.mouth.idle:
            self._do_the_last()

    def _do_the_last(self) -> None:
        if self._last:
            act, self._last = self._last[1], None
            act()

    def _say_no_more(self) -> None:
        self._hang_up("goodbye")

    def withdraw(self) -> None:
        """The call ends: nobody waits for a reply any more."""
        if self._answer.guessed:
            self._drop("the call ended")

    # ---- what the language model writes ---------------------------------------------------------

    def wants(self, asked: Asked) -> bool:
        """Whether an answer to these words may still be said."""
        return asked.words == self._answer.to

    def llm(self, frame: Frame, asked: Asked) -> None:
        """Take what the language model's service sends, before pipecat's gate holds it back.

        The voice prepares a speculative reply too; its audio is held in the playout instead.

        Args:
            frame: What it sends.
            asked: What it answers. A reply to other words than the present ones has been overtaken:
                its cancellation is on the way.
        """
        mouth = self.mouth
        match frame:
            case LLMFullResponseStartFrame():
                mouth.writing = self._begin(asked)
            case LLMTextFrame() if mouth.writing:
                mouth.write(mouth.writing, frame.text)
            case FunctionCallsStartedFrame() if self.wants(asked):
                self._answer.tool_runs = True
            case FunctionCallResultFrame(properties=told) if told and told.run_llm is False:
                self._answer.tool_runs = False  # and that was the end of the matter
                if mouth.idle:
                    self._has_no_more_to_say()
                if self._last and self._last[0] == self.turn:
                    self._when_said(self._last[1], self._manners.closing())
            case LLMFullResponseEndFrame() if mouth.writing:
                mouth.end(mouth.writing)
                mouth.writing = None
            case TTSSpeakFrame() if self.wants(asked) and not self._answer.filler:
                self._fill(Line(frame.text))  # a slow tool's own words
            case EagerEndOfTurnCancelFrame() if frame.broadcast_sibling_id is not None:
                # Not ours: the model wants a tool, and that has to wait for the commit.
                self._drop_held()

    def _begin(self, asked: Asked) -> Reply | None:
        """Begin a reply; none if it was overtaken, or another to the same words is being heard.

        Words that were guessed, given up and guessed again while the model was busy are answered
        twice. The first answer may have been cut off, so one that nobody has heard gives place.
        """
        if not self.wants(asked):
            return None
        earlier = self._answer.reply
        if earlier and not earlier.cancelled and earlier.tool_calls == asked.tool_calls:
            if earlier.written_samples:
                return None
            self._give_up(earlier)
        self._answer.tool_runs = False
        turn = self.turn + self._answer.guessed
        self._answer.reply = Reply(turn, held=self._answer.guessed, tool_calls=asked.tool_calls)
        if not self._answer.guessed:
            self._thinks()
        return self._answer.reply

    # ---- what the mouth and the playout tell ------------------------------------------------------

    def on_text(self, reply: Reply) -> None:
        """The first text of a reply arrived."""
        if reply is not self._answer.reply:
            return
        self._report.step(Step.LLM_WORD)
        self._answer.written = True
        if self._answer.filler and not self._answer.filler.written_samples:
            self._give_up(self._answer.filler)
        self._answer.filler = None
        if not reply.held:
            self._thinks(words=True)

    def on_clause(self, reply: Reply, clause: str) -> None:
        """A clause was handed to the voice."""
        if reply is self._answer.reply:
            self._report.step(Step.CLAUSE)
        if self.mouth.playout.current is reply and not reply.held:
            self._report.show(reply)
            if self.mouth.playout.audible:
                self._observe_audio(reply, audible=True)

    def on_frame(self, reply: Reply) -> None:
        """One more frame of a reply's audio exists."""
        if reply is self._answer.reply:
            self._report.step(Step.FRAME)

    def on_voice_failure(self, reply: Reply, error: ParleyError) -> None:
        """The voice cannot speak (any more): what the model still writes would be for nothing."""
        self._report.error(error)
        if reply.held:
            self._drop_held()
            self.head.put(sure(EagerEndOfTurnCancelFrame()))  # the commit asks again
        elif reply is self.mouth.writing:
            self.mouth.writing = None
            self.head.interrupt()

    def on_audible(self, audible: bool) -> None:
        """The agent has begun to be heard, or has finished."""
        reply = self.mouth.playout.current
        self.head.put(BotStartedSpeakingFrame() if audible else BotStoppedSpeakingFrame())
        if audible and isinstance(reply, Reply):
            self._report.audible(reply, answers=reply is self._answer.reply)
        elif self._awaited:
            self._report.state("thinking", "the answer is awaited")
        else:
            self._report.finished_speaking()
        if self._awaited:
            self._thinks()  # first, or for a moment nobody has the floor
        # Last: that may be answered at once, by falling silent again.
        self._observe_audio(reply, audible=audible)

    def on_done(self, reply: Utterance) -> None:
        """All of a reply has been written."""
        assert isinstance(reply, Reply)
        self._remember(reply, reply.cut(0))
        self._report.done(reply)
        if self.mouth.playout.audible and (follower := self.mouth.playout.current):
            self._observe_audio(follower, audible=True)
            if (answer := self._answer.reply) and follower is answer:
                self._report.audible(answer, answers=True)
        if not reply.written_samples and reply is self._answer.reply and not self._answer.tool_runs:
            self._has_no_more_to_say()
        last_turn = self._last[0] if self._last else None
        if last_turn == reply.turn and self.mouth.idle and not self._awaited:
            self._do_the_last()

    def on_pulled(self) -> None:
        """20 ms went out."""
        reply = self.mouth.playout.current
        if isinstance(reply, Reply) and self.mouth.playout.audible:
            self._report.spoken(reply, self.downstream_samples)

    # ---- what the recogniser tells --------------------------------------------------------------

    def on_words(self, hypothesis: Hypothesis) -> None:
        """The recogniser's view changed."""
        if hypothesis.final and self._words_awaited:
            self._words_awaited = False
            self._report.again(Step.FINAL_WORDS)
        if text := self._report.caller_says(self.turn + 1, hypothesis):
            self.head.put(InterimTranscriptionFrame(text, _CALLER, time_now_iso8601()))

    def _observe_audio(self, reply: Utterance | None, *, audible: bool) -> None:
        text = reply.text if isinstance(reply, Reply) else ""
        interruptible = reply is None or reply.interruptible
        self.listener.observe(AgentAudio(self.listener.at, audible, text, interruptible))
