"""English as those hear and write it who speak something else.

A table says what becomes of each phone, with several choices after commas: `"dh:d,z th:t"`. Here are
those of languages whose letters write what is heard.
"""

from __future__ import annotations

import random

from training.speech.utterance import Utterance

RUSSIAN = (
    "aa:а ae:э,а ah:а ao:о aw:ау ay:ай b:б ch:ч d:д dh:з,д,в eh:э er:эр,ёр ey:эй f:ф g:г hh:х ih:ы,и iy:и "
    "jh:дж k:к l:л m:м n:н ng:нг,н ow:оу oy:ой p:п r:р s:с sh:ш t:т th:с,т,ф uh:у uw:у v:в w:у,в y:й z:з "
    "zh:ж"
)
UKRAINIAN = (
    "aa:а ae:е,а ah:а ao:о aw:ау ay:ай b:б ch:ч d:д dh:з,д,в eh:е er:ер ey:ей f:ф g:ґ hh:х,г ih:и iy:і "
    "jh:дж k:к l:л m:м n:н ng:нг,н ow:оу oy:ой p:п r:р s:с sh:ш t:т th:с,т,ф uh:у uw:у v:в w:в,у y:й z:з "
    "zh:ж"
)
KYRGYZ = (
    "aa:а ae:э,а ah:а,ы ao:о aw:ау ay:ай b:б ch:ч d:д dh:з,д eh:э er:эр,өр ey:эй f:ф g:г hh:х ih:и,ы "
    "iy:и jh:ж k:к l:л m:м n:н ng:ң ow:оу oy:ой p:п r:р s:с sh:ш t:т th:с,т uh:у uw:у,ү v:в w:у,в y:й z:з "
    "zh:ж"
)
ESPERANTO = (
    "aa:a ae:e,a ah:a ao:o aw:aŭ ay:aj b:b ch:ĉ d:d dh:d,z eh:e er:er ey:ej f:f g:g hh:h ih:i iy:i "
    "jh:ĝ k:k l:l m:m n:n ng:ng,n ow:o,oŭ oy:oj p:p r:r s:s sh:ŝ t:t th:t,s uh:u uw:u v:v w:v,ŭ y:j z:z "
    "zh:ĵ"
)
CATALAN = (
    "aa:a ae:e,a ah:a,e ao:o aw:au ay:ai b:b ch:tx d:d dh:d,z eh:e er:er ey:ei f:f g:g hh: ih:i iy:i "
    "jh:tj k:k l:l m:m n:n ng:ng,n ow:o,ou oy:oi p:p r:r s:s sh:x t:t th:t,s,f uh:u uw:u v:v w:u y:i z:z "
    "zh:j"
)


def accent(table: str, chance: random.Random) -> dict[str, str]:
    """English phone to what one speaker makes of it; where a table has choices (`"dh:d,z"`) one is drawn."""
    entries = (entry.partition(":") for entry in table.split())
    return {phone: chance.choice(choices.split(",")) for phone, _, choices in entries}


def in_letters(said: Utterance, letters: str, chance: random.Random, mark: str) -> str:
    """What was said as it sounds to somebody who writes with these letters.

    Args:
        said: Words and their phones.
        letters: The table.
        chance: Of the choices.
        mark: The last character of the text; kept if it ends a sentence.
    """
    table, words = accent(letters, chance), []
    for word in said.words:
        within = [p for p in said.phones if word.start_s - 1e-6 <= p.start_s < word.end_s - 1e-6]
        words.append("".join(table.get(phone.text, "") for phone in within))
    return " ".join(words) + (mark if mark in ".?" else "")
