"""Numbers as English speakers say them: amounts, times, dates, years, phone numbers, units."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

_MONTH_NAMES = """January February March April May June July August September October November
December"""
MONTHS = tuple(_MONTH_NAMES.split())
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
_MAGNITUDES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "bn": "billion",
               "B": "billion", "tn": "trillion"}  # fmt: skip
UNITS = {
    "km": ("kilometre", "kilometres"), "m": ("metre", "metres"), "cm": ("centimetre", "centimetres"),
    "mm": ("millimetre", "millimetres"), "mi": ("mile", "miles"), "ft": ("foot", "feet"),
    "kg": ("kilogram", "kilograms"), "g": ("gram", "grams"), "mg": ("milligram", "milligrams"),
    "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"), "oz": ("ounce", "ounces"),
    "l": ("litre", "litres"), "L": ("litre", "litres"), "ml": ("millilitre", "millilitres"),
    "km/h": ("kilometre per hour", "kilometres per hour"), "mph": ("mile per hour", "miles per hour"),
    "m/s": ("metre per second", "metres per second"), "kWh": ("kilowatt hour", "kilowatt hours"),
    "W": ("watt", "watts"), "kW": ("kilowatt", "kilowatts"), "V": ("volt", "volts"),
    "Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"), "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"), "KB": ("kilobyte", "kilobytes"), "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"), "ms": ("millisecond", "milliseconds"),
    "s": ("second", "seconds"), "sec": ("second", "seconds"), "min": ("minute", "minutes"),
    "h": ("hour", "hours"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"),
    "°": ("degree", "degrees"), "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"), "%": ("percent", "percent"),
    "m²": ("square metre", "square metres"), "km²": ("square kilometre", "square kilometres"),
    "dB": ("decibel", "decibels"), "px": ("pixel", "pixels"),
    "fps": ("frame per second", "frames per second"),
}  # fmt: skip
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_AMOUNT = rf"\d+,\d\d|{_NUMBER}"
_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("money", rf"(?P<sign>[-−]?)(?P<currency>[$€£¥₹])(?P<amount>{_AMOUNT})(?P<size>k|K|m|M|bn|B|tn)?"),
    ("money", rf"(?P<sign>[-−]?)(?P<amount>{_AMOUNT})(?P<size>k|K|m|M|bn|tn)?(?P<currency>[$€£¥₹])"),
    ("clock", r"(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?::[0-5]\d)?(?P<half>[aApP]\.?[mM]\.?)?"),
    ("clock", r"(?P<hour>1[0-2]|0?[1-9])(?P<minute>)(?P<half>[aApP]\.?[mM]\.?)"),
    ("date", r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>[0-2]\d|3[01])"),
    ("date", r"(?P<month>0?[1-9]|1[0-2])/(?P<day>0?[1-9]|[12]\d|3[01])/(?P<year>\d{4}|\d\d)"),
    ("date", r"(?P<day>0?[1-9]|[12]\d|3[01])[./](?P<month>0?[1-9]|1[0-2])[./](?P<year>\d{4}|\d\d)"),
    ("phone", r"(?P<digits>\+\d[\d().-]*|(?:\d-)?\(?\d{3}\)?[-.]\d{3}[-.]\d{4}|\d{3}-\d{4})"),
    ("decade", r"(?P<decade>(?:1[1-9]|20)\d0|['’]\d0)[’']?s"),
    ("ordinal", r"(?P<number>\d+)(?:st|nd|rd|th)"),
    ("fraction", r"(?P<top>\d{1,2})/(?P<bottom>[2-9]|10)"),
    ("pair", r"(?P<first>\d+)/(?P<second>\d+)"),
    ("range", rf"(?P<first>{_NUMBER})[-–—](?P<second>{_NUMBER})(?P<unit>{_UNIT})?"),
    ("quantity", rf"(?P<sign>[-−+~]?)(?P<number>{_NUMBER})(?P<unit>{_UNIT})"),
    ("sized", rf"(?P<amount>{_NUMBER})(?P<size>k|K|M|bn)"),
    ("version", r"v?(?P<parts>\d+(?:\.\d+){2,})"),
    ("plain", rf"(?P<sign>[-−+~]?)(?P<number>{_NUMBER})"),
    ("counted", r"#(?P<number>\d+)"),
)  # fmt: skip
_COMPILED = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)
_SIGNS = {"-": "minus ", "−": "minus ", "+": "plus ", "~": "about ", "": ""}


def number_in_words(word: str) -> str | None:
    """The word in words when it is a number of any kind by itself, else None."""
    for kind, pattern in _COMPILED:
        if match := pattern.fullmatch(word):
            return _READERS[kind](match.groupdict())
    first, dash, second = word.replace("–", "-").partition("-")
    if not dash:
        return None
    begin, end = number_in_words(first), number_in_words(second)
    return f"{begin} to {end}" if begin and end else None


def cardinal(number: str) -> str:
    """A number with or without thousands separators and decimals; codes digit by digit."""
    whole, _, decimals = number.replace(",", "").partition(".")
    is_code = (len(whole) > 1 and whole.startswith("0")) or len(whole) > 15
    is_code = is_code or (len(whole) >= 7 and "," not in number and not whole.endswith("000"))
    words = digits(whole) if is_code else num2words(int(whole)).replace(",", "")
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


def plural_of(number: str, unit: str) -> str:
    """A unit after a number, in the right form."""
    one, many = UNITS[unit]
    return one if number.replace(",", "") in ("1", "1.0") else many


def _money(part: dict[str, str]) -> str:
    one, many, cent, cents = _CURRENCIES[part["currency"]]
    sign = _SIGNS[part["sign"]]
    if part["size"]:
        return f"{sign}{cardinal(part['amount'])} {_MAGNITUDES[part['size']]} {many}"
    amount = re.sub(r",(\d\d)$", r".\1", part["amount"])  # €1,50
    whole, _, fraction = amount.partition(".")
    if len(fraction) not in (0, 2):
        return f"{sign}{cardinal(part['amount'])} {many}"
    said = f"{sign}{cardinal(whole)} {one if whole == '1' else many}"
    if not int(fraction or 0):
        return said
    small = f"{cardinal(str(int(fraction)))} {cent if int(fraction) == 1 else cents}"
    return small if whole == "0" else f"{said} and {small}"


def _clock(part: dict[str, str]) -> str:
    hour, minute, half = int(part["hour"]), part["minute"], part["half"]
    said = cardinal(str(hour))
    if minute and int(minute):
        said += f" oh {cardinal(minute[1])}" if minute[0] == "0" else f" {cardinal(minute)}"
    elif not half:
        said += " o'clock" if 0 < hour <= 12 else " hundred hours" if hour else ""
    return f"{said} {half[0].lower()} m" if half else said


def _date(part: dict[str, str]) -> str:
    full = part["year"] if len(part["year"]) == 4 else f"20{part['year']}"
    return f"{MONTHS[int(part['month']) - 1]} {ordinal(part['day'])}, {year(full)}"


def _decade(part: dict[str, str]) -> str:
    decade = part["decade"].lstrip("'’")
    if decade == "2000":
        return "two thousands"
    tens = num2words(int(decade[-2:])) if decade[-2:] != "00" else "hundred"
    plural = f"{tens[:-1]}ies" if tens.endswith("y") else f"{tens}s"
    return f"{cardinal(decade[:2])} {plural}" if len(decade) == 4 else plural


def _fraction(part: dict[str, str]) -> str:
    top, bottom = int(part["top"]), int(part["bottom"])
    if not 0 < top < bottom:  # 24/7
        return f"{cardinal(part['top'])} {cardinal(part['bottom'])}"
    name = {2: "half", 4: "quarter"}.get(bottom) or ordinal(str(bottom))
    many = "halves" if bottom == 2 else f"{name}s"
    return f"{cardinal(str(top))} {name if top == 1 else many}"


def _range(part: dict[str, str]) -> str:
    said = f"{cardinal(part['first'])} to {cardinal(part['second'])}"
    return f"{said} {UNITS[part['unit']][1]}" if part["unit"] else said


def _quantity(part: dict[str, str]) -> str:
    unit = plural_of(part["number"], part["unit"])
    return f"{_SIGNS[part['sign']]}{cardinal(part['number'])} {unit}"


_READERS = {
    "money": _money,
    "clock": _clock,
    "date": _date,
    "phone": lambda part: ("plus " if part["digits"][0] == "+" else "") + digits(part["digits"]),
    "decade": _decade,
    "ordinal": lambda part: ordinal(part["number"]),
    "fraction": _fraction,
    "pair": lambda part: f"{cardinal(part['first'])} {cardinal(part['second'])}",
    "range": _range,
    "quantity": _quantity,
    "sized": lambda part: f"{cardinal(part['amount'])} {_MAGNITUDES[part['size']]}",
    "version": lambda part: " point ".join(map(cardinal, part["parts"].split("."))),
    "plain": lambda part: _SIGNS[part["sign"]] + cardinal(part["number"]),
    "counted": lambda part: f"number {cardinal(part['number'])}",
}
