"""The rules while nobody or the caller has the floor: when a turn begins, and when it is over."""

from __future__ import annotations

from agent import decisions as d
from agent.activity import SAMPLES_PER_MS
from agent.backchannels import Meaning, meaning
from agent.barge_in import FAR_ACCEPT_MS, SOMEONE_ELSE_DB
from agent.completeness import normalise
from agent.endpointing import judge
from agent.floor import Floor, State

FLUSH_MS = 160  # longer than the closures inside words: final words cost a forward pass
ASK_MS = 200  # this judge knows no shorter silences, and costs a core for a tenth of a second
MID_PAUSE_MS = 200  # shorter silences are not pauses worth learning from
NOISE_QUIET_MS = 400  # a sound without words is given up after this silence, final words in hand
UNHEARD_QUIET_MS = 1500  # the same when the recogniser never said that its words are final
UNEXPLAINED_MS = 300  # recognisers put the end of a word up to so much too early
BEHIND_GRACE_MS = 3000  # a recogniser that lags so far behind is not waited for
FAR_MS = 200  # voice needed to tell how loud somebody is
ACKNOWLEDGE_MS = 240
MUTE_LIMIT_MS = 1500  # after a stop for nothing, the agent says something after this silence


def listening(floor: Floor) -> None:
    """Nobody has the floor: whoever begins gets it."""
    voice, words = floor.voice, floor.words
    if floor.audible or floor.thinking:
        floor.enter(State.SPEAKING if floor.audible else State.THINKING)
    elif voice.speaking and not voice.burst.dismissed:
        if not _far(floor) or voice.burst.voiced_ms >= FAR_ACCEPT_MS:
            floor.start_turn("voice", voice.burst.began)
    elif words.words:
        first = words.words[0].start_samples
        if voice.quiet_since >= first and not _far(floor):
            floor.start_turn("words", first)
        elif min(voice.burst_quiet_ms, floor.after_ms(words.end_samples)) > NOISE_QUIET_MS:
            floor.ignore("words without the caller's voice")
    elif floor.after_ms(floor.idle_from) >= floor.options.idle_s * 1000:
        floor.idle_prompts += 1
        floor.idle_from = floor.now
        reason = f"nobody spoke for {floor.options.idle_s:.0f} s"
        floor.decide(d.Idle, reason, prompts=floor.idle_prompts)


def caller(floor: Floor) -> None:
    """The caller speaks."""
    if not floor.voice.speaking:
        floor.stopped = max(floor.voice.quiet_since, floor.turn_began)
        floor.sound_finished = None
        floor.asked = floor.hold_said = False
        floor.enter(State.PAUSE)


def pause(floor: Floor) -> None:
    """The caller is silent: find out whether that was the end."""
    if floor.voice.speaking and floor.voice.quiet_since > floor.stopped:
        _goes_on(floor)
        return
    quiet_ms = floor.after_ms(floor.stopped)
    if quiet_ms >= FLUSH_MS:
        floor.flush_words(floor.stopped, "the caller paused")
    text = floor.turn_text
    if not text:
        _nothing_said(floor, quiet_ms)
        return
    if quiet_ms >= ASK_MS and not floor.asked:
        floor.asked = True
        floor.decide(d.AskFinished, "the caller paused", pause_began=floor.stopped)
    pause = floor.words.pause if floor.words.pause_samples > floor.stopped else None
    judged = judge(text, floor.agent_text, floor.sound_finished, pause, floor.words.end_confidence)
    _speculate(floor, text, judged.belief, quiet_ms)
    waited_ms = quiet_ms - _words_grace_ms(floor)
    if waited_ms >= floor.patience.needed_ms(judged.belief) and not _voice_returns(floor):
        _end_turn(floor, text, f"{judged.reason}; {quiet_ms:.0f} ms of silence")
        return
    if quiet_ms >= floor.options.speculate_ms and judged.belief < 0.5 and not floor.hold_said:
        floor.hold_said = True
        floor.decide(d.Hold, judged.reason)
    talked_ms = floor.after_ms(max(floor.turn_began, floor.acknowledged))
    long = talked_ms >= floor.options.long_turn_s * 1000
    if quiet_ms >= ACKNOWLEDGE_MS and long and not floor.speculated:
        floor.acknowledged = floor.now
        floor.decide(d.Acknowledge, f"{talked_ms / 1000:.0f} s without a reply")


def _words_grace_ms(floor: Floor) -> float:
    """How much longer than the silence to wait for words that are not final."""
    if floor.words.final_samples >= floor.stopped:
        return 0.0
    unexplained_ms = (floor.stopped - floor.words.end_samples) / SAMPLES_PER_MS
    behind = unexplained_ms > UNEXPLAINED_MS  # voice after the last word: more words will come
    return BEHIND_GRACE_MS if behind else floor.options.words_grace_ms


def _goes_on(floor: Floor) -> None:
    pause_ms = (floor.voice.burst.began - floor.stopped) / SAMPLES_PER_MS
    if pause_ms >= MID_PAUSE_MS:
        floor.patience.learn(pause_ms)
    floor.drop_speculation("the caller goes on")
    floor.enter(State.CALLER)


def _nothing_said(floor: Floor, quiet_ms: float) -> None:
    """A turn began, but no word came of it."""
    final = floor.words.final_samples >= floor.stopped
    if quiet_ms < (NOISE_QUIET_MS if final else UNHEARD_QUIET_MS) or _voice_returns(floor):
        return
    floor.ignore("a sound without words")
    _come_to_nothing(floor)


def _come_to_nothing(floor: Floor) -> None:
    """Nobody has the floor; if the agent gave it up for this, it does not stay silent for long."""
    stopped_agent = floor.after_interrupt
    floor.listen()
    if stopped_agent:
        early_ms = floor.options.idle_s * 1000 - MUTE_LIMIT_MS
        floor.idle_from -= int(early_ms * SAMPLES_PER_MS)


def _speculate(floor: Floor, text: str, belief: float, quiet_ms: float) -> None:
    if floor.speculated and normalise(text) != normalise(floor.speculated):
        floor.drop_speculation("more words were understood")
    due = quiet_ms >= floor.options.speculate_ms and belief >= floor.options.speculate_belief
    if due and not floor.speculated and not _words_lag(floor):
        floor.speculated = text
        floor.decide(d.Speculate, f"finished by {belief:.0%}", text=text)


def _words_lag(floor: Floor) -> bool:
    """Whether words from before the pause may still be on their way: a reply would be to half of them."""
    told = max(floor.words.final_samples, floor.now - floor.words.lag_samples)
    return told < floor.stopped


def _end_turn(floor: Floor, text: str, reason: str) -> None:
    if meaning(text) is Meaning.VOCAL and not floor.agent_asks:
        floor.drop_speculation("nothing to answer")
        floor.backchannel("a sound that asks for no answer")
        _come_to_nothing(floor)
    else:
        # A punctuation mark that came late must not cost the reply that is already prepared.
        floor.commit(floor.speculated or text, reason)


def _voice_returns(floor: Floor) -> bool:
    """A sign of voice that is too young to be sure of: worth waiting the two frames that tell."""
    voice = floor.voice
    return voice.burst.began > floor.stopped and voice.burst_quiet_ms < 60


def _far(floor: Floor) -> bool:
    """Whether the latest burst is too quiet for this caller; at its beginning that takes less."""
    below_db = floor.voice.below_usual_db
    young = floor.voice.burst.voiced_ms < FAR_MS
    return below_db >= (SOMEONE_ELSE_DB if young else SOMEONE_ELSE_DB + 3)
