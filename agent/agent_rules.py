"""The rules while the agent has the floor: when it falls silent, goes on, or gives way."""

from __future__ import annotations

from agent import decisions as d
from agent.activity import SAMPLES_PER_MS
from agent.backchannels import Meaning, agrees, meaning
from agent.barge_in import (
    HOLD_LIMIT_MS,
    HOLD_MS,
    SOMEONE_ELSE_DB,
    Doubt,
    Verdict,
    decide,
    harmless,
)
from agent.floor import Floor, State

QUIET_MS = 60  # three frames: the sound is over, and what it was may be asked
FLUSH_VOICE_MS = 180  # half a first word, enough to tell "yeah" from "wait"
FLUSH_AGAIN_MS = 160
ANSWER_MS = 180  # a flush is answered within so long after the voice ended
RESUMED_MS = 300  # a ducked playout reports silence, and takes a moment to report that it goes on
EARLY_ANSWER_MS = 1500  # "yes" so long before the end of the agent's question answers it
TOO_LATE_MS = 4000
CUT_IN_MS = 1500  # a caller who speaks up so soon after the end of their turn had not finished it


def thinking(floor: Floor) -> None:
    """The agent prepares its reply; nobody has heard any of it."""
    if floor.audible:
        floor.enter(State.SPEAKING)
        floor.forget_late_words()
    elif not floor.thinking:
        floor.listen()
    elif floor.after_ms(floor.since) >= floor.options.thinking_limit_s * 1000:
        floor.decide(d.GiveUp, f"no answer for {floor.options.thinking_limit_s:.0f} s")
        floor.listen()
    elif _first_sign(floor):
        _duck(floor, "a sound before the reply")
    elif _patience_is_due(floor):
        floor.fillers += 1
        floor.filled = floor.now
        floor.decide(d.Fill, "the answer is long in coming")
    else:
        _judge_while_going_on(floor)


def speaking(floor: Floor) -> None:
    """The caller hears the agent."""
    if not floor.audible:
        if floor.thinking:  # more of the answer follows
            floor.enter(State.THINKING)
        elif floor.after_ms(floor.resumed) >= RESUMED_MS:
            floor.listen()
    elif not floor.interruptible:
        return
    elif _first_sign(floor):
        _duck(floor, "a sound while the agent speaks")
    elif floor.early_answer is None:
        _judge_while_going_on(floor)
    elif floor.after_ms(floor.early_answer) >= EARLY_ANSWER_MS:
        floor.backchannel("agreed in the middle of a question")


def held(floor: Floor) -> None:
    """The agent waits to learn what it heard."""
    if not floor.interruptible:
        _resume(floor, "this part must be heard out")
        return
    doubt = _doubt(floor)
    verdict, reason = decide(doubt, floor.options.interrupt_voice_ms)
    if verdict is Verdict.INTERRUPT:
        _give_way(floor, reason)
    elif verdict is not Verdict.WAIT:
        _resume(floor, reason)
        _dismiss(floor, verdict, reason)
    else:
        _ask_what_it_was(floor)
        if floor.after_ms(floor.since) >= _hold_ms(floor, doubt) and harmless(doubt):
            _resume(floor, "probably nothing", softly=True)
            floor.unjudged = True


def stop_pressed(floor: Floor) -> None:
    """The caller asked for silence by a button."""
    if floor.state in (State.THINKING, State.SPEAKING, State.HELD) and floor.interruptible:
        floor.decide(d.Interrupt, "the caller pressed stop")
        floor.ignore("the caller pressed stop")
        floor.audible = False
        floor.listen()


def typed(floor: Floor) -> None:
    """A typed message needs no waiting: it is finished by being sent."""
    if floor.state not in (State.THINKING, State.SPEAKING, State.HELD):
        floor.drop_speculation("the caller typed")
    elif floor.unheard:
        floor.decide(d.DropSpeculation, "the caller typed before the reply")
        floor.carried = floor.committed
    elif not floor.interruptible:
        return
    else:
        floor.decide(d.Interrupt, "the caller typed")
        floor.audible = False
    text, floor.typed = f"{floor.turn_text} {floor.typed}".strip(), ""
    floor.commit(text, "typed")


def _judge_while_going_on(floor: Floor) -> None:
    """A sound is not understood yet, or words came without one, or later than the decision."""
    too_late = floor.after_ms(floor.words.end_samples) > TOO_LATE_MS
    if not floor.unjudged and (too_late or not floor.words.words):
        return  # words that come too late to be answered wait for the caller's next turn
    verdict, reason = decide(_doubt(floor), floor.options.interrupt_voice_ms)
    if verdict is Verdict.INTERRUPT:
        _give_way(floor, reason)
    elif verdict is Verdict.WAIT:
        _ask_what_it_was(floor)
    else:
        _dismiss(floor, verdict, reason)


