"""Make the phone front end: dictionary, letter rules and the file that names the units.

Pronunciations are read out of flite (its CMULEX dictionary descends from CMUdict and carries
stress), for the words of CMUdict as pocketsphinx bundles it, which tells where flite had to guess.
Words that the letter rules get right are left out of the dictionary: it is smaller for it, and
nothing is lost.
"""

from __future__ import annotations

import json
import lzma
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import pocketsphinx
from loguru import logger

from training.voice.data import PHONES
from training.voice.flite import pronounce
from tts.phonemes import (
    CLOSING_GAPS,
    GAP,
    LETTER_REACH,
    MARKS,
    LetterRules,
    Phonemes,
    compacted,
    neighbourhoods,
)

FIRST_ID = 64
VOWELS = (
    *("aa", "ae", "ah", "ao", "aw", "ax", "ay", "eh"),
    *("er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"),
)
UNITS = (
    GAP,
    *MARKS,
    *(p for p in PHONES if p != "pau" and p not in VOWELS),
    *(vowel + stress for vowel in VOWELS for stress in "01"),
    *dict.fromkeys(CLOSING_GAPS.values()),
)
# What people say and dictionaries leave out.
_EXTRA = {
    "mm-hm": "ah1 m hh ax0 m",
    "mhm": "ah1 m hh ax0 m",
    "hmm": "hh ah1 m",
    "mm": "ah1 m",
    "uh-huh": "ah1 hh ah1",
    "miz": "m ih1 z",
    "parley": "p aa1 r l iy0",
    "wifi": "w ay1 f ay1",
    "voxtral": "v aa1 k s t r ax0 l",
}
_ROUNDS = 4
_FEWEST = 2


def words_and_phones() -> dict[str, str]:
    """Lower-case words to phones with stress, wherever flite and CMUdict agree or can be merged."""
    path = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))
    listed: dict[str, list[list[str]]] = defaultdict(list)
    for line in path.read_text().splitlines():
        word, *phones = line.split()
        listed[re.sub(r"\(\d+\)$", "", word)].append([phone.lower() for phone in phones])
    lexicon = {}
    for word, variants in listed.items():
        if not re.fullmatch(r"[a-z][a-z']*", word):
            continue
        said = pronounce(word)
        plain = [_plain(phone) for phone in said]
        best = variants[0]
        if all(_same(plain, variant) is False for variant in variants):
            said = _stressed(best, said)
        if said and all(phone in UNITS for phone in said):
            lexicon[word] = " ".join(said)
    return lexicon | _EXTRA


def _plain(phone: str) -> str:
    return phone.rstrip("012")


def _same(plain: list[str], variant: list[str]) -> bool:
    return [p.replace("ax", "ah") for p in plain] == [p.replace("ax", "ah") for p in variant]


def _stressed(phones: list[str], like: list[str]) -> list[str]:
    """Give phones without stress the stress of another reading of the word, vowel by vowel."""
    stresses = [phone[-1] for phone in like if _plain(phone) in VOWELS]
    count = sum(phone in VOWELS for phone in phones)
    if len(stresses) != count:
        stresses = ["1"] + ["0"] * (count - 1)
    out = []
    for phone in phones:
        if phone not in VOWELS:
            out.append(phone)
            continue
        stress = stresses.pop(0)
        out.append("ax0" if phone == "ah" and stress == "0" else phone + stress)
    return out


