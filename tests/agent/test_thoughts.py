from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.thoughts import ThoughtFilter


def spoken(text: str, sizes: list[int]) -> tuple[str, int]:
    filter_ = ThoughtFilter()
    said, at = "", 0
    for size in [*sizes, len(text)]:
        said += filter_.push(text[at : at + size])
        at += size
    return said + filter_.flush(), filter_.withheld


@given(st.lists(st.integers(1, 6), max_size=20))
def test_tags_in_any_pieces(sizes):
    text = "<think>first <b>this</b></think>Hello, 1 < 2. [THINK]and[/THINK]Bye <th"
    said, withheld = spoken(text, sizes)
    assert said == "Hello, 1 < 2. Bye <th"
    assert withheld == len("first <b>this</b>") + len("and")


def test_a_thought_that_never_ends_is_never_spoken():
    assert spoken("Well, <think>on and on", [3, 3, 3]) == ("Well, ", len("on and on"))


def test_plain_text_is_not_held_back():
    assert ThoughtFilter().push("Hello there.") == "Hello there."
