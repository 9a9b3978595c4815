"""What is written for the eye, said or left out: markdown, addresses, emoji, symbols."""

from __future__ import annotations

import html
import re
import unicodedata

_IMAGE = re.compile(r"!\[")
_LINK_END = re.compile(r"\]\([^)\s]*\)?")
_FENCE = re.compile(r"^(```|~~~)\w*$")
# A star or hash by itself is a key to press, not markup.
_KEY = re.compile(
    r"^(?:`|\\|\*\*(?=#))?([(\"'“‘]*[*#][)\"'”’.,;:!?…]*)(?:`|\*\*)?([)\"'”’.,;:!?…]*)$"
)
_ESCAPE = re.compile(r"\\(?=[!-/:-@\[-`{-~])")
_EMPHASIS = re.compile(r"\*+|(?<!\w)_+|_+(?!\w)|~~|`+")
_TAG = re.compile(r"</?[A-Za-z][^<>\s]*>?|^/?>$")
_ENTITY = re.compile(r"&#?\w+;")
_RULE = re.compile(r"^([-*_=])\1{2,}$|^\|?[-:|]{2,}\|?$")
_HEADING = re.compile(r"^#{1,6}$")
_BULLET = re.compile(r"^[-*+•‣▪–—]$|^>+$|^\[[ xX]?\]?$|^[xX]?\]$")

_URL = re.compile(
    r"^(?:https?://|ftp://)(?:www\.)?(?P<a>[^\s/?#:]+)\S*$"
    r"|^www\.(?P<b>[^\s/?#:]+)\S*$"
    r"|^(?P<c>(?:[\w-]+\.)+(?:com|org|net|io|ai|dev|de|fr|uk|eu|app|edu|gov))(?:[/?#]\S*)?$",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"^(?:mailto:)?([\w.+-]+)@([\w-]+(?:\.[\w-]+)+)$")
_ADDRESS_MARKS = {".": "dot", "-": "dash", "_": "underscore", "+": "plus"}

_SYMBOLS = {
    "&": "and", "@": "at", "+": "plus", "=": "equals", "%": "percent", "€": "euros",
    "$": "dollars", "£": "pounds", "°": "degrees", "→": "to", "×": "times", "÷": "divided by",
    "±": "plus or minus", "≈": "about", "~": "about", "<": "less than", ">": "more than",
    "≤": "at most", "≥": "at least", "§": "section", "№": "number", "µ": "micro", "/": "slash",
    "–": "–", "—": "—", "-": "–",
}  # fmt: skip
_KEPT = frozenset("'’-.,;:!?…—–()\"“”‘¿¡、。！？，；：「」『』؟،؛।॥")

_BESIDE_NUMBERS = frozenset("%€$£¥°/+")


def without_markdown(word: str, *, first_in_line: bool) -> str:
    """A word without what markdown or HTML adds to it; empty when nothing is left."""
    if _FENCE.match(word) or _RULE.match(word) or word == "|":
        return ""
    if first_in_line and (_HEADING.match(word) or _BULLET.match(word)):
        return ""
    if key := _KEY.match(word):
        return f"{key[1]}{key[2]}"
    word = _LINK_END.sub("", _IMAGE.sub("", word))
    word = _TAG.sub(" ", _ENTITY.sub(lambda entity: html.unescape(entity[0]), word)).strip()
    word = _ESCAPE.sub("", _EMPHASIS.sub("", word))
    return word.strip("|").replace("[", "").replace("]", "")


def address(word: str) -> str | None:
    """A web or mail address as one would say it, without scheme, `www.` and path; else None."""
    if mail := _EMAIL.match(word):
        return f"{_spelled(mail[1])} at {_spelled(mail[2])}"
    if url := _URL.match(word):
        return _spelled(url["a"] or url["b"] or url["c"])
    return None


def _spelled(part: str) -> str:
    return " ".join(_ADDRESS_MARKS.get(p, p) for p in re.split(r"([._+-])", part) if p)


def symbol(word: str) -> str | None:
    """What a word that is nothing but one symbol is called; else None."""
    return _SYMBOLS.get(word)


def only_speakable(text: str, *, numbers: bool = False) -> str:
    """Letters and marks of speech; inner symbols become words, the rest falls away.

    Args:
        text: A word or several.
        numbers: Leave numbers and the symbols beside them to the voice.
    """
    out = []
    for character in unicodedata.normalize("NFC", text):
        group = unicodedata.category(character)[0]
        letter = group in "LM" and not _is_selector(character)
        number = numbers and (group == "N" or character in _BESIDE_NUMBERS)
        if letter or number or character in _KEPT:
            out.append(character)
        elif character in "&@+=%" and not numbers:
            out.append(f" {_SYMBOLS[character]} ")
        else:
            out.append(" ")
    parts = "".join(out).split()
    return " ".join(
        part for part in parts if any(map(str.isalnum, part)) or part in _BESIDE_NUMBERS
    )


def _is_selector(character: str) -> bool:
    """Emoji are glued together with these; they count as marks."""
    return character in "\ufe0e\ufe0f\u20e3" or "\U000e0000" <= character <= "\U000e01ef"
