from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.playout import Playout, Utterance

FRAME = 480
FADE = 192


def ramp(n_samples: int, start: int = 0) -> np.ndarray:
    """Every sample is its own position, so that any slip of one sample is seen."""
    return np.arange(start, start + n_samples, dtype=np.float32) + 1


def playing(n_samples: int = 24_000, **options: bool) -> tuple[Playout, Utterance]:
    playout, utterance = Playout(), Utterance(**options)
    utterance.push(ramp(n_samples))
    utterance.end()
    playout.add(utterance)
    return playout, utterance


def test_silence_is_nothing_at_all():
    assert Playout().pull(FRAME) is None


def test_it_plays_what_was_pushed_and_counts_it():
    playout, utterance = playing(1_000)
    out = [playout.pull(FRAME) for _ in range(4)]
    assert np.array_equal(np.concatenate(out[:3])[:1_000], ramp(1_000))
    assert np.all(out[2][40:] == 0)
    assert out[3] is None
    assert utterance.written_samples == 1_000
    assert utterance.done


def test_pieces_of_any_size_make_one_stream():
    playout, utterance = Playout(), Utterance()
    playout.add(utterance)
    for start in range(0, 1_920, 70):
        utterance.push(ramp(70, start))
    assert np.array_equal(np.concatenate([playout.pull(FRAME) for _ in range(4)]), ramp(1_920))


def test_silence_before_the_first_sound_is_passed_over():
    gone = []
    playout, utterance = Playout(), Utterance()
    utterance.on_gone = gone.append
    playout.add(utterance)
    for piece in (np.zeros(1_000), np.r_[np.zeros(500), np.ones(100)], np.zeros(300)):
        utterance.push(piece.astype(np.float32))
    utterance.end()
    out = np.concatenate([playout.pull(FRAME), playout.pull(FRAME)])
    assert np.flatnonzero(out)[0] == 240
    assert np.count_nonzero(out) == 100
    assert sum(gone) == 1_900
    assert utterance.written_samples == 240 + 100 + 300


def test_duck_silences_within_the_next_frame_with_a_fade():
    playout, utterance = playing()
    playout.pull(FRAME)
    playout.duck()
    tail = playout.pull(FRAME)
    assert np.all(tail[FADE:] == 0)
    assert tail[0] == pytest.approx(481)
    assert np.all(np.diff(tail[:FADE]) < 0)
    assert playout.pull(FRAME) is None
    assert utterance.written_samples == FRAME


def test_resume_goes_on_at_the_very_same_sample():
    playout, utterance = playing()
    playout.pull(FRAME)
    playout.duck()
    for _ in range(5):
        playout.pull(FRAME)
    playout.resume()
    out = playout.pull(FRAME)
    assert out[0] == 0
    assert np.array_equal(out[FADE:], ramp(FRAME - FADE, FRAME + FADE))
    assert np.array_equal(playout.pull(FRAME), ramp(FRAME, 2 * FRAME))
    assert utterance.written_samples == 3 * FRAME


def test_it_can_go_on_softly_until_told_to_speak_up():
    playout, _ = playing()
    playout.pull(FRAME)
    playout.duck()
    playout.pull(FRAME)
    playout.resume(softly=True)
    playout.pull(FRAME)
    soft = playout.pull(FRAME)
    assert np.allclose(soft / ramp(FRAME, 2 * FRAME), 10 ** (-9 / 20))
    playout.speak_up()
    rising = playout.pull(FRAME) / ramp(FRAME, 3 * FRAME)
    assert np.all(np.diff(rising) > -1e-6)
    assert np.array_equal(playout.pull(FRAME), ramp(FRAME, 4 * FRAME))


def test_it_speaks_up_when_it_is_to_go_on_after_all():
    playout, _ = playing()
    playout.duck()
    playout.resume(softly=True)
    playout.pull(2 * FRAME)
    playout.resume()
    playout.pull(FRAME)
    assert np.array_equal(playout.pull(FRAME), ramp(FRAME, 3 * FRAME))


def test_softness_ends_with_what_was_said():
    playout, _ = playing(FRAME)
    playout.duck()
    playout.resume(softly=True)
    playout.pull(FRAME)
    follower = Utterance()
    follower.push(ramp(2 * FRAME))
    playout.add(follower)
    playout.pull(FRAME)
    assert np.array_equal(playout.pull(FRAME), ramp(FRAME, FRAME))


