from __future__ import annotations

from itertools import pairwise

import pytest

from asr.config import TOKEN_SAMPLES, delay_tokens
from asr.words import Decision, StreamingIds, Transcript, aligned_samples
from backbone.tekken import Tekken
from tests.asr.tiny import N_SPECIAL, tekken

TEKKEN = Tekken(tekken())
IDS = StreamingIds.of(TEKKEN)


def write(*steps: str | bytes | int, probability: float = 0.9) -> Transcript:
    """A transcript of one token per step: a piece, a byte, an id, "_" for pad, "|" for boundary."""
    transcript = Transcript(TEKKEN, IDS)
    for index, step in enumerate(steps):
        if isinstance(step, int):
            token = step
        elif isinstance(step, bytes):
            token = N_SPECIAL + step[0]
        else:
            token = {"_": IDS.pad, "|": IDS.word}.get(step) or TEKKEN.encode(step)[0]
        transcript.push(Decision(token, probability, float(step == "_")), index * TOKEN_SAMPLES)
    return transcript


def texts(transcript: Transcript) -> list[str]:
    return [word.text for word in transcript.hypothesis(10**9).words]


def test_pieces_make_words_at_their_spaces():
    assert texts(write("_", "|", " cat", "s", "_", "|", " dog", ".", "_")) == ["cats", "dog."]
    assert texts(write("|", " the", " cat", "s", " dog")) == ["the", "cats", "dog"]


def test_a_word_ends_where_its_boundary_says_and_grouped_words_where_their_first_piece_does():
    words = write("_", "_", "_", "|", " a", "_", "_", "|", " the", " dog").hypothesis(10**9).words
    assert [word.end_samples // TOKEN_SAMPLES for word in words] == [3, 7, 9]
    assert all(a.end_samples <= b.start_samples for a, b in pairwise(words))
    assert all(word.start_samples < word.end_samples for word in words)


def test_words_never_end_after_what_was_heard():
    words = write("_", "|", " a", "|", " dog").hypothesis(2 * TOKEN_SAMPLES).words
    assert words[-1].end_samples == 2 * TOKEN_SAMPLES


def test_a_word_is_stable_once_something_else_follows():
    assert write("|", " cat").hypothesis(10**6).stable == 0
    assert write("|", " cat", "_").hypothesis(10**6).stable == 1
    assert write("|", " cat", " dog").hypothesis(10**6).stable == 1
    assert write("|", " cat").hypothesis(10**6, final=True).stable == 1


def test_late_punctuation_joins_the_word_before_it():
    assert texts(write("|", " cat", "_", "_", ".", "_", "|", " dog")) == ["cat.", "dog"]


def test_scripts_without_spaces_are_cut_at_boundaries():
    pieces = [bytes([byte]) for byte in "猫".encode()]
    assert texts(write("|", *pieces, "_", "|", *pieces)) == ["猫", "猫"]


def test_a_character_split_over_tokens_survives_pads_between_its_bytes():
    first, *rest = (bytes([byte]) for byte in "é".encode())
    assert texts(write("|", " cat", first, "_", *rest, "_")) == ["caté"]


@pytest.mark.parametrize("token", [0, 1, 2, 3, 34, N_SPECIAL])
def test_specials_and_the_zero_byte_are_no_text(token):
    assert texts(write("|", " cat", token, "_", token, "|", " dog")) == ["cat", "dog"]


def test_a_copy_goes_on_by_itself():
    transcript = write("|", " cat")
    twin = transcript.copy()
    twin.push(Decision(TEKKEN.encode("s")[0], 0.5, 0.0), 5 * TOKEN_SAMPLES)
    assert texts(twin) == ["cats"]
    assert texts(transcript) == ["cat"]


def test_confidence_is_the_mean_probability_of_the_pieces():
    transcript = write("|", " cat", probability=0.9)
    transcript.push(Decision(TEKKEN.encode("s")[0], 0.4, 0.0), 5 * TOKEN_SAMPLES)
    (word,) = transcript.hypothesis(10**9).words
    assert word.confidence == pytest.approx((0.9 * 0.4) ** 0.5)


def test_belief_in_a_pause_grows_with_silence_and_falls_with_speech():
    beliefs = [write("|", " cat", *["_"] * count).pause for count in range(12)]
    assert beliefs == sorted(beliefs)
    assert beliefs[0] == 0.0
    assert beliefs[-1] > 0.95
    assert write(*["_"] * 9, " cat").pause == 0.0


def test_forgetting_drops_words_by_their_middle():
    transcript = write("_", "|", " cat", "_", "_", "_", "_", "_", "_", "|", " dog", "_")
    transcript.forget(5 * TOKEN_SAMPLES)
    assert texts(transcript) == ["dog"]


def test_uncommitted_words_are_bounded():
    transcript = write(*["|", " a"] * 5000)
    assert len(transcript.hypothesis(10**9).words) <= 4097


@pytest.mark.parametrize("delay", [1, 6, 12, 30])
def test_the_first_free_token_speaks_of_the_first_sample(delay):
    prompt_length = 33 + delay
    assert aligned_samples(prompt_length - 1, delay, 32) == 0


def test_delays_are_whole_decisions():
    assert [delay_tokens(ms) for ms in (80, 160, 240, 480, 960, 1200, 2400)] == [
        *(1, 2, 3, 6, 12, 15, 30)
    ]
    for wrong in (0, 40, 100, 2480, -80):
        with pytest.raises(ValueError, match="multiple of 80"):
            delay_tokens(wrong)