def _patience_is_due(floor: Floor) -> bool:
    """Whether a caller might take the silence for a broken line."""
    if floor.words_written or floor.unjudged or floor.fillers >= floor.options.fillers:
        return False
    first = floor.unheard and not floor.fillers
    silent_since = max(floor.committed_at, floor.audible_until, floor.filled)
    limit_ms = floor.options.fill_ms if first else floor.options.fill_again_ms
    return floor.after_ms(silent_since) >= limit_ms


def _hold_ms(floor: Floor, doubt: Doubt) -> float:
    """How long the agent stays silent for a sound that is probably nothing."""
    if not floor.words_awaited or doubt.quiet_ms < QUIET_MS:
        return HOLD_MS
    over_ms = (floor.voice.burst.ended - floor.since) / SAMPLES_PER_MS
    # After so long a silence a little more is no loss, and going on just to stop again is one.
    return over_ms + ANSWER_MS if over_ms + QUIET_MS > HOLD_LIMIT_MS else HOLD_LIMIT_MS


def _doubt(floor: Floor) -> Doubt:
    voice, words = floor.voice, floor.words
    # Final words without the silence behind them are a guess: the flush fell into the middle of a word.
    final = words.final_samples >= _over(floor)
    text = words.text if final else words.settled(floor.now)
    count = len(text.split())
    after_word = words.end_samples if words.words else voice.burst.ended
    return Doubt(
        voiced_ms=voice.burst.voiced_ms,
        quiet_ms=voice.burst_quiet_ms,
        confidence=voice.burst.peak_confidence if voice.neural else 1.0,
        below_usual_db=voice.below_usual_db,
        began_far=voice.burst.far,
        other_voice=voice.other_voice,
        meaning=meaning(text),
        seems=meaning(words.text),
        word_count=count,
        word_confidence=max(
            (word.confidence for word in words.words[:count] if not agrees(word.text)), default=0.0
        ),
        wordless_ms=0.0
        if words.words
        else (words.final_samples - voice.burst.began) / SAMPLES_PER_MS,
        words_final=final,
        on_after_word_ms=(voice.burst.ended - after_word) / SAMPLES_PER_MS,
    )


def _ask_what_it_was(floor: Floor) -> None:
    burst = floor.voice.burst
    if floor.voice.burst_quiet_ms >= QUIET_MS:
        floor.flush_words(_over(floor), "what was that sound?")
    elif burst.voiced_ms >= FLUSH_VOICE_MS:
        again = floor.now - FLUSH_AGAIN_MS * SAMPLES_PER_MS
        floor.flush_words(again, "what was that sound?")


def _over(floor: Floor) -> int:
    """The sample up to which a recogniser must have heard to know that the sound is over."""
    return floor.voice.burst.ended + QUIET_MS * SAMPLES_PER_MS


def _first_sign(floor: Floor) -> bool:
    return floor.voice.sign and not floor.voice.burst.dismissed


def _duck(floor: Floor, reason: str) -> None:
    floor.held_over = floor.state
    floor.decide(d.Duck, reason)
    floor.enter(State.HELD)


def _resume(floor: Floor, reason: str, *, softly: bool = False) -> None:
    floor.voice.burst.dismissed = True
    floor.decide(d.Resume, reason, softly=softly)
    floor.resumed = floor.now
    floor.enter(floor.held_over)


def _dismiss(floor: Floor, verdict: Verdict, reason: str) -> None:
    """The sound was nobody's turn."""
    softly, floor.unjudged = floor.unjudged, False
    if verdict is Verdict.IGNORE:
        floor.voice.burst.far |= floor.voice.below_usual_db >= SOMEONE_ELSE_DB
        floor.ignore(reason)
    elif meaning(floor.words.text) is Meaning.ACKNOWLEDGE and floor.agent_asks:
        floor.early_answer = floor.now
        if softly:
            floor.decide(d.Resume, "the caller agrees")
    else:
        floor.backchannel(reason)


def _give_way(floor: Floor, reason: str) -> None:
    """The agent gives up the floor, or, before its first sound, the turn it was about to answer."""
    unheard = floor.unheard
    began = floor.voice.burst.began
    if floor.after_ms(floor.committed_at) < CUT_IN_MS and began > floor.stopped:
        floor.patience.learn((began - floor.stopped) / SAMPLES_PER_MS)
    if unheard:
        floor.carried = floor.committed
        floor.decide(d.DropSpeculation, f"{reason} before the reply")
    else:
        floor.decide(d.Interrupt, reason)
    floor.audible = floor.thinking = False
    if floor.words.words:
        began = min(began, floor.words.words[0].start_samples)
    floor.start_turn(reason, began, after_interrupt=not unheard)
