"""How close what was heard comes to what was meant, when the ears are not to be trusted.

A recogniser that mishears keeps the sound: "wreck a nice beach" for "recognise speech". So words
are compared by their letters and by a rough phonetic skeleton, and whole phrases also by the
skeleton without word boundaries. Pure and fast: some microseconds per pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

ENOUGH = 0.72
"""Score from which a pattern counts as heard; below it are other patterns' sentences."""

_CONTRACTIONS = {
    "i'm": "i am", "you're": "you are", "it's": "it is", "that's": "that is", "what's": "what is",
    "who's": "who is", "where's": "where is", "how's": "how is", "let's": "let us",
    "don't": "do not", "doesn't": "does not", "didn't": "did not", "can't": "can not",
    "cannot": "can not", "won't": "will not", "isn't": "is not", "aren't": "are not",
    "i'd": "i would", "i'll": "i will", "i've": "i have", "we're": "we are", "we'd": "we would",
    "there's": "there is", "couldn't": "could not", "name's": "name is",
}  # fmt: skip

_LIGHT = frozenset(
    [
        "a",
        "an",
        "the",
        "is",
        "are",
        "am",
        "was",
        "be",
        "to",
        "of",
        "in",
        "on",
        "at",
        "for",
        "and",
        "or",
        "it",
        "i",
        "you",
        "we",
        "me",
        "my",
        "your",
        "do",
        "does",
        "did",
        "can",
        "could",
        "would",
        "will",
        "please",
        "that",
        "this",
        "there",
        "have",
        "has",
        "so",
        "well",
        "just",
        "um",
        "uh",
        "er",
        "ah",
        "oh",
        "like",
        "with",
        "some",
        "hey",
        "okay",
        "ok",
        "us",
    ]
)
_LIGHT_WEIGHT = 0.3

_SOUNDS = (
    (r"^kn", "n"), (r"^wr", "r"), (r"^ps", "s"), (r"^wh", "w"), (r"igh", "y"), (r"ough", "o"),
    (r"gh", ""), (r"ph", "f"), (r"sch|sh|ch|tch|tion|sion|cia", "x"), (r"th", "t"), (r"dge?", "t"),
    (r"ck|q|c(?![eiy])", "k"), (r"c", "s"), (r"[gj](?=[eiy])|j", "x"), (r"g", "k"), (r"x", "ks"),
    (r"[zs]+", "s"), (r"v", "f"), (r"b", "p"), (r"mb$", "m"), (r"[mn]+", "n"), 
    (r"(?<=[a-z])e$", ""), (r"(?<!^)h", ""), (r"[aeiouyw]+", "a"),
)  # fmt: skip
_SOUND_RULES = tuple((re.compile(pattern), sound) for pattern, sound in _SOUNDS)


def words_of(text: str) -> tuple[str, ...]:
    """The words of `text`: lower case, no punctuation, contractions written out."""
    plain = re.sub(r"[’‘`]", "'", text.lower())
    plain = " ".join(_CONTRACTIONS.get(word, word) for word in re.findall(r"[\w']+", plain))
    return tuple(plain.replace("'", "").split())


@lru_cache(maxsize=8192)
def sound(word: str) -> str:
    """A rough phonetic skeleton of an English word: what survives mishearing."""
    for pattern, replacement in _SOUND_RULES:
        word = pattern.sub(replacement, word)
    return re.sub(r"(.)\1+", r"\1", word)


@lru_cache(maxsize=16384)
def alike(a: str, b: str) -> float:
    """How alike two words are, 0..1, by letters or by sound."""
    if a == b:
        return 1.0
    letters = Levenshtein.normalized_similarity(a, b)
    # Short words differ in one letter and mean something else: "no", "now", "know".
    if min(len(a), len(b)) <= 3:
        return 0.85 if sound(a) == sound(b) and len(sound(a)) > 1 else 0.8 * (letters > 0.7)
    sounds = 0.95 * Levenshtein.normalized_similarity(sound(a), sound(b))
    best = max(letters, sounds)
    return best if best >= 0.6 else 0.0


def weight(word: str) -> float:
    """How much a word says."""
    return _LIGHT_WEIGHT if word in _LIGHT else 1.0


@dataclass(frozen=True, slots=True)
class Match:
    """How well a pattern fits.

    Attributes:
        score: 0..1; from `ENOUGH` on it counts.
        weight: How much the pattern says; breaks ties in favour of the more specific.
        end: Index of the first word after the last one matched, where a captured slot begins.
    """

    score: float
    weight: float
    end: int


NO_MATCH = Match(0.0, 0.0, 0)


def match(pattern: tuple[str, ...], heard: tuple[str, ...]) -> Match:
    """Compare the words of a pattern with the words heard."""
    if not pattern or not heard:
        return NO_MATCH
    found, end, used = 0.0, 0, set()
    for word in pattern:
        best, where = max((alike(word, other), -i) for i, other in enumerate(heard))
        if best > 0:
            found += weight(word) * best
            used.add(-where)
            end = max(end, 1 - where) if word == pattern[-1] else end
    total = sum(weight(word) for word in pattern)
    coverage = found / total
    explained = sum(weight(heard[i]) for i in used) / sum(weight(word) for word in heard)
    by_words = coverage * (0.8 + 0.2 * explained)
    skeleton, whole = "".join(map(sound, pattern)), "".join(map(sound, heard))
    by_sound = 0.0
    if len(skeleton) >= 8 and len(whole) >= len(skeleton) - 2:
        by_sound = 0.9 * fuzz.partial_ratio(skeleton, whole) / 100 * (0.8 + 0.2 * explained)
    return Match(max(by_words, by_sound), total, end or len(heard))
