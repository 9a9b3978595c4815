"""Numbers, times, dates and prices the way people say them."""

from __future__ import annotations

import random
from collections.abc import Callable

from num2words import num2words

_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_MONTHS = [
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
]  # fmt: skip


def number(chance: random.Random, low: int, high: int) -> str:
    """A whole number from `low` to `high`; people round, so large ones are mostly round."""
    value = chance.randint(low, high)
    if value > 100 and chance.random() < 0.6:
        value = round(value, 1 - len(str(value)))
    text = str(num2words(min(max(value, low), high))).replace(",", "")
    return text if chance.random() < 0.5 else text.replace(" and ", " ")


def ordinal(chance: random.Random, low: int, high: int) -> str:
    """Its place in a row: `first`, `twenty-second`."""
    return str(num2words(chance.randint(low, high), to="ordinal"))


def digits(chance: random.Random, shortest: int, longest: int) -> str:
    """A code read digit by digit; zero is often `oh`, and some repeat as `double`."""
    zero = chance.choice(["zero", "oh"])
    said: list[str] = []
    count = chance.randint(shortest, longest)
    while count > 0:
        digit = chance.choice(_DIGITS)
        word = zero if digit == "zero" else digit
        if count > 1 and chance.random() < 0.06:
            said.append(f"double {word}")
            count -= 2
        else:
            said.append(word)
            count -= 1
    return " ".join(said)


def letters(chance: random.Random, shortest: int, longest: int) -> str:
    """A spelling: single capital letters."""
    return " ".join(
        chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=chance.randint(shortest, longest))
    )


def clock(chance: random.Random) -> str:
    """A time of day."""
    hour, minute = chance.randint(1, 12), chance.choice([5, 10, 15, 20, 25, 30, 40, 45, 50, 55])
    hour_word, minute_word = num2words(hour), num2words(minute)
    forms = [
        f"{hour_word} o'clock",
        f"half past {hour_word}",
        f"quarter (past|to) {hour_word}",
        f"{hour_word} {'oh ' * (minute < 10)}{minute_word}",
        f"{hour_word} {chance.choice(['a m', 'p m'])}",
        f"{hour_word} {minute_word if minute >= 10 else 'thirty'} {chance.choice(['a m', 'p m'])}",
        f"{num2words(chance.choice([5, 10, 20, 25]))} {chance.choice(['past', 'to'])} {hour_word}",
        chance.choice(["noon", "midnight", f"about {hour_word}", f"{hour_word} thirty"]),
    ]
    return chance.choice(forms).replace("(past|to)", chance.choice(["past", "to"]))


def date(chance: random.Random) -> str:
    """A day of the year."""
    day, month = ordinal(chance, 1, 31), chance.choice(_MONTHS)
    return chance.choice([f"{month} {day}", f"the {day} of {month}", f"{month} the {day}"])


def year(chance: random.Random) -> str:
    """A year between 1900 and 2035."""
    return str(num2words(chance.randint(1900, 2035), to="year")).replace("oh-", "oh ")


def price(chance: random.Random) -> str:
    """An amount of money."""
    whole = chance.choice(
        [chance.randint(1, 30), chance.randint(10, 99), 10 * chance.randint(10, 99)]
    )
    cents = num2words(chance.choice([20, 25, 30, 50, 60, 75, 80, 90, 95, 99]))
    unit = chance.choice(["dollar", "dollar", "euro", "pound"])
    plural = unit if whole == 1 else unit + "s"
    forms = [f"{num2words(whole)} {plural}", f"{num2words(whole)} {cents}"]
    forms.append(
        f"{num2words(whole)} {plural} and {cents} {'pence' if unit == 'pound' else 'cents'}"
    )
    return chance.choice(forms).replace(" and ", chance.choice([" and ", " "]))


MAKERS: dict[str, Callable[..., str]] = {
    maker.__name__: maker for maker in (number, ordinal, digits, letters, clock, date, year, price)
}
