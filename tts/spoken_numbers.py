"""Numbers as English speakers say them: amounts, times, dates, years, phone numbers, units."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

from tts.spoken_units import CURRENCIES, MAGNITUDES, UNITS, per_name, plural_of

_MONTH_NAMES = """January February March April May June July August September October November
December"""
MONTHS = tuple(_MONTH_NAMES.split())
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+"
_CONTINENTAL = r"\d{1,3}(?:\.\d{3})+,\d\d|\d+,\d\d?(?!\d)"
_AMOUNT = rf"{_CONTINENTAL}|{_NUMBER}"
_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_CURRENCY = "|".join(sorted(map(re.escape, CURRENCIES), key=len, reverse=True))
_SIGNS = {"-": "minus ", "−": "minus ", "+": "plus ", "~": "about ", "≈": "about ",
          "±": "plus or minus ", "<": "less than ", ">": "more than ", "≤": "at most ",
          "≥": "at least ", "<=": "at most ", ">=": "at least ", "": ""}  # fmt: skip
_SIGN = "[<>]=|[-−+~≈±<>≤≥]|"
_VULGAR = re.compile(r"(?P<after_whole>(?<=\d)-?)?(?P<fraction>[¼-¾⅐-⅞])")
_PROPER = "|".join(f"{top}/{bottom}" for bottom in range(2, 11) for top in range(1, bottom))
PROPER_FRACTION = re.compile(_PROPER)
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("money", rf"(?P<sign>{_SIGN})(?P<currency>{_CURRENCY})(?P<amount>{_AMOUNT})(?P<size>k|K|m|M|bn|B|tn)?"),
    ("money", rf"(?P<currency>{_CURRENCY})(?P<sign>[-−])(?P<amount>{_AMOUNT})(?P<size>k|K|m|M|bn|B|tn)?"),
    ("money", rf"(?P<sign>{_SIGN})(?P<amount>{_AMOUNT})(?P<size>k|K|m|M|bn|tn)?(?P<currency>{_CURRENCY})"),
    ("money_range", rf"(?P<currency>{_CURRENCY})(?P<first>{_NUMBER})[-–—](?P<second>{_NUMBER})"),
    ("clock", r"(?P<hour>24):(?P<minute>00)(?P<half>)"),
    ("clock", r"(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?::[0-5]\d)?(?P<half>[aApP]\.?[mM]\.?)?"),
    ("clock", r"(?P<hour>1[0-2]|0?[1-9])\.(?P<minute>[0-5]\d)(?P<half>[aApP]\.?[mM]\.?)"),
    ("clock", r"(?P<hour>1[0-2]|0?[1-9])(?P<minute>)(?P<half>[aApP]\.?[mM]\.?)"),
    ("date", r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>[0-2]\d|3[01])"),
    ("date", r"(?P<month>0?[1-9]|1[0-2])/(?P<day>0?[1-9]|[12]\d|3[01])/(?P<year>\d{4}|\d\d)"),
    ("date", r"(?P<day>0?[1-9]|[12]\d|3[01])[./](?P<month>0?[1-9]|1[0-2])[./](?P<year>\d{4}|\d\d)"),
    ("phone", r"(?P<digits>\+\d[\d().-]*|(?:\d-)?\(?\d{3}(?:\)[-.]?|[-.])\d{3}[-.]\d{4}|\d{3}-\d{4})"),
    ("code", r"(?P<digits>\d+(?:-\d+){2,})"),
    ("decade", r"(?P<decade>(?:1[1-9]|20)\d0|['’]\d0)[’']?s"),
    ("ordinal", r"(?P<number>\d+)(?:st|nd|rd|th)"),
    ("mixed", rf"(?P<sign>{_SIGN})(?P<whole>\d{{1,3}})-(?P<fraction>{_PROPER})(?P<unit>{_UNIT})?"),
    ("fraction", r"(?P<top>\d{1,2})/(?P<bottom>[2-9]|10)"),
    ("rating", r"(?P<first>\d+(?:\.\d+)?)/(?P<second>\d+)"),
    ("pair", r"(?P<first>\d+)/(?P<second>\d+)"),
    ("years", r"(?P<first>(?:1[1-9]|20)\d\d)[-–—/](?P<second>(?:1[1-9]|20)\d\d|\d\d)"),
    ("ratio", r"(?P<first>\d\d?):(?P<second>\d)"),
    ("times", r"(?P<number>\d+)[xX×]"),
    ("size", rf"(?P<sides>(?:{_NUMBER})(?:[xX×](?:{_NUMBER}))+)(?P<unit>{_UNIT})?"),
    ("pence", r"(?P<number>\d\d?)p"),
    ("range", rf"(?P<first>{_NUMBER})(?P<dash>[-–—])(?P<second>{_NUMBER})(?P<unit>{_UNIT})?"),
    ("quantity", rf"(?P<sign>{_SIGN})(?P<number>{_NUMBER})(?P<unit>{_UNIT})"),
    ("sized", rf"(?P<amount>{_NUMBER})(?P<size>k|K|M|bn)"),
    ("ages", r"(?P<which>[A-Za-z]+)-(?P<number>\d\d)s"),
    ("hyphenated", rf"(?P<number>{_NUMBER})-(?P<unit>{_UNIT})"),
    ("ip", r"(?P<parts>\d{1,3}(?:\.\d{1,3}){3})"),
    ("version", r"v?(?P<parts>\d+(?:\.\d+){2,})"),
    ("plain", rf"(?P<sign>{_SIGN})(?P<number>{_AMOUNT})"),
    ("counted", r"#(?P<number>\d+)"),
)  # fmt: skip
_COMPILED = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)


def number_in_words(word: str) -> str | None:
    """The word in words when it is a number of any kind by itself, else None."""
    if said := _one_or_two(word):
        return said
    amount, _, unit = word.rpartition("/")
    said, name, other = _one_or_two(amount), per_name(unit), _one_or_two(unit)
    if said and other and not unit.isdecimal():
        per = amount.startswith(tuple(CURRENCIES))
        return f"{said} per {other}" if per else f"{said}, {other}"  # $2/1K, 180°C/350°F
    return f"{said} per {name}" if said and name else None


def attributive(word: str) -> str | None:
    """A whole amount as it is said before what it belongs to: a `500mg` tablet, a `£5` note."""
    if quantity := re.fullmatch(rf"({_NUMBER})({_UNIT})", word):
        return f"{cardinal(quantity[1])} {UNITS[quantity[2]][0]}"
    if money := re.fullmatch(rf"({_CURRENCY})(\d+)|(\d+)({_CURRENCY})", word):
        currency = money[1] or money[4]
        return f"{cardinal(money[2] or money[3])} {CURRENCIES[currency][0]}"
    return None


def price(amount: str) -> str | None:
    """An amount before the name of its currency: `24,50` euros, `1.000` Euro."""
    if not re.fullmatch(rf"{_AMOUNT}|\d{{1,3}}(?:\.\d{{3}})+", amount):
        return None
    whole, _, cents = _with_point(amount, thousands=True).partition(".")
    if len(cents) != 2 or cents == "00":
        return cardinal(whole) if cents in ("", "00") else cardinal(f"{whole}.{cents}")
    return f"{cardinal(whole)} {f'oh {cardinal(cents[1])}' if cents[0] == '0' else cardinal(cents)}"


def leading_money(word: str) -> tuple[str, str] | None:
    """The amount and the currency, in words, of a word that may have "million" after it."""
    match = re.fullmatch(rf"({_SIGN})({_CURRENCY})({_AMOUNT})", word)
    if not match:
        return None
    return _SIGNS[match[1]] + cardinal(_with_point(match[3])), CURRENCIES[match[2]][1]


def fraction_after_whole(fraction: str) -> str:
    """The half of "one and a half"."""
    top, _, bottom = fraction.partition("/")
    said = _fraction({"top": top, "bottom": bottom})
    article = "an" if bottom == "8" else "a"
    return said.replace("one", article, 1) if top == "1" else said


def _one_or_two(word: str) -> str | None:
    """A number, or two with a dash between them."""
    if said := _one(word):
        return said
    first, dash, second = word.replace("–", "-").partition("-")
    begin, end = (_one_or_noon(first), _one_or_noon(second)) if dash else (None, None)
    return f"{begin} to {end}" if begin and end else None


def _one_or_noon(word: str) -> str | None:
    return word if word in ("noon", "midnight") else _one(word)


def _one(word: str) -> str | None:
    word = _VULGAR.sub(_spelled_out, word)
    for kind, pattern in _COMPILED:
        if (match := pattern.fullmatch(word)) and (said := _READERS[kind](match.groupdict())):
            return said
    return None


def _spelled_out(vulgar: re.Match[str]) -> str:
    """1½ as 1-1/2, ½ as 1/2."""
    fraction = unicodedata.normalize("NFKC", vulgar["fraction"]).replace("⁄", "/")
    return fraction if vulgar["after_whole"] is None else f"-{fraction}"


def cardinal(number: str) -> str:
    """A number with or without thousands separators and decimals; codes digit by digit."""
    number = _with_point(number)
    whole, _, decimals = number.replace(",", "").partition(".")
    is_code = (len(whole) > 1 and whole.startswith("0")) or len(whole) > 15
    is_code = is_code or (len(whole) >= 7 and "," not in number and not whole.endswith("000"))
    words = digits(whole) if is_code else num2words(int(whole or 0)).replace(",", "")
    return f"{words} point {digits(decimals)}" if decimals else words


def digits(text: str) -> str:
    """Every digit by itself."""
    return " ".join(_DIGITS[unicodedata.digit(c)] for c in text if c.isdigit())


def ordinal(number: str) -> str:
    """First, second, third."""
    return num2words(int(number[-15:]), to="ordinal").replace(",", "")


def year(number: str) -> str:
    """Nineteen eighty-four, two thousand and five, twenty twenty-six."""
    value = int(number)
    if 2000 <= value < 2010:
        return num2words(value).replace(",", "")
    return num2words(value, to="year").replace(",", "")


def _money(part: dict[str, str]) -> str:
    one, many, cent, cents = CURRENCIES[part["currency"]]
    sign = _SIGNS[part["sign"]]
    if part["size"]:
        return f"{sign}{cardinal(part['amount'])} {MAGNITUDES[part['size']]} {many}"
    amount = _with_point(part["amount"], thousands=part["currency"] == "€")
    whole, _, fraction = amount.partition(".")
    if len(fraction) not in (0, 2):
        return f"{sign}{cardinal(part['amount'])} {many}"
    said = f"{sign}{cardinal(whole)} {one if whole == '1' else many}"
    if not int(fraction or 0):
        return said
    small = f"{cardinal(str(int(fraction)))} {cent if int(fraction) == 1 else cents}"
    return small if whole in ("", "0") else f"{said} and {small}"


def _with_point(amount: str, *, thousands: bool = False) -> str:
    """€1.250,50 and €1,5 as the English write them, and €1.250 where points divide thousands."""
    if re.fullmatch(_CONTINENTAL, amount) or (
        thousands and re.fullmatch(r"\d{1,3}(?:\.\d{3})+", amount)
    ):
        return amount.replace(".", "").replace(",", ".")
    return amount


def _clock(part: dict[str, str]) -> str:
    hour, minute, half = int(part["hour"]), part["minute"], part["half"]
    said = cardinal(str(hour))
    if hour in (0, 24) and minute == "00" and not half:
        return "midnight"
    if minute and int(minute):
        said += f" oh {cardinal(minute[1])}" if minute[0] == "0" else f" {cardinal(minute)}"
    elif not half:
        said += " o'clock" if 0 < hour <= 12 else " hundred hours"
    return f"{said} {half[0].upper()} M" if half else said


def _date(part: dict[str, str]) -> str:
    full = part["year"] if len(part["year"]) == 4 else f"20{part['year']}"
    return f"{MONTHS[int(part['month']) - 1]} {ordinal(part['day'])}, {year(full)}"


def _decade(part: dict[str, str]) -> str:
    decade = part["decade"].lstrip("'’")
    if decade == "2000":
        return "two thousands"
    tens = num2words(int(decade[-2:])) if decade[-2:] != "00" else "hundred"
    return f"{cardinal(decade[:2])} {_many(tens)}" if len(decade) == 4 else _many(tens)


def _many(number: str) -> str:
    return f"{number[:-1]}ies" if number.endswith("y") else f"{number}s"


def _fraction(part: dict[str, str]) -> str:
    top, bottom = int(part["top"]), int(part["bottom"])
    if not 0 < top < bottom:  # 24/7
        return f"{cardinal(part['top'])} {cardinal(part['bottom'])}"
    name = {2: "half", 4: "quarter"}.get(bottom) or ordinal(str(bottom))
    many = "halves" if bottom == 2 else f"{name}s"
    return f"{cardinal(str(top))} {name if top == 1 else many}"


def _rating(part: dict[str, str]) -> str | None:
    """4.5/5 stars, 85/100 points, a blood pressure of 120/80; None for other pairs."""
    first, second = float(part["first"]), int(part["second"])
    if "." in part["first"] or second == 100:
        return f"{cardinal(part['first'])} out of {cardinal(part['second'])}"
    if 90 <= first <= 250 and 40 <= second <= 150 and second < first:
        return f"{cardinal(part['first'])} over {cardinal(part['second'])}"
    if part["first"].startswith("0") and len(part["first"]) > 2:
        return digits(part["first"] + part["second"])  # 030/901820
    return None


def _ip(part: dict[str, str]) -> str:
    numbers = part["parts"].split(".")
    return " dot ".join(digits(n) if len(n) > 2 else cardinal(n) for n in numbers)


def _size(part: dict[str, str]) -> str:
    said = " by ".join(map(cardinal, re.split("[xX×]", part["sides"])))
    return f"{said} {UNITS[part['unit']][1]}" if part["unit"] else said


def _mixed(part: dict[str, str]) -> str:
    said = f"{cardinal(part['whole'])} and {fraction_after_whole(part['fraction'])}"
    unit = f" {UNITS[part['unit']][1]}" if part["unit"] else ""
    return f"{_SIGNS[part['sign']]}{said}{unit}"


def _range(part: dict[str, str]) -> str:
    first, second, unit = part["first"], part["second"], part["unit"]
    if part["dash"] == "-" and not unit and _is_code(first, second):
        return digits(first + second)
    said = f"{cardinal(first)} to {cardinal(second)}"
    return f"{said} {UNITS[unit][1]}" if unit else said


def _years(part: dict[str, str]) -> str | None:
    first, second = part["first"], part["second"]
    full = second if len(second) == 4 else first[:2] + second
    if full <= first:
        return None
    return f"{year(first)} to {year(second) if len(second) == 4 else cardinal(second)}"


def _money_range(part: dict[str, str]) -> str:
    many = CURRENCIES[part["currency"]][1]
    return f"{cardinal(part['first'])} to {cardinal(part['second'])} {many}"


def _is_code(first: str, second: str) -> bool:
    """Whether two numbers with a hyphen between them are no range, nor a score like 21-19."""
    if not (first.isdigit() and second.isdigit()):
        return False
    if any(len(number) > 1 and number[0] == "0" for number in (first, second)):
        return True
    if len(first) <= 2 and len(second) <= 2:
        return False
    if len(second) <= 2:
        second = first[: -len(second)] + second  # 1914-18
    longer = len(second) - len(first)
    upwards = longer > 0 or (longer == 0 and second > first)
    return not upwards or (longer > 1 and not second.endswith("00"))  # 1-1000 is a range


def _quantity(part: dict[str, str]) -> str:
    unit = plural_of(part["number"], part["unit"])
    return f"{_SIGNS[part['sign']]}{cardinal(part['number'])} {unit}"


def _counted(part: dict[str, str]) -> str:
    number = part["number"]
    return f"number {digits(number) if len(number) >= 4 else cardinal(number)}"  # order #10234


_READERS = {
    "money": _money,
    "clock": _clock,
    "date": _date,
    "phone": lambda part: ("plus " if part["digits"][0] == "+" else "") + digits(part["digits"]),
    "code": lambda part: digits(part["digits"]),
    "decade": _decade,
    "ordinal": lambda part: ordinal(part["number"]),
    "mixed": _mixed,
    "fraction": _fraction,
    "money_range": _money_range,
    "years": _years,
    "ratio": lambda part: f"{cardinal(part['first'])} to {cardinal(part['second'])}",
    "times": lambda part: f"{cardinal(part['number'])} times",
    "size": _size,
    "rating": _rating,
    "ip": _ip,
    "ages": lambda part: f"{part['which']} {_many(cardinal(part['number']))}",
    "hyphenated": lambda part: f"{cardinal(part['number'])} {UNITS[part['unit']][0]}",
    "pence": lambda part: f"{cardinal(part['number'])} pence",
    "pair": lambda part: f"{cardinal(part['first'])} {cardinal(part['second'])}",
    "range": _range,
    "quantity": _quantity,
    "sized": lambda part: f"{cardinal(part['amount'])} {MAGNITUDES[part['size']]}",
    "version": lambda part: " point ".join(map(cardinal, part["parts"].split("."))),
    "plain": lambda part: _SIGNS[part["sign"]] + cardinal(part["number"]),
    "counted": _counted,
}
