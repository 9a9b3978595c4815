from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clauses import ClauseSplitter


def split(text: str, size: int = 3) -> list[str]:
    splitter = ClauseSplitter()
    clauses = [c for n in range(0, len(text), size) for c in splitter.push(text[n : n + size])]
    return clauses + splitter.flush()


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Hello there. How are you?", ["Hello there. ", "How are you?"]),
        ("मैं ठीक हूँ। आप कैसे हैं?", ["मैं ठीक हूँ। ", "आप कैसे हैं?"]),
        ("مرحبا بك، كيف حالك؟ شكرا.", ["مرحبا بك، ", "كيف حالك؟ ", "شكرا."]),
        (
            "Of course, I can help. It costs 3.50 euros, tax included.",
            ["Of course, ", "I can help. ", "It costs 3.50 euros, tax included."],
        ),
        ("Dr. Smith is in, e.g. at 5 p.m. today.", ["Dr. Smith is in, ", "e.g. at 5 p.m. today."]),
        ("See www.example.com/a,b. Bye.", ["See www.example.com/a,b. ", "Bye."]),
        ("J. S. Bach wrote it. Yes!", ["J. S. Bach wrote it. ", "Yes!"]),
        ("Well... perhaps. 1. First.", ["Well... ", "perhaps. ", "1. First."]),
        ("Population 1,000,000 people, or so.", ["Population 1,000,000 people, ", "or so."]),
        ("No. 5 is alive.", ["No. 5 is alive."]),
        ("これは。テスト。", ["これは。", "テスト。"]),
        ('He said "Stop!" Then left.', ['He said "Stop!" ', "Then left."]),
        ("First line\nSecond line", ["First line\n", "Second line"]),
        (
            "Mon-Fri 8:00 AM - 5:30 PM, or later – maybe.",
            ["Mon-Fri 8:00 AM - 5:30 PM, ", "or later – maybe."],
        ),
        ("Open late - see you then", ["Open late - ", "see you then"]),
        ("\n1. First, there is this.", ["\n1. First, ", "there is this."]),
    ],
)
def test_where_a_speaker_would_breathe(text, clauses):
    assert split(text) == clauses


def test_the_first_clause_is_out_before_the_sentence_is():
    splitter = ClauseSplitter()
    assert splitter.push("Sure, let me ") == []
    assert splitter.push("see, now") == ["Sure, let me see, "]
    assert splitter.push(" what") == []


def test_without_a_comma_a_joint_will_do():
    assert split("I would go there today because it is open and free.") == [
        "I would go there today ",
        "because it is open and free.",
    ]


def test_a_sentence_without_end_is_cut_between_words():
    clauses = split("word " * 100)
    assert max(len(clause.split()) for clause in clauses) == 40


def test_after_a_flush_the_next_first_clause_is_short_again():
    splitter = ClauseSplitter()
    splitter.push("One two three. ")
    splitter.flush()
    assert splitter.push("Well then, more") == ["Well then, "]


def test_nothing_is_no_clause():
    splitter = ClauseSplitter()
    assert splitter.push("") == []
    assert splitter.push("  ") == []
    assert splitter.flush() == []


@given(st.text(alphabet="ab. ,!?\n1–。'", max_size=80), st.integers(1, 9))
def test_the_clauses_joined_are_the_text(text, size):
    splitter = ClauseSplitter()
    clauses = [c for n in range(0, len(text), size) for c in splitter.push(text[n : n + size])]
    joined = "".join(clauses + splitter.flush())
    assert joined.split() == text.split()
    assert text.startswith(joined)


@given(st.text(alphabet="ab. ,!?1–", max_size=80))
def test_how_the_text_arrives_makes_no_difference(text):
    assert [c.strip() for c in split(text, 1)] == [c.strip() for c in split(text, 7)]
