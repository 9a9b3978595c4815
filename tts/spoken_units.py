"""Units, currencies and magnitudes by name."""

from __future__ import annotations

import re

_DOLLARS = {"US": "US", "CA": "Canadian", "C": "Canadian", "AU": "Australian", "A": "Australian",
            "NZ": "New Zealand", "HK": "Hong Kong"}  # fmt: skip
CURRENCIES = {  # one, many, one hundredth, many of them
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
} | {
    f"{country}$": (f"{whose} dollar", f"{whose} dollars", "cent", "cents")
    for country, whose in _DOLLARS.items()
}
MAGNITUDES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "bn": "billion",
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
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"), "℃": ("degree Celsius", "degrees Celsius"),
    "℉": ("degree Fahrenheit", "degrees Fahrenheit"), "%": ("percent", "percent"),
    "¢": ("cent", "cents"), "mL": ("millilitre", "millilitres"), "tsp": ("teaspoon", "teaspoons"),
    "tbsp": ("tablespoon", "tablespoons"), "mins": ("minute", "minutes"),
    "secs": ("second", "seconds"), "m³": ("cubic metre", "cubic metres"),
    "€": ("euro", "euros"), "$": ("dollar", "dollars"), "£": ("pound", "pounds"),
    "EUR": ("euro", "euros"), "USD": ("dollar", "dollars"), "GBP": ("pound", "pounds"),
    "m²": ("square metre", "square metres"), "km²": ("square kilometre", "square kilometres"),
    "cl": ("centilitre", "centilitres"), "dl": ("decilitre", "decilitres"),
    "dL": ("decilitre", "decilitres"), "mcg": ("microgram", "micrograms"),
    "µg": ("microgram", "micrograms"), "μg": ("microgram", "micrograms"),
    "mmol": ("millimole", "millimoles"), "IU": ("international unit", "international units"),
    "mmHg": ("millimetre of mercury", "millimetres of mercury"),
    "bpm": ("beat per minute", "beats per minute"), "kcal": ("kilocalorie", "kilocalories"),
    "Mbps": ("megabit per second", "megabits per second"), "CHF": ("Swiss franc", "Swiss francs"),
    "dB": ("decibel", "decibels"), "px": ("pixel", "pixels"),
    "fps": ("frame per second", "frames per second"),
}  # fmt: skip
_PER = {"mo": "month", "mth": "month", "wk": "week", "yr": "year", "d": "day"}


def per_name(unit: str) -> str | None:
    """What stands after a slash in a rate, `$5/mo` or `5mg/day`, by its name; else None."""
    if unit in UNITS:
        return UNITS[unit][0]
    return _PER.get(unit) or (unit if re.fullmatch("[a-z]{3,}", unit) else None)


def plural_of(number: str, unit: str) -> str:
    """A unit after a number, in the right form."""
    one, many = UNITS[unit]
    return one if number.replace(",", "") in ("1", "1.0") else many
