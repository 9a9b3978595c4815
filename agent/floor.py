"""Who has the floor, what is remembered about it, and the moves that change it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agent import decisions as d
from agent.activity import SAMPLES_PER_MS, VoiceActivity
from agent.caller_words import CallerWords
from agent.completeness import normalise, says_goodbye
from agent.endpointing import Patience
from agent.pace import BALANCED, TurnOptions

FLUSH_SLACK_SAMPLES = 100 * SAMPLES_PER_MS  # the recogniser may be fed in chunks
FLUSH_LIMIT_MS = 2000  # a busy machine is asked once, not ten times
LONG_AGO = -(10**9)


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
    """All that the rules know and remember between two pieces of evidence.

    Attributes:
        options: How patient to be.
        state: Who has the floor.
        now: Samples received.
        since: When the present state was entered.
        voice: The caller's voice.
        words: The caller's words that no decision has taken yet.
        patience: How long silence must last.
        out: Decisions taken on the present piece of evidence.

        turn_began: First sample of the caller's turn.
        stopped: When its present pause began.
        carried: What a commit that was taken back had said; the turn goes on from there.
        after_interrupt: The turn began by stopping the agent.
        sound_finished: How finished the present pause sounds; None while unknown.
        asked: That was asked about the present pause.
        hold_said: A `Hold` was told in the present pause.
        speculated: The text a reply is being prepared to; empty when none is.
        flushed: When final words were last asked for.
        acknowledged: When the agent last put in an "mm-hm".

        committed: The text being answered.
        committed_at: When it was committed.
        thinking: A reply, or the next part of one, is being prepared and nothing is heard.
        words_written: Its first words are there.
        fillers: How often the caller was asked for patience since then.
        filled: When that was last done.
        audible: The caller hears the agent.
        audible_until: When the caller last heard it.
        interruptible: False during a passage that must be heard out.
        agent_text: What the agent last said.
        held_over: What `HELD` is holding: `THINKING` or `SPEAKING`.
        resumed: When the agent last went on after being held.
        unjudged: The agent goes on, but a sound before is not understood yet.
        early_answer: When the caller agreed in the middle of a question; None if not.
        typed: A typed message that waits to be committed.

        idle_from: Since when nobody has had anything to say.
        idle_prompts: How often the agent has asked whether anybody is there.
    """

    options: TurnOptions = BALANCED
    state: State = State.LISTENING
    now: int = 0
    since: int = 0
    voice: VoiceActivity = field(default_factory=VoiceActivity)
    words: CallerWords = field(default_factory=CallerWords)
    patience: Patience = field(init=False)
    out: list[d.Decision] = field(default_factory=list)

    turn_began: int = 0
    stopped: int = 0
    carried: str = ""
    after_interrupt: bool = False
    sound_finished: float | None = None
    asked: bool = False
    hold_said: bool = False
    speculated: str = ""
    flushed: int = LONG_AGO
    acknowledged: int = LONG_AGO

    committed: str = ""
    committed_at: int = LONG_AGO
    thinking: bool = False
    words_written: bool = False
    fillers: int = 0
    filled: int = LONG_AGO
    audible: bool = False
    audible_until: int = LONG_AGO
    interruptible: bool = True
    agent_text: str = ""
    held_over: State = State.SPEAKING
    resumed: int = LONG_AGO
    unjudged: bool = False
    early_answer: int | None = None
    typed: str = ""

    idle_from: int = 0
    idle_prompts: int = 0

    def __post_init__(self) -> None:
        self.patience = Patience(self.options.patience_ms)

    # ---- questions -----------------------------------------------------------------------------

    def after_ms(self, samples: int) -> float:
        """Time since a sample."""
        return (self.now - samples) / SAMPLES_PER_MS

    @property
    def turn_text(self) -> str:
        """The caller's turn so far."""
        return f"{self.carried} {self.words.text}".strip()

    @property
    def words_end(self) -> int:
        """Where the words in hand end. What the recogniser has not said yet lies behind it."""
        return max(self.words.end_samples, self.words.final_samples)

    @property
    def words_awaited(self) -> bool:
        """Whether final words were asked for and have not come."""
        return self.words.final_samples < self.flushed - FLUSH_SLACK_SAMPLES

    @property
    def unheard(self) -> bool:
        """Whether nobody has heard anything of the reply to what was committed."""
        return not self.audible and self.audible_until <= self.committed_at

    @property
    def agent_asks(self) -> bool:
        """Whether the agent's last words were a question."""
        return self.agent_text.rstrip().endswith("?")

    # ---- moves ---------------------------------------------------------------------------------

    def decide(self, kind: type[d.Decision], reason: str, **fields: object) -> None:
        """Take a decision, now."""
        self.out.append(kind(at=self.now, reason=reason, **fields))

    def enter(self, state: State) -> None:
        """Give the floor to somebody else."""
        self.state = state
        self.since = self.now

    def listen(self) -> None:
        """Nobody has the floor any more."""
        self.early_answer = None
        self.unjudged = self.thinking = False
        self.committed = self.carried = ""
        self.idle_from = self.now
        self.enter(State.LISTENING)

    def start_turn(self, reason: str, began: int, *, after_interrupt: bool = False) -> None:
        """The caller takes the floor."""
        self.turn_began = began
        self.after_interrupt = after_interrupt
        self.early_answer = None
        self.unjudged = False
        self.decide(d.TurnStarted, reason, began_samples=began)
        self.enter(State.CALLER)

    def forget_late_words(self) -> None:
        """Pass over words of the turn being answered: told too late, or now placed a little later."""
        if self.state not in (State.THINKING, State.SPEAKING, State.HELD):
            return
        late = normalise(self.words.text_before(self.stopped))
        if late and (self.audible or normalise(self.committed)[-len(late) :] == late):
            self.words.take(self.stopped)

    def commit(self, text: str, reason: str) -> None:
        """The caller's turn is over."""
        if self.words.words:
            self.voice.learn_caller()
        upto = self.words_end
        goodbye = says_goodbye(text)
        self.decide(d.Commit, reason, text=text, upto_samples=upto, goodbye=goodbye)
        self.words.take(upto)
        self.committed, self.committed_at = text, self.now
        self.carried = self.speculated = ""
        self.thinking, self.words_written = True, False
        self.fillers = self.idle_prompts = 0
        self.enter(State.THINKING)

    def flush_words(self, since: int, reason: str) -> None:
        """Ask for final words, unless they are in hand, or that was done since then or not answered yet."""
        if self.words_awaited and self.after_ms(self.flushed) < FLUSH_LIMIT_MS:
            return
        if self.flushed < since and self.words.final_samples < since:
            self.flushed = self.now
            self.decide(d.FlushWords, reason)

    def drop_speculation(self, reason: str) -> None:
        """Throw away what was prepared, if anything was."""
        if self.speculated:
            self.speculated = ""
            self.decide(d.DropSpeculation, reason)

    def ignore(self, reason: str) -> None:
        """What was heard is nobody's turn."""
        upto = self.words_end
        self.decide(d.Ignore, reason, upto_samples=upto)
        self.words.take(upto)

    def backchannel(self, reason: str) -> None:
        """What was heard is noted, not answered."""
        upto = self.words_end
        self.decide(d.Backchannel, reason, text=self.words.text, upto_samples=upto)
        self.words.take(upto)
        self.early_answer = None