def test_flush_drops_everything_after_a_fade_and_says_what():
    playout, first = playing()
    second = Utterance()
    playout.add(second)
    playout.pull(FRAME)
    assert playout.flush() == [first, second]
    assert np.all(playout.pull(FRAME)[FADE:] == 0)
    assert playout.pull(FRAME) is None
    assert first.written_samples == FRAME


def test_flush_while_ducked_makes_no_sound_and_unducks():
    playout, _ = playing()
    playout.pull(FRAME)
    playout.duck()
    playout.pull(FRAME)
    playout.flush()
    assert playout.pull(FRAME) is None
    assert not playout.ducked


def test_a_held_utterance_waits_until_it_is_let_go():
    playout, utterance = playing(held=True)
    assert playout.pull(FRAME) is None
    assert not playout.audible
    utterance.held = False
    assert np.array_equal(playout.pull(FRAME), ramp(FRAME))


def test_an_utterance_that_has_not_begun_can_be_taken_back():
    playout, utterance = playing(held=True)
    playout.remove(utterance)
    utterance.held = False
    assert playout.pull(FRAME) is None


def test_starvation_is_silence_that_loses_no_sample_and_is_counted():
    playout, utterance = Playout(), Utterance()
    playout.add(utterance)
    utterance.push(ramp(FRAME + 100))
    playout.pull(FRAME)
    out = playout.pull(FRAME)
    assert np.all(out[100:] == 0)
    assert playout.pull(FRAME) is None
    assert utterance.starved_samples == FRAME - 100 + FRAME
    assert playout.audible
    utterance.push(ramp(FRAME, FRAME + 100))
    assert np.array_equal(playout.pull(FRAME), ramp(FRAME, FRAME + 100))


def test_it_tells_when_the_caller_begins_and_ceases_to_hear_and_when_all_is_said():
    told: list[object] = []
    playout = Playout(told.append, told.append)
    utterance = Utterance()
    utterance.push(ramp(700))
    playout.add(utterance)
    playout.pull(FRAME)
    playout.duck()
    playout.pull(FRAME)
    playout.resume()
    playout.pull(FRAME)
    utterance.end()
    playout.pull(FRAME)
    assert told == [True, utterance, False]


ACTIONS = st.lists(st.sampled_from(["pull", "duck", "resume", "push"]), max_size=60)


@given(ACTIONS)
@settings(deadline=None)
def test_whatever_happens_no_sample_is_lost_or_heard_twice(actions: list[str]):
    """Take the fades away, and what was played is the pushed audio from its first sample on."""
    playout, utterance = Playout(), Utterance()
    playout.add(utterance)
    pushed = written = 0
    heard: list[np.ndarray] = []
    for action in actions:
        if action == "push":
            utterance.push(ramp(300, pushed))
            pushed += 300
        elif action == "pull":
            out = playout.pull(100)
            if utterance.written_samples > written:
                heard.append(out[: utterance.written_samples - written])
                written = utterance.written_samples
        else:
            getattr(playout, action)()
    played = np.concatenate(heard) if heard else np.zeros(0, np.float32)
    assert len(played) == utterance.written_samples <= pushed
    loud = played == ramp(len(played))
    faded = (played >= 0) & (played < ramp(len(played)))
    assert np.all(loud | faded)


def test_a_sound_as_short_as_a_pull_may_be_flushed_by_being_heard():
    playout = Playout(on_audible=lambda audible: audible and playout.flush())
    utterance = Utterance()
    utterance.push(ramp(100))
    utterance.end()
    playout.add(utterance)
    assert playout.pull(FRAME) is None
    assert playout.current is None


def test_flush_spares_what_must_be_heard_out():
    playout, notice = playing(2_000, interruptible=False)
    follower = Utterance()
    playout.add(follower)
    heard = [playout.pull(FRAME)]
    assert playout.flush() == [follower]
    heard += [playout.pull(FRAME) for _ in range(4)]
    assert np.array_equal(np.concatenate(heard)[:2_000], ramp(2_000))
    assert notice.done


def test_flush_does_not_disturb_a_notice_that_plays_alone():
    told = []
    playout, notice = Playout(on_audible=told.append), Utterance(interruptible=False)
    notice.push(ramp(2_000))
    notice.end()
    playout.add(notice)
    heard = [playout.pull(FRAME)]
    assert playout.flush() == []
    heard += [playout.pull(FRAME) for _ in range(4)]
    assert np.array_equal(np.concatenate(heard)[:2_000], ramp(2_000))
    assert told == [True, False]
