"""Numbers, units and names as people read them: a few significant digits, never a false precision."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlipilot.controller.accept import mean
from mlipilot.evaluation.catalog import CATALOG

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BAR = 1e-300  # below: zero for every purpose here


def metric_label(name: str) -> str:
    """What people call a metric: "force MAE", say; one not declared keeps its name."""
    return CATALOG[name].label if name in CATALOG else name


def upper_first(text: str) -> str:
    """The text as a sentence begins; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def number(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` significant digits, in powers of ten where it is very small or large."""
    if value is None:
        return "—"
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "not a number"
    if abs(value) < _BAR:
        return "0"
    if value == round(value) and abs(value) < 1e5:
        return _fixed(value, 0)
    exponent = _exponent(value, digits)
    if -4 < exponent < max(digits, 5):
        return _fixed(value, max(0, digits - 1 - exponent))
    return f"{_fixed(value / 10.0**exponent, digits - 1)} × {power(exponent)}"


def signed(value: float, digits: int = 3) -> str:
    """As `number`, with a plus before what is positive."""
    return ("+" if value > 0 else "") + number(value, digits)


def mean_sd(values: Sequence[float]) -> str:
    """Mean and sample standard deviation (n − 1) over seeds; without it where there is none to speak of.

    Both are cut at the deviation's first digit, its second where the first is 1: a deviation of two or
    three values is not known better.
    """
    if not values:
        return "—"
    average = mean(values)
    sd = standard_deviation(values)
    if sd is None or sd < 1e-6 * abs(average) or sd < _BAR:
        return number(average)
    exponent = _exponent(max(abs(average), sd), 3)
    if -5 < exponent < 5:
        decimals = max(0, _last_digit(sd))
        return f"{_fixed(average, decimals)} ± {_fixed(sd, decimals)}"
    scale = 10.0**exponent
    decimals = max(0, _last_digit(sd / scale))
    return f"({_fixed(average / scale, decimals)} ± {_fixed(sd / scale, decimals)}) × {power(exponent)}"


def standard_deviation(values: Sequence[float]) -> float | None:
    """The sample standard deviation (n − 1), or None for fewer than two values."""
    if len(values) < 2:
        return None
    average = mean(values)
    return math.sqrt(math.fsum((value - average) ** 2 for value in values) / (len(values) - 1))


def power(exponent: int) -> str:
    """A power of ten, `10⁻³`."""
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def duration(seconds: float) -> str:
    """`seconds` in the two largest units that say something: "4.2 s", "3 min 20 s", "5 h 12 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(value: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: "1 gate", "2 gates"."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}".replace(",", "\u202f")


def joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence: "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def _exponent(value: float, digits: int) -> int:
    """The power of ten of `value` once it is rounded to `digits` significant digits (9.996 counts as 10)."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])


def _last_digit(sd: float) -> int:
    """Decimal places to which a deviation is worth showing."""
    return (1 if f"{sd:e}"[0] == "1" else 0) - _exponent(sd, 1 if f"{sd:e}"[0] != "1" else 2)


def _fixed(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace("-", "−")
