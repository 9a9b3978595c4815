"""What language models write for machines never reaches the voice, in whatever pieces it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.unspoken import SpokenText


def spoken(text: str, sizes: list[int] | None = None, **given: bool) -> tuple[str, SpokenText]:
    """What of `text` is said when it comes in pieces of these sizes, then letter by letter."""
    spoken_text = SpokenText(**given)
    said, at = "", 0
    for size in [*(sizes or []), *[1] * len(text)]:
        said += spoken_text.push(text[at : at + size])
        at += size
    return said + spoken_text.flush(), spoken_text


WRITTEN = {
    "<think>first <b>this</b></think>Hello, 1 < 2. [THINK]and[/THINK]Bye <th": "Hello, 1 < 2. Bye <th",
    "I <3 you, a < b, [sic], 3 > 2, x<y.": "I <3 you, a < b, [sic], 3 > 2, x<y.",
    'Sure. <tool_call>\n{"name": "look"}\n</tool_call> Done.': "Sure.  Done.",
    'One moment. <tool_call>{"name": "look"': "One moment. ",
    '<|python_tag|>{"name": "look"}': "",
    '[TOOL_CALLS][{"name": "look"}]': "",
    '<function=look>{"at": 1}</function>': "",
    "Hello.<|im_end|>\n<|im_start|>user\nAnd you?": "Hello.",
    "Hello.<|eot_id|><|start_header_id|>user": "Hello.",
    "Hello.</s>[INST] And you? [/INST]": "Hello.",
    "Hello.<end_of_turn>\n<start_of_turn>user": "Hello.",
    "Hello.<｜end▁of▁sentence｜><｜User｜>And?": "Hello.",
    "Hello.<|endoftext|>Human: what?": "Hello.",
    "<|im_start|>assistant\nHello.<|im_end|>": "Hello.",
    "<|start_header_id|>assistant<|end_header_id|>Hello.": "Hello.",
    "<start_of_turn>model\nHello.": "Hello.",
    "<|assistant|>Hello.": "Hello.",
    "[/INST] Hello.": " Hello.",
    "<|channel|>analysis<|message|>They greet.<|end|><|start|>assistant"
    "<|channel|>final<|message|>Hello.<|return|>": "Hello.",
    "<|channel|>final<|message|>Hello.<|return|>": "Hello.",
    "<|start|>assistant<|channel|>final<|message|>Hello.": "Hello.",
    "Hello.</tool_call> Bye.": "Hello. Bye.",
}


@pytest.mark.parametrize("text", WRITTEN)
@given(sizes=st.lists(st.integers(1, 12), max_size=12))
def test_only_what_is_meant_for_the_caller_is_spoken(text, sizes):
    assert spoken(text, sizes)[0] == WRITTEN[text]


def test_a_thought_that_never_ends_is_never_spoken():
    said, rest = spoken("Well, <think>on and on")
    assert (said, rest.withheld) == ("Well, ", len("on and on"))


def test_a_thought_without_a_beginning_is_noticed_and_withheld_once_that_is_known():
    said, first = spoken("They greet.</think>Hello.")
    assert (said, first.thought_unopened) == ("They greet.Hello.", True)
    said, next_one = spoken("They greet.</think>Hello. <think>so</think>", in_thought=True)
    assert (said, next_one.thought_unopened) == ("Hello. ", True)
    said, another = spoken("Hello, I do not think.", in_thought=True)
    assert (said, another.thought_unopened) == ("", False)


@pytest.mark.parametrize(
    "text", ["Hello there.", "I <3 you. ", "if a < b and c > d, ", "5 [five] "]
)
def test_plain_text_is_not_held_back(text):
    assert SpokenText().push(text) == text
