"""The token streams that the ears are taught."""

from __future__ import annotations

import numpy as np

from asr.words import StreamingIds
from backbone.tekken import Tekken
from training.ears.tokens import LEFT_PAD_TOKENS, stream_tokens


def test_pieces_begin_with_their_space_and_cover_everything(tekken: Tekken) -> None:
    tokens = tekken.encode(" hello it's über")
    assert tekken.decode(tokens) == " hello it's über"
    assert len(tekken.encode(" hello")) < len(" hello")
    assert tekken.vocab_size == 270 + 5
    assert tekken.audio["streaming_n_left_pad_tokens"] == LEFT_PAD_TOKENS


def test_a_word_is_due_its_delay_after_its_sound(tekken: Tekken) -> None:
    pad, boundary = tekken.special("[STREAMING_PAD]"), tekken.special("[STREAMING_WORD]")
    row = stream_tokens(tekken, [("hello", 1.0)], delay=6, tokens=40)
    prompt = LEFT_PAD_TOKENS + 1 + 6
    assert row[0] == tekken.special("<s>")
    at = int(np.flatnonzero(row == boundary)[0])
    assert at == prompt + int(1.0 / 0.08)
    pieces = tekken.encode(" hello")
    assert list(row[at + 1 : at + 1 + len(pieces)]) == pieces
    said = {0, at, *range(at + 1, at + 1 + len(pieces))}
    assert all(row[i] == pad for i in range(len(row)) if i not in said)


def test_words_in_quick_succession_share_one_boundary(tekken: Tekken) -> None:
    boundary = tekken.special("[STREAMING_WORD]")
    quick = stream_tokens(tekken, [("hello", 1.0), ("it's", 1.05)], 6, 40)
    slow = stream_tokens(tekken, [("hello", 1.0), ("it's", 2.0)], 6, 40)
    assert (quick == boundary).sum() == 1
    assert (slow == boundary).sum() == 2
    assert tekken.decode(quick.tolist()) == tekken.decode(slow.tolist()) == " hello it's"


def test_what_the_trainer_calls_right_is_what_the_listener_reads(tekken: Tekken) -> None:
    """The target tokens, spoken by a perfect model, become the words at the times they ended."""
    from asr.stream import Listener

    words = [("hello", 0.50), ("it's", 0.95), ("help", 1.02), ("yellow", 2.4)]
    delay = 6
    row = stream_tokens(tekken, words, delay, 50)
    listener = Listener(tekken, StreamingIds.of(tekken), delay, left=LEFT_PAD_TOKENS)
    listener.feed(np.zeros(50 * 1280, np.float32))
    assert listener.ready_tokens() >= 49
    for position in range(LEFT_PAD_TOKENS - 1, len(row) - 1):
        if position >= LEFT_PAD_TOKENS:
            assert listener.input_tokens == [row[position]]
        listener.decide(np.array([[[row[position + 1], 1.0, 0.0]]], np.float32))
    heard = listener.hypothesis(final=True).words
    assert [word.text for word in heard] == [word for word, _ in words]
    for word, (_, end_s) in zip(heard, words, strict=True):
        assert abs(word.end_samples / 16_000 - end_s) <= 0.33
