"""How close what was heard comes to what was meant, when the ears are not to be trusted.

A recogniser that mishears keeps the sound: "wreck a nice beach" for "recognise speech". So words
are compared by their letters and by a rough phonetic skeleton, and a word also with two or three
words in a row. Pure and fast: some microseconds per pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from operator import mul

from rapidfuzz.distance import Levenshtein

ENOUGH = 0.7
"""Score from which a pattern counts as heard; below it are other patterns' sentences."""
CLEAR = 0.94
"""The same for `spot`: every word heard, or one that sounds the same."""
_HOPELESS = 0.6  # a pattern of which less was heard is given up
_OFF_TOPIC = 0.35  # how much words that a pattern does not explain count against it
_SURE = 0.8  # a word that was heard this clearly was not heard as two
_SHORTEST_SPLIT = 5  # letters of the shortest word that is heard as several

_CONTRACTIONS = {
    "i'm": "i am", "you're": "you are", "it's": "it is", "that's": "that is", "what's": "what is",
    "who's": "who is", "where's": "where is", "how's": "how is", "let's": "let us",
    "don't": "do not", "doesn't": "does not", "didn't": "did not", "can't": "can not",
    "cannot": "can not", "won't": "will not", "isn't": "is not", "aren't": "are not",
    "i'd": "i would", "i'll": "i will", "i've": "i have", "we're": "we are", "we'd": "we would",
    "there's": "there is", "couldn't": "could not", "wouldn't": "would not",
    "name's": "name is",
}  # fmt: skip


def word_set(text: str) -> frozenset[str]:
    """The words of a literal, so that lists of words can be read and edited as text."""
    return frozenset(text.split())


_LIGHT = word_set(
    """a an the is are am was be to of in on at for and or it i you we me my your do does did can
    could would will please that this there have has so well just um uh er ah oh like with some hey
    hi yes yeah no okay ok us tell say know think want need get hello hi thanks now then"""
)
_LIGHT_WEIGHT = 0.3
_ASKING = word_set("what how who where when which why whose")
_ASKING_WEIGHT = 0.5
_COUNTING = word_set(
    """one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty
    fifty half quarter today tomorrow tonight monday tuesday wednesday thursday friday saturday
    sunday morning afternoon evening"""
)
_COUNTING_WEIGHT = 0.4  # they fill slots; a sentence is not about something else because of them
_CONFUSED = word_set(  # alike in sound, not in meaning
    """no now know not nor on eight ate eat wait what white quiz guess live leave love living leaving
    loving kill call killing calling pills bills hits hates shoot shut"""
)
_PLURAL = 0.97  # how alike a word and its plural are
_SAME_SPEAKER = frozenset(map(frozenset, (("i", "we"), ("me", "us"), ("my", "our"))))
_WISHES = word_set("want need like tell")  # a "not" before them turns round what follows

