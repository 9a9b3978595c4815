"""Who has the floor: the one state machine that decides when the agent listens, answers and yields.

    caller    "a table for" ┐      ┌ "two" ┐                      ┌ mm-hm ┐         ┌ "wait, no …
    state    CALLER         │PAUSE │CALLER │PAUSE      │THINKING  │HELD   │SPEAKING │HELD │CALLER
    agent                                                  ██████████·········████████████
    decided  │              │   │  │       │ │         │          │       │         │     │
       TurnStarted     Flush│Hold  │  Flush│ Speculate Commit     Duck    Resume    Duck  Interrupt
                                                                        Backchannel     TurnStarted

Evidence goes in, each piece stamped in samples received; decisions come out, each with its reason. There
is no clock, no task and no randomness in here, so the same evidence always gives the same decisions, and
a call can be replayed from its log.

Every `TurnStarted` ends in exactly one `Commit`, `Ignore` or `Backchannel`, except that `DropSpeculation`
may take a `Commit` back as long as nobody has heard its reply. Every `Duck` ends in exactly one `Resume`,
`Interrupt` or `DropSpeculation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agent import decisions as d
from agent.activity import SAMPLES_PER_MS, VoiceActivity
from agent.backchannels import Meaning, meaning
from agent.barge_in import SOMEONE_ELSE_DB, Doubt, Verdict, decide
from agent.caller_words import CallerWords
from agent.completeness import normalise, says_goodbye
from agent.endpointing import Patience, judge
from agent.evidence import (
    AgentAudio,
    AgentThinking,
    Evidence,
    Finished,
    Heard,
    Sound,
    StopPressed,
    Typed,
)
from agent.pace import BALANCED, TurnOptions

PAUSE_MS = 60  # three quiet frames: a pause has begun
FLUSH_MS = 120  # longer than the closures inside words: final words cost a forward pass
ASK_MS = 140  # likewise: this judge costs a core for a tenth of a second
MID_PAUSE_MS = 200  # shorter silences are closures of consonants, not pauses worth learning from
NOISE_QUIET_MS = 400  # a sound without words is given up after this silence, final words in hand
UNHEARD_QUIET_MS = 1500  # the same when the recogniser never said that its words are final
FAR_MS = 200  # voice needed to tell how loud somebody is
FAR_ACCEPT_MS = 3000  # somebody far away who speaks that long does mean the agent
FLUSH_VOICE_MS = 180  # half a first word, enough to tell "yeah" from "wait"
FLUSH_AGAIN_MS = 400
EARLY_ANSWER_MS = 1500  # "yes" so long before the end of the agent's question answers it
MUTE_LIMIT_MS = 1500  # after a stop for nothing, the agent says something after this silence
ACKNOWLEDGE_MS = 240
RESUMED_MS = 300
CUT_IN_MS = 1500  # a caller who speaks up so soon after the end of their turn had not finished it


class State(StrEnum):
    """Who has the floor."""

    LISTENING = "listening"  # nobody
    CALLER = "caller"  # the caller, speaking
    PAUSE = "pause"  # the caller, silent: perhaps finished
    THINKING = "thinking"  # the agent, not heard yet
    SPEAKING = "speaking"  # the agent, audible
    HELD = "held"  # the agent, paused until a sound is understood


@dataclass(slots=True)
class Floor:
    """All that the rules remember between two pieces of evidence."""

    state: State = State.LISTENING
    now: int = 0
    # the caller's turn
    turn_began: int = 0
    stopped: int = 0  # when the present pause began
    carried: str = ""  # what a commit that was taken back had said
    after_interrupt: bool = False
    sound_finished: float | None = None
    asked: bool = False
    hold_said: bool = False
    speculated: str = ""
    acknowledged: int = 0
    flushed: int = -(10**9)
    # the agent's turn
    committed: str = ""
    committed_at: int = -(10**9)
    audible: bool = False
    thinking: bool = False
    interruptible: bool = True
    agent_text: str = ""
    held_over: State = State.SPEAKING
    resumed: int = -(10**9)
    unjudged: bool = False  # the agent went on after a sound that is still not understood
    early_answer: int | None = None
    typed: str = ""
    # nobody's turn
    since: int = 0
    idle_from: int = 0
    idle_prompts: int = 0


@dataclass(slots=True)
class TurnTaking:
    """The rules of conversation. Feed every piece of evidence to `observe`, in order.

    Attributes:
        options: How patient to be.
    """

    options: TurnOptions = BALANCED
    _floor: Floor = field(default_factory=Floor)
    _voice: VoiceActivity = field(default_factory=VoiceActivity)
    _words: CallerWords = field(default_factory=CallerWords)
    _out: list[d.Decision] = field(default_factory=list)
    _patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self._patience = Patience(self.options.patience_ms)

    @property
    def state(self) -> State:
        """Who has the floor now."""
        return self._floor.state

    def observe(self, evidence: Evidence) -> list[d.Decision]:
        """Take in one piece of evidence.

        Args:
            evidence: Stamped in samples received. Evidence that arrives late counts as arriving now.

        Returns:
            What to do, in this order; usually nothing.
        """
        self._out = []
        self._floor.now = max(self._floor.now, evidence.at)
        self._note(evidence)
        before = None
        while before is not self._floor.state:
            before = self._floor.state
            self._apply_rules()
        return self._out

    def _note(self, evidence: Evidence) -> None:
        """Remember a fact; facts that are commands act at once."""
        floor = self._floor
        match evidence:
            case Sound():
                self._voice.hear(evidence)
            case Heard():
                self._words.hear(evidence.hypothesis)
                if floor.audible or (floor.agent_text and self._after_ms(floor.since) < 1000):
                    suspected = self._voice.own_voice_lately
                    self._words.drop_echo(floor.agent_text, suspected)
            case Finished():
                if evidence.pause_began == floor.stopped:
                    floor.sound_finished = evidence.probability
            case AgentThinking():
                floor.thinking = evidence.thinking
            case AgentAudio():
                self._note_agent(evidence)
            case Typed():
                floor.typed = f"{floor.typed} {evidence.text}".strip()
            case StopPressed():
                self._stop_pressed()

    def _note_agent(self, audio: AgentAudio) -> None:
        floor = self._floor
        began = audio.audible and not floor.audible
        floor.audible = audio.audible
        floor.interruptible = audio.interruptible or not audio.audible
        floor.agent_text = audio.text or floor.agent_text
        if began and floor.state in (State.CALLER, State.PAUSE) and not self._acknowledging():
            self._decide(d.Interrupt, "the caller was already speaking")
            floor.audible = False

    def _acknowledging(self) -> bool:
        """Whether what the agent says now is the "mm-hm" it was asked for."""
        return bool(self._floor.acknowledged) and self._after_ms(self._floor.acknowledged) < 3000

    def _apply_rules(self) -> None:
        if self._floor.typed:
            self._typed()
        match self._floor.state:
            case State.LISTENING:
                self._listening()
            case State.CALLER:
                self._caller()
            case State.PAUSE:
                self._pause()
            case State.THINKING:
                self._thinking()
            case State.SPEAKING:
                self._speaking()
            case State.HELD:
                self._held()

    # ---- nobody has the floor ------------------------------------------------------------------

    def _listening(self) -> None:
        floor, voice = self._floor, self._voice
        if floor.audible or floor.thinking:
            self._enter(State.SPEAKING if floor.audible else State.THINKING)
            return
        if voice.speaking and not voice.burst.dismissed:
            if not self._far() or voice.burst.voiced_ms >= FAR_ACCEPT_MS:
                self._start_turn("voice", voice.burst.began)
            return
        text = self._words.text()
        if text:
            first = self._words.words[0].start_samples
            if voice.quiet_since >= first and not self._far():
                self._start_turn("words", first)
            elif voice.burst_quiet_ms > NOISE_QUIET_MS and self._words_age_ms() > NOISE_QUIET_MS:
                self._ignore("words without the caller's voice")
        elif self._after_ms(floor.idle_from) >= self.options.idle_s * 1000:
            floor.idle_prompts += 1
            floor.idle_from = floor.now
            seconds = round(self.options.idle_s)
            self._decide(d.Idle, f"nobody spoke for {seconds} s", prompts=floor.idle_prompts)

    # ---- the caller has the floor --------------------------------------------------------------

    def _caller(self) -> None:
        if not self._voice.speaking:
            self._begin_pause()

    def _pause(self) -> None:
        floor, voice = self._floor, self._voice
        if voice.speaking and voice.quiet_since > floor.stopped:
            self._goes_on()
            return
        quiet_ms = self._after_ms(floor.stopped)
        if quiet_ms >= FLUSH_MS:
            self._flush_words(floor.stopped, "the caller paused")
        text = self._turn_text()
        if not text:
            self._nothing_said(quiet_ms)
            return
        if quiet_ms >= ASK_MS and not floor.asked:
            floor.asked = True
            self._decide(d.AskFinished, "the caller paused", pause_began=floor.stopped)
        judged = judge(text, floor.agent_text, floor.sound_finished, self._words.pause)
        self._speculate(text, judged.belief, quiet_ms)
        needed_ms = self._patience.needed_ms(judged.belief)
        waited_ms = (
            quiet_ms if self._words_final(floor.stopped) else quiet_ms - self.options.words_grace_ms
        )
        if waited_ms >= needed_ms and not self._voice_returns():
            if meaning(text) is Meaning.VOCAL and not _asks(floor.agent_text):
                self._drop_speculation("nothing to answer")
                self._backchannel("a sound that asks for no answer")
                self._enter_listening()
                return
            self._commit(text, f"{judged.reason}; {quiet_ms:.0f} ms of silence")
            return
        if quiet_ms >= self.options.speculate_ms and judged.belief < 0.5 and not floor.hold_said:
            floor.hold_said = True
            self._decide(d.Hold, judged.reason)
        if quiet_ms >= ACKNOWLEDGE_MS and self._long_turn():
            floor.acknowledged = floor.now
            self._decide(d.Acknowledge, f"{self.options.long_turn_s:.0f} s without a reply")

    def _goes_on(self) -> None:
        floor = self._floor
        pause_ms = (self._voice.burst.began - floor.stopped) / SAMPLES_PER_MS
        if pause_ms >= MID_PAUSE_MS:
            self._patience.learn(pause_ms)
        self._drop_speculation("the caller goes on")
        self._enter(State.CALLER)

    def _nothing_said(self, quiet_ms: float) -> None:
        """A turn began, but no word came of it."""
        final = self._words_final(self._floor.stopped)
        if (
            quiet_ms >= (NOISE_QUIET_MS if final else UNHEARD_QUIET_MS)
            and not self._voice_returns()
        ):
            self._ignore("a sound without words")
            self._enter_listening()
            if self._floor.after_interrupt:
                idle_samples = int(self.options.idle_s * 1000) * SAMPLES_PER_MS
                self._floor.idle_from += MUTE_LIMIT_MS * SAMPLES_PER_MS - idle_samples

    def _speculate(self, text: str, belief: float, quiet_ms: float) -> None:
        floor = self._floor
        if floor.speculated and normalise(text) != normalise(floor.speculated):
            self._drop_speculation("more words were understood")
        if (
            not floor.speculated
            and quiet_ms >= self.options.speculate_ms
            and belief >= self.options.speculate_belief
        ):
            floor.speculated = text
            self._decide(d.Speculate, f"finished by {belief:.0%}", text=text)

    def _drop_speculation(self, reason: str) -> None:
        if self._floor.speculated:
            self._floor.speculated = ""
            self._decide(d.DropSpeculation, reason)

    def _commit(self, text: str, reason: str) -> None:
        floor = self._floor
        if normalise(text) == normalise(floor.speculated):
            text = floor.speculated
        if self._words.words:
            self._voice.learn_level()
        upto = self._words_end()
        goodbye = says_goodbye(text)
        self._decide(d.Commit, reason, text=text, upto_samples=upto, goodbye=goodbye)
        self._words.take(upto)
        floor.committed, floor.committed_at = text, floor.now
        floor.carried = floor.speculated = ""
        floor.thinking = True
        floor.idle_prompts = 0
        self._enter(State.THINKING)

    # ---- the agent has the floor ---------------------------------------------------------------

    def _thinking(self) -> None:
        floor = self._floor
        if floor.audible:
            self._enter(State.SPEAKING)
        elif (
            not floor.thinking
            or self._after_ms(floor.since) >= self.options.thinking_limit_s * 1000
        ):
            self._enter_listening()
        elif self._first_sign():
            self._duck("a sound before the reply")
        elif self._words.words or floor.unjudged:
            self._judge_sound()

    def _speaking(self) -> None:
        floor = self._floor
        if not floor.audible:
            # A ducked playout reports silence; it takes a moment to report that it goes on.
            if self._after_ms(floor.resumed) >= RESUMED_MS:
                self._enter_listening()
        elif not floor.interruptible:
            return
        elif self._first_sign():
            self._duck("a sound while the agent speaks")
        elif floor.early_answer is not None:
            if self._after_ms(floor.early_answer) >= EARLY_ANSWER_MS:
                self._backchannel("agreed in the middle of a question")
        elif self._words.words or floor.unjudged:
            self._judge_sound()

    def _held(self) -> None:
        floor, voice = self._floor, self._voice
        if not floor.interruptible:
            self._resume("this part must be heard out")
            return
        verdict, reason = decide(self._doubt(), self.options.interrupt_voice_ms)
        if verdict is Verdict.WAIT:
            if voice.burst_quiet_ms >= PAUSE_MS:
                self._flush_words(voice.burst.ended, "what was that sound?")
            elif voice.burst.voiced_ms >= FLUSH_VOICE_MS:
                self._flush_words(
                    floor.now - FLUSH_AGAIN_MS * SAMPLES_PER_MS, "what was that sound?"
                )
        elif verdict is Verdict.INTERRUPT:
            self._yield(reason)
        else:
            self._resume(reason)
            self._dismiss(verdict, reason)

    def _ask_what_it_was(self) -> None:
        burst = self._voice.burst
        if self._voice.burst_quiet_ms >= PAUSE_MS:
            self._flush_words(burst.ended, "what was that sound?")
        elif burst.voiced_ms >= FLUSH_VOICE_MS:
            self._flush_words(
                self._floor.now - FLUSH_AGAIN_MS * SAMPLES_PER_MS, "what was that sound?"
            )

    def _judge_sound(self) -> None:
        """The agent goes on, but a sound is not understood yet, or words came without a sound."""
        verdict, reason = decide(self._doubt(), self.options.interrupt_voice_ms)
        if verdict is Verdict.INTERRUPT:
            self._yield(reason)
        elif verdict is Verdict.WAIT:
            self._ask_what_it_was()
        else:
            self._dismiss(verdict, reason)

    def _doubt(self) -> Doubt:
        voice, words = self._voice, self._words
        text = words.text()
        after_word = words.words[-1].end_samples if words.words else voice.burst.ended
        return Doubt(
            voiced_ms=voice.burst.voiced_ms,
            quiet_ms=voice.burst_quiet_ms,
            confidence=voice.burst.peak_confidence if voice.neural else None,
            below_usual_db=0.0
            if voice.burst.voiced_ms >= FAR_ACCEPT_MS
            else voice.below_usual_db(),
            meaning=meaning(text),
            word_count=len(words.words),
            word_confidence=max((word.confidence for word in words.words), default=0.0),
            words_final=self._words_final(voice.burst.ended),
            on_after_word_ms=(voice.burst.ended - after_word) / SAMPLES_PER_MS,
        )

    def _duck(self, reason: str) -> None:
        self._floor.held_over = self._floor.state
        self._decide(d.Duck, reason)
        self._enter(State.HELD)

    def _resume(self, reason: str) -> None:
        floor = self._floor
        self._voice.burst.dismissed = True
        self._decide(d.Resume, reason)
        floor.resumed = floor.now
        self._enter(floor.held_over)

    def _dismiss(self, verdict: Verdict, reason: str) -> None:
        """The sound was nobody's turn."""
        floor = self._floor
        floor.unjudged = False
        if verdict is Verdict.IGNORE:
            self._ignore(reason)
        elif meaning(self._words.text()) is Meaning.ACKNOWLEDGE and _asks(floor.agent_text):
            floor.early_answer = floor.now
        else:
            self._backchannel(reason)

    def _yield(self, reason: str) -> None:
        """The agent gives up the floor, or, before its first sound, the turn it was about to answer."""
        floor = self._floor
        before_sound = (
            floor.held_over if floor.state is State.HELD else floor.state
        ) is State.THINKING
        if self._after_ms(floor.committed_at) < CUT_IN_MS:
            self._patience.learn(self._after_ms(floor.committed_at) + self._patience.needed_ms(1.0))
        if before_sound:
            floor.carried = floor.committed
            self._decide(d.DropSpeculation, f"{reason} before the reply")
        else:
            self._decide(d.Interrupt, reason)
        floor.audible = floor.thinking = False
        began = self._voice.burst.began
        if self._words.words:
            began = min(began, self._words.words[0].start_samples)
        self._start_turn(reason, began, after_interrupt=not before_sound)

    def _stop_pressed(self) -> None:
        floor = self._floor
        if floor.state in (State.SPEAKING, State.HELD) and floor.interruptible:
            self._decide(d.Interrupt, "the caller pressed stop")
            self._ignore("the caller pressed stop")
            floor.audible = floor.thinking = False
            self._enter_listening()

    def _typed(self) -> None:
        """A typed message needs no waiting: it is finished by being sent."""
        floor = self._floor
        has_floor = floor.held_over if floor.state is State.HELD else floor.state
        if has_floor is State.SPEAKING:
            if not floor.interruptible:
                return
            self._decide(d.Interrupt, "the caller typed")
            floor.audible = False
        elif has_floor is State.THINKING:
            self._decide(d.DropSpeculation, "the caller typed before the reply")
            floor.carried = floor.committed
        else:
            self._drop_speculation("the caller typed")
        text, floor.typed = f"{self._turn_text()} {floor.typed}".strip(), ""
        self._commit(text, "typed")

    # ---- common words --------------------------------------------------------------------------

    def _decide(self, kind: type[d.Decision], reason: str, **fields: object) -> None:
        self._out.append(kind(at=self._floor.now, reason=reason, **fields))

    def _enter(self, state: State) -> None:
        self._floor.state = state
        self._floor.since = self._floor.now

    def _enter_listening(self) -> None:
        floor = self._floor
        floor.early_answer = None
        floor.unjudged = False
        floor.thinking = False
        floor.committed = floor.carried = ""
        floor.idle_from = floor.now
        self._enter(State.LISTENING)

    def _start_turn(self, reason: str, began: int, *, after_interrupt: bool = False) -> None:
        floor = self._floor
        floor.turn_began = began
        floor.after_interrupt = after_interrupt
        floor.early_answer = None
        floor.unjudged = False
        self._decide(d.TurnStarted, reason, began_samples=began)
        self._enter(State.CALLER)

    def _begin_pause(self) -> None:
        floor = self._floor
        floor.stopped = max(self._voice.quiet_since, floor.turn_began)
        floor.sound_finished = None
        floor.asked = floor.hold_said = False
        self._enter(State.PAUSE)

    def _flush_words(self, since: int, reason: str) -> None:
        """Ask for final words, unless that was done since then, or they are in hand."""
        if self._floor.flushed < since and self._words.final_samples < since:
            self._floor.flushed = self._floor.now
            self._decide(d.FlushWords, reason)

    def _ignore(self, reason: str) -> None:
        upto = self._words_end()
        self._decide(d.Ignore, reason, upto_samples=upto)
        self._words.take(upto)

    def _backchannel(self, reason: str) -> None:
        upto = self._words_end()
        self._decide(d.Backchannel, reason, text=self._words.text(), upto_samples=upto)
        self._words.take(upto)
        self._floor.early_answer = None

    def _turn_text(self) -> str:
        return f"{self._floor.carried} {self._words.text()}".strip()

    def _words_end(self) -> int:
        """Where the words in hand end. What the recogniser has not said yet lies behind it."""
        last = self._words.words[-1].end_samples if self._words.words else self._words.taken_samples
        return max(last, self._words.final_samples)

    def _words_final(self, upto: int) -> bool:
        return self._words.final_samples >= upto

    def _words_age_ms(self) -> float:
        return self._after_ms(self._words.words[-1].end_samples)

    def _first_sign(self) -> bool:
        return self._voice.sign and not self._voice.burst.dismissed

    def _voice_returns(self) -> bool:
        """A sign of voice that is too young to be sure of: worth waiting the two frames that tell."""
        voice = self._voice
        return voice.burst.began > self._floor.stopped and voice.burst_quiet_ms < PAUSE_MS

    def _far(self) -> bool:
        voice = self._voice
        return voice.below_usual_db() >= SOMEONE_ELSE_DB + 3 or (
            voice.burst.voiced_ms < FAR_MS and voice.below_usual_db() >= SOMEONE_ELSE_DB
        )

    def _long_turn(self) -> bool:
        floor = self._floor
        return (
            self._after_ms(max(floor.turn_began, floor.acknowledged))
            >= self.options.long_turn_s * 1000
        )

    def _after_ms(self, samples: int) -> float:
        return (self._floor.now - samples) / SAMPLES_PER_MS


def _asks(agent_text: str) -> bool:
    return agent_text.rstrip().endswith("?")