def letter_rules(lexicon: Mapping[str, str]) -> dict[str, str]:
    """Learn what each letter sounds like in its neighbourhood.

    Letters are aligned to zero, one or two phones by a few rounds of Viterbi training; a rule is
    kept when it was seen at least twice and says something else than the vaguer rule it refines.
    """
    plain = {w: p.split() for w, p in lexicon.items() if w.isalpha()}
    scores: dict[tuple[str, str], float] = {}
    aligned: list[tuple[str, list[str]]] = []
    for _ in range(_ROUNDS):
        aligned = []
        counts: Counter[tuple[str, str]] = Counter()
        for word, phones in plain.items():
            pieces = _align(word, phones, scores)
            if pieces:
                aligned.append((word, pieces))
                counts.update(zip(word, pieces, strict=True))
        totals: Counter[str] = Counter()
        for (letter, _), count in counts.items():
            totals[letter] += count
        scores = {k: math.log(c / totals[k[0]]) for k, c in counts.items()}
    seen: list[defaultdict[str, Counter[str]]] = []
    for word, pieces in aligned:
        for keys, piece in zip(neighbourhoods(word), pieces, strict=True):
            while len(seen) < len(keys):
                seen.append(defaultdict(Counter))
            for reach, key in enumerate(keys):
                seen[reach][key][piece] += 1
    rules: dict[str, str] = {}
    for level in seen:
        found = {}
        for key, heard in level.items():
            ((piece, count),) = heard.most_common(1)
            if count >= _FEWEST and _vaguer(key, rules) != piece:
                found[key] = piece
        rules |= found
    return rules


def _vaguer(key: str, rules: Mapping[str, str]) -> str | None:
    """What the rules so far say of the letter in `key`."""
    left, rest = key.split(">")
    letter, right = rest[0], rest[2:]
    answer = None
    for before, behind in LETTER_REACH:
        if before <= len(left) and behind <= len(right):
            shorter = f"{left[len(left) - before :]}>{letter}<{right[:behind]}"
            answer = rules.get(shorter, answer)
    return answer


def _align(word: str, phones: list[str], scores: Mapping[tuple[str, str], float]) -> list[str]:
    """Share phones out among letters, 0 to 2 each, at the best total score; [] if they do not fit."""
    rows: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for letter in word:
        row: dict[int, tuple[float, int]] = {}
        for j, (score, _) in rows[-1].items():
            for taken in (0, 1, 2):
                if j + taken > len(phones):
                    break
                piece = " ".join(phones[j : j + taken])
                value = score + scores.get(
                    (letter, piece), (-4.0, -1.0, -7.0)[taken] - 6 * bool(scores)
                )
                if j + taken not in row or value > row[j + taken][0]:
                    row[j + taken] = (value, taken)
        rows.append(row)
    if len(phones) not in rows[-1]:
        return []
    pieces, j = [], len(phones)
    for i in range(len(word), 0, -1):
        taken = rows[i][j][1]
        pieces.append(" ".join(phones[j - taken : j]))
        j -= taken
    return pieces[::-1]


def _said_wrong(
    lexicon: Mapping[str, str], kept: Mapping[str, str], rules: LetterRules
) -> dict[str, str]:
    pronounce = Phonemes(UNITS, FIRST_ID, kept, rules).pronounce
    return {word: phones for word, phones in lexicon.items() if pronounce(word) != phones.split()}


def save_front_end(folder: Path, lexicon: Mapping[str, str], rules: Mapping[str, str]) -> None:
    """Write `phonemes.json` and the compressed tables."""
    sound_out = LetterRules(rules)
    kept = {w: p for w, p in lexicon.items() if not w.isalpha() or sound_out(w) != p.split()}
    # What is said of a word that was left out may hang on others ("basis" is no plural of "basi").
    while wrong := _said_wrong(lexicon, kept, sound_out):
        kept |= wrong
    logger.info("{} of {} words follow the letter rules", len(lexicon) - len(kept), len(lexicon))
    tables = json.dumps({"words": compacted(kept), "letters": dict(rules)}, separators=(",", ":"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lexicon.json.xz").write_bytes(
        lzma.compress(tables.encode(), preset=9 | lzma.PRESET_EXTREME)
    )
    head = {
        "units": list(UNITS),
        "first_id": FIRST_ID,
        "lexicon": "lexicon.json.xz",
        "source": "Pronunciations from flite's CMULEX and pocketsphinx's CMUdict, both BSD-style "
        "licences of Carnegie Mellon University.",
    }
    (folder / "phonemes.json").write_text(json.dumps(head, indent=1) + "\n")
