"""Whoever would fall silent first is served first."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tts.schedule import next_turn


@dataclass(frozen=True)
class Speaker:
    name: str
    plays_until_s: float
    begun: bool = True

    def lead_s(self, now_s: float) -> float:
        return max(0.0, self.plays_until_s - now_s)


def served(*speakers: Speaker, now_s: float = 10.0, ahead_s: float = 2.0) -> tuple[str, str]:
    turn = next_turn(speakers, now_s, ahead_s)
    return "".join(s.name for s in turn.begin), "".join(s.name for s in turn.speak)


def test_those_with_least_audio_ahead_come_first_and_those_with_enough_sit_out() -> None:
    a, b, c = Speaker("a", 11.5), Speaker("b", 10.9), Speaker("c", 12.1)
    assert served(a, b, c) == ("", "ba")


def test_with_someone_close_to_silence_only_those_who_need_it_are_served() -> None:
    a, b, c = Speaker("a", 11.5), Speaker("b", 10.1), Speaker("c", 10.3)
    assert served(a, b, c) == ("", "bc")


def test_newcomers_start_together_unless_that_would_silence_someone() -> None:
    new = [Speaker(name, 0.0, begun=False) for name in "xyz"]
    assert served(*new, Speaker("a", 11.0)) == ("xyz", "xyz")
    assert served(*new, Speaker("a", 10.1)) == ("x", "xa")


def test_with_everyone_well_ahead_the_engine_sleeps_until_someone_is_not() -> None:
    turn = next_turn([Speaker("a", 12.5), Speaker("b", 13.0)], 10.0, 2.0)
    assert not turn.speak
    assert turn.wait_s == pytest.approx(0.5, abs=0.05)
    assert next_turn([], 10.0, 2.0).wait_s is None


def test_without_a_limit_nobody_ever_waits() -> None:
    assert served(Speaker("a", 500.0), ahead_s=float("inf")) == ("", "a")
