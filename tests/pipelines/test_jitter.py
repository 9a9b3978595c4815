from __future__ import annotations

import itertools
import random

from pipelines.media.jitter import AudioPacket, JitterBuffer, signed_distance


def packet(sequence: int) -> AudioPacket:
    return AudioPacket(sequence & 0xFFFF, sequence * 960, b"x")


def run(sequences: list[int], hold: int = 2) -> tuple[list[int], JitterBuffer]:
    buffer = JitterBuffer(hold)
    released = [p.sequence for s in sequences for p in buffer.add(packet(s))]
    return released, buffer


def test_packets_in_order_leave_at_once():
    buffer = JitterBuffer()
    for sequence in range(65_530, 65_546):
        assert [p.sequence for p in buffer.add(packet(sequence))] == [sequence & 0xFFFF]


def test_swapped_packets_are_put_right():
    assert run([1, 3, 2, 5, 4, 6])[0] == [1, 2, 3, 4, 5, 6]


def test_a_lost_packet_is_given_up_after_two_newer_ones_and_delay_returns_to_none():
    buffer = JitterBuffer(hold=2)
    buffer.add(packet(10))
    assert buffer.add(packet(12)) == []
    assert buffer.add(packet(13)) == []
    assert [p.sequence for p in buffer.add(packet(14))] == [12, 13, 14]
    assert [p.sequence for p in buffer.add(packet(15))] == [15]
    assert buffer.lost == 1


def test_a_packet_after_its_place_was_given_up_is_dropped_and_counted():
    released, buffer = run([1, 3, 4, 5, 2, 6])
    assert released == [1, 3, 4, 5, 6]
    assert (buffer.lost, buffer.late) == (1, 1)


def test_duplicates_are_dropped():
    assert run([1, 2, 2, 3, 3, 3])[0] == [1, 2, 3]


def test_a_jump_of_seconds_starts_afresh_in_either_direction():
    assert run([5, 6, 40_000, 40_001])[0] == [5, 6, 40_000, 40_001]
    assert run([40_000, 40_001, 5, 6])[0] == [40_000, 40_001, 5, 6]


def test_a_shorter_jump_back_starts_afresh_when_nothing_returns_from_it():
    released, buffer = run([*range(100, 120), *range(50, 70)])
    assert released == [*range(100, 120), *range(55, 70)]
    assert buffer.late == 5


def test_a_burst_of_stragglers_among_newer_packets_is_no_jump_back():
    stragglers = itertools.chain.from_iterable(zip(range(50, 60), range(120, 130), strict=True))
    assert run([*range(100, 120), *stragglers])[0] == [*range(100, 130)]


def test_whatever_the_network_does_output_is_in_order_bounded_and_complete_but_for_losses():
    rng = random.Random(7)
    for _ in range(200):
        start = rng.randrange(65_536)
        kept = [s for s in range(start, start + 200) if rng.random() > 0.1]
        arrival = sorted(kept, key=lambda s: s + rng.uniform(0, 3))
        buffer = JitterBuffer(hold=2)
        released: list[int] = []
        for sequence in arrival:
            released += [p.sequence for p in buffer.add(packet(sequence))]
            assert len(buffer._waiting) <= 2
        steps = [signed_distance(b, a) for a, b in itertools.pairwise(released)]
        assert min(steps) > 0
        assert len(released) >= len(kept) - buffer.late - 2