_SOUNDS = (
    (r"x", "ks"), (r"^kn", "n"), (r"^wr", "r"), (r"^ps", "s"), (r"^wh", "w"), (r"igh", "y"),
    (r"ough", "o"), (r"gh", ""), (r"ph", "f"),
    (r"sch|sh|ch|tch|tion|sion|cia", "x"), (r"th", "t"), (r"dge?", "t"),
    (r"ck|q|c(?![eiy])", "k"), (r"c", "s"), (r"[gj](?=[eiy])|j", "x"), (r"g", "k"),
    (r"[zs]+", "s"), (r"v", "f"), (r"b", "p"), (r"mb$", "m"), (r"[mn]+", "n"),
    (r"(?<=[a-z])e$", ""), (r"h", ""), (r"[aeiouyw]+", "a"),
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
    if a == b or frozenset((a, b)) in _SAME_SPEAKER:
        return 1.0
    if a in _CONFUSED and b in _CONFUSED:
        return 0.0
    if min(len(a), len(b)) > 3 and (f"{a}s" == b or f"{b}s" == a):
        return _PLURAL
    letters = Levenshtein.normalized_similarity(a, b)
    same_sound = sound(a) == sound(b) and len(sound(a)) > 1  # of vowels alone nothing is left
    # Short words differ in one letter and mean something else: "no", "now", "know".
    if min(len(a), len(b)) <= 3:
        return 0.85 if same_sound else 0.8 * (letters > 0.7)
    sounds = Levenshtein.normalized_similarity(sound(a), sound(b))
    best = max(letters, 0.95 if same_sound else 0.6 * sounds + 0.4 * letters)
    return best if best >= 0.6 else 0.0


def weight(word: str) -> float:
    """How much a word says."""
    if word in _LIGHT:
        return _LIGHT_WEIGHT
    if word in _ASKING:
        return _ASKING_WEIGHT
    return _COUNTING_WEIGHT if word in _COUNTING else 1.0


@dataclass(frozen=True, slots=True)
class Match:
    """How well a pattern fits.

    Attributes:
        score: 0..1; from `ENOUGH` on it counts.
        found: How much of the pattern was heard, 0..1, whatever else was said.
        weight: How much the pattern says; breaks ties in favour of the more specific.
        end: Index of the first word after the last one matched, where a captured slot begins.
    """

    score: float
    found: float
    weight: float
    end: int


NO_MATCH = Match(0.0, 0.0, 0.0, 0)


def match(pattern: tuple[str, ...], heard: tuple[str, ...]) -> Match:
    """Compare the words of a pattern with the words heard."""
    if not pattern or not heard:
        return NO_MATCH
    end, unused = 0, set(range(len(heard)))
    total = sum(map(weight, pattern))
    missed = 0.0
    for word in pattern:
        best, span = _best(word, heard, unused)
        missed += weight(word) * (1.0 - best)
        if missed > (1.0 - _HOPELESS) * total:
            return NO_MATCH
        unused.difference_update(span)
        end = span.stop or end
    if "not" not in pattern and _declined(heard, unused):
        return NO_MATCH
    unexplained = sum(weight(heard[i]) for i in unused) / sum(map(weight, heard))
    found = 1.0 - missed / total
    return Match(found * (1.0 - _OFF_TOPIC * unexplained), found, total, end or len(heard))


def spot(pattern: tuple[str, ...], heard: tuple[str, ...]) -> float:
    """How well a pattern fits words in a row, however much surrounds them: 0..1."""
    if not pattern:
        return 0.0
    weights = tuple(map(weight, pattern))
    rows = zip(*(heard[n:] for n in range(len(pattern))), strict=False)
    found = (sum(map(mul, weights, map(alike, pattern, row))) for row in rows)
    return max(found, default=0.0) / sum(weights)


def _declined(heard: tuple[str, ...], unused: set[int]) -> bool:
    """Whether what a pattern explains is said not to be wanted: "I do not want a table"."""
    for at, word in enumerate(heard):
        if word != "not" or not _WISHES.issuperset(heard[at + 1 : at + 2]):
            continue
        telling = [i for i in range(at + 2, len(heard)) if weight(heard[i]) == 1.0]
        to_do = heard[at + 2 : at + 3] == ("to",)  # "… to hear a joke": what, besides the verb
        if not unused.issuperset((at + 1, *telling[: 1 + to_do])):
            return True
    return False


def _best(word: str, heard: tuple[str, ...], unused: set[int]) -> tuple[float, range]:
    """The words heard that come closest to `word`, and how close: one, or some in a row."""
    best, span = 0.0, range(0)
    for at in unused:
        if (likeness := alike(word, heard[at])) > best:
            best, span = likeness, range(at, at + 1)
    if best < _SURE and len(word) >= _SHORTEST_SPLIT:
        for first, after, joined in _rows(heard):
            if abs(len(joined) - len(word)) > 2 or not unused.issuperset(range(first, after)):
                continue
            if (likeness := alike(word, joined)) > best:
                best, span = likeness, range(first, after)
    return best, span


@lru_cache(maxsize=64)
def _rows(heard: tuple[str, ...]) -> tuple[tuple[int, int, str], ...]:
    """Two or three words in a row as one: first index, one past the last, and the words joined."""
    return tuple(
        (first, first + length, "".join(heard[first : first + length]))
        for length in (2, 3)
        for first in range(len(heard) - length + 1)
    )
