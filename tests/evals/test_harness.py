"""The harness measures an agent with known reactions before it judges one with unknown ones."""

import shutil

import numpy as np
import pytest

from evals.caller import DOWNLINK_S, Caller
from evals.conduct import conduct
from evals.gate import OPUS, PCM, segments
from evals.heard import SAMPLE_RATE_HZ, Arrival, HeardTimeline
from evals.mock_agent import MockAgent
from evals.run import _play_all
from evals.scenario import load_all
from evals.speakers import noise_burst, speak

needs_flite = pytest.mark.skipif(
    shutil.which("flite") is None, reason="needs flite (apt install flite)"
)


def silence(seconds):
    return np.zeros(int(seconds * SAMPLE_RATE_HZ), np.float32)


@needs_flite
@pytest.mark.parametrize("voice", ["flite:rms", "flite:slt", "flite:kal16"])
def test_the_gate_finds_known_boundaries_within_its_residual(voice):
    clip = speak("What time is it in London?", voice)
    pcm = np.concatenate([silence(0.5), clip, silence(0.5)])
    (found,) = segments(pcm, SAMPLE_RATE_HZ, PCM)
    assert found.on_s == pytest.approx(0.5, abs=0.012)
    assert found.off_s == pytest.approx(0.5 + len(clip) / SAMPLE_RATE_HZ, abs=0.015)


def test_short_gaps_are_bridged_and_long_ones_divide():
    tone = 0.3 * np.sin(np.arange(9_600) * 0.05).astype(np.float32)
    pcm = np.concatenate([tone, silence(0.15), tone, silence(0.4), tone])
    found = segments(pcm, SAMPLE_RATE_HZ)
    assert len(found) == 2
    assert found[1].on_s == pytest.approx(0.95, abs=0.012)
    assert segments(silence(1.0), SAMPLE_RATE_HZ) == []


def test_a_stall_does_not_shift_what_is_heard_after_it():
    timeline = HeardTimeline()
    for i in range(200):
        late = 0.3 if 50 <= i < 60 else 0.0
        pcm = np.full(960, 0.5 if i == 150 else 0.0, np.float32)
        timeline.add(Arrival(1.0 + i * 0.02 + late, i * 0.02, pcm))
    ear = timeline.render(6.0)
    assert np.flatnonzero(ear)[0] / SAMPLE_RATE_HZ == pytest.approx(1.0 + 150 * 0.02, abs=1e-3)
    assert timeline.lateness_s().max() == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["cough", "laughter", "keyboard", "click", "hum"])
def test_noises_are_repeatable_and_audible(kind):
    np.testing.assert_array_equal(noise_burst(kind, 0.5), noise_burst(kind, 0.5))
    assert np.abs(noise_burst(kind, 0.5)).max() == pytest.approx(0.5)


@needs_flite
async def test_reactions_of_a_known_agent_are_measured_within_5_ms():
    agent = MockAgent(speak("Certainly, on Tuesday.", "flite:slt"))
    question = speak("When is the meeting?", "flite:rms")
    async with Caller(agent.offer) as caller:
        await caller.sleep(1.0)
        asked, interrupted = [], []
        for _ in range(4):
            asked.append(caller.mouth.say(question) + len(question) / SAMPLE_RATE_HZ)
            assert await caller.wait_audible(True, for_s=0.5, timeout_s=4)
            interrupted.append(caller.mouth.say(question[: SAMPLE_RATE_HZ // 3]))
            assert await caller.wait_audible(False, for_s=0.25, timeout_s=2)
            assert await caller.wait_audible(True, for_s=0.1, timeout_s=4)
            assert await caller.wait_audible(False, for_s=0.4, timeout_s=6)
        started = caller.mouth.began_s
        said, heard = caller.recording()
        health = caller.health()
    await agent.close()
    if not health.ok:
        pytest.skip(f"this machine is too busy to measure anything: {health}")
    assert len(said) == len(heard)
    speech = segments(heard, SAMPLE_RATE_HZ, OPUS)
    first_replies = [min((s for s in speech if s.on_s > t), key=lambda s: s.on_s) for t in asked]
    true_on = [b - started + DOWNLINK_S for b in agent.began_s[::2]]
    true_off = [c - started + DOWNLINK_S for c in agent.cut_s]
    on_error = [s.on_s - t for s, t in zip(first_replies, true_on, strict=True)]
    off_error = [s.off_s - t for s, t in zip(first_replies, true_off, strict=True)]
    assert np.abs(np.median(on_error)) <= 0.005
    assert np.abs(np.median(off_error)) <= 0.005


@needs_flite
async def test_an_answer_that_takes_long_is_waited_for():
    late = MockAgent(speak("Certainly, on Tuesday.", "flite:slt"), silence_s=3.0)
    scenario = next(one for one in load_all() if one.family == "K")
    recording = await conduct(scenario, late.offer)
    await late.close()
    after_s = recording.utterances[-1].off_s
    assert any(s.on_s > after_s + 2.5 for s in segments(recording.heard, SAMPLE_RATE_HZ, OPUS))


async def test_a_call_that_cannot_be_placed_is_counted_and_the_others_go_on():
    items, void, cut_short, failed = await _play_all("http://127.0.0.1:9", load_all()[:2], None, 1)
    assert (items, void, cut_short, failed) == ([], 0, 0, 2)
