"""How numbers are written for people: three significant digits, a unit of fitting size, an interval where there is one.

A number that could not be had shows its reason, or a dash where there is no room for one; never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, log10
from typing import Protocol

DIGITS = 3
NONE = "-"
"""Stands where a table has no room for a reason."""

Scale = Sequence[tuple[float, str]]
"""Factor and unit, ascending; the unit is the largest that leaves at least 1 before the point."""


class Estimated(Protocol):
    """A value with its interval; `reason` says why one of them is missing."""

    @property
    def value(self) -> float | None:
        """In the unit that is said beside it."""

    @property
    def low(self) -> float | None:
        """Of the interval."""

    @property
    def high(self) -> float | None:
        """Of the interval."""

    @property
    def reason(self) -> str | None:
        """Why there is no value, or no interval."""


TIME: Scale = ((0.001, " us"), (1.0, " ms"), (1000.0, " s"))
BYTES: Scale = ((1.0, " B"), (1e3, " kB"), (1e6, " MB"), (1e9, " GB"), (1e12, " TB"))
PER_SECOND: Scale = ((1.0, "/s"),)
GIGABYTES: Scale = ((1e-3, " MB"), (1.0, " GB"))


def number(value: float | None, digits: int = DIGITS) -> str:
    """`1.23`, `41.2`, `412`, `9,880`: rounded to `digits` significant digits."""
    if value is None or not isfinite(value):
        return NONE
    return f"{_rounded(value, digits):,.{_decimals(value, digits)}f}" if value else "0"


def count(value: float | None) -> str:
    """A whole number in full: `24,712`."""
    return NONE if value is None else f"{round(value):,}"


def level(value: float) -> str:
    """A number somebody chose, as they wrote it: `400`, `0.5`, `1,500`."""
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def latency(ms: float | None) -> str:
    """`850 us`, `12.1 ms`, `1.20 s` of milliseconds."""
    return scaled(ms, TIME, zero=" ms")


def rate(per_s: float | None) -> str:
    """`412/s`."""
    return scaled(per_s, PER_SECOND)


def size(amount: float | None) -> str:
    """`512 B`, `1.23 GB`; thousands, not 1,024."""
    return scaled(amount, BYTES)


def percent(value: float | None) -> str:
    """`0.25 %`, `71.3 %`; what is nearly none or nearly all does not become 0 or 100."""
    if value is None or not isfinite(value):
        return NONE
    if 0 < value < 0.01:
        return "<0.01 %"
    if 99.5 <= value < 100:
        return ">99.99 %" if value >= 99.995 else f"{value:.2f} %"
    return f"{_rounded(value, DIGITS):,.{min(2, _decimals(value, DIGITS))}f} %" if value else "0 %"


def duration(seconds: float | None) -> str:
    """`250 ms`, `12.3 s`, `20 s`, `2 min 05 s`, `5 min`, `3 h 07 min`."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return with_unit(level(_rounded(seconds * 1000, DIGITS)), "ms")
    if round(seconds, 1) < 60:
        return with_unit(level(_rounded(seconds, DIGITS)), "s")
    whole = round(seconds)
    long, short, units = (
        (whole // 60, whole % 60, ("min", "s"))
        if whole < 3600
        else (whole // 3600, whole // 60 % 60, ("h", "min"))
    )
    return f"{long} {units[0]}" + (f" {short:02d} {units[1]}" if short else "")


def clock(seconds: float) -> str:
    """`0:35`, `2:05`, `1:02:05`: of fixed shape, for a display that must not jump."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def scaled(value: float | None, scale: Scale, *, zero: str | None = None) -> str:
    """`value` in the fitting unit of `scale`; `zero` is the unit of nothing, else the first."""
    if value is None or not isfinite(value):
        return NONE
    if not value:
        return f"0{scale[0][1] if zero is None else zero}"
    factor, unit = _unit(value, scale)
    return f"{number(value / factor)}{unit}"


def measured(value: float | None, unit: str) -> str:
    """A value whose unit is said beside it, as in reports: ms, %, bytes, GB, /s; anything else is a number of those."""
    if unit == "%":
        return percent(value)
    if unit in SCALES:
        return scaled(value, SCALES[unit], zero=ZERO.get(unit, f" {unit}"))
    if value is None:
        return NONE
    return with_unit(count(value) if float(value).is_integer() else number(value), unit)


def with_unit(text: str, unit: str) -> str:
    """`300 ms`, `400/s`."""
    return f"{text}{unit if unit.startswith('/') else f' {unit}'}".rstrip()


def chosen(limit: float, unit: str) -> str:
    """A limit somebody set, in the unit they set it in: `300 ms`, `0.5 %`."""
    return with_unit(level(limit), unit)


def estimate(found: Estimated, unit: str) -> str:
    """`123 ms [118, 129]`; `123 ms (no interval: 40 samples)`; without a value its reason."""
    if found.value is None:
        return f"no value: {found.reason or 'not measured'}"
    if found.reason and (found.low is None or found.high is None):
        return f"{measured(found.value, unit)} (no interval: {found.reason})"
    return interval(found.value, found.low, found.high, unit)


def interval(value: float, low: float | None, high: float | None, unit: str) -> str:
    """`123 ms [118, 129]`: one unit and one number of decimals for all three."""
    if low is None or high is None or not all(map(isfinite, (value, low, high))) or value == low == high == 0:
        return measured(value, unit)
    factor, shown = _unit(value or high, SCALES[unit]) if unit in SCALES else (1.0, with_unit("", unit))
    return _between(value / factor, low / factor, high / factor, shown)


def against(value: float | None, low: float | None, high: float | None, limit: float, unit: str) -> str:
    """A value beside its limit: in the unit of the limit, and with the digits it takes to tell them apart.

    300.4 beside a limit of 300 is `300.4 ms`, not `300 ms`; what is far below is in its own unit, `26.1 MB` beside 6 GB.
    """
    if value is None or not isfinite(value):
        return NONE
    if unit in SCALES and abs(value) < min(0.1, limit / 10):
        return interval(value, low, high, unit)
    digits = DIGITS
    while digits < 9 and value != limit and number(value, digits) == number(limit, digits):
        digits += 1
    if low is None or high is None or not all(map(isfinite, (low, high))) or value == low == high == 0:
        return percent(value) if unit == "%" and digits == DIGITS else with_unit(number(value, digits), unit)
    return _between(value, low, high, with_unit("", unit), digits)


SCALES: dict[str, Scale] = {"ms": TIME, "bytes": BYTES, "GB": GIGABYTES, "/s": PER_SECOND}
ZERO = {"bytes": " B", "/s": "/s"}


def _between(value: float, low: float, high: float, unit: str, digits: int = DIGITS) -> str:
    """More digits than asked where the ends would look alike: `10.05 ms [10.04, 10.06]`."""
    largest = max(value, low, high, key=abs)
    places = digits - 1 - _magnitude(_rounded(largest, digits)) - (value == 0)
    most = places + 2
    while places < most and 0 < high - low < 2 * 10.0**-places:
        places += 1
    if unit == " %":
        places = min(places, max(2, digits - 1))
    # Adding 0 turns the -0.0 that rounding may leave into 0.
    middle, lower, upper = (f"{round(part, places) + 0.0:,.{max(0, places)}f}" for part in (value, low, high))
    return f"{middle}{unit} [{lower}, {upper}]"


def _unit(value: float, scale: Scale) -> tuple[float, str]:
    """The pair of `scale` for `value` as it will be shown: 999.7 is 1.00 of the next unit."""
    return next(
        ((factor, unit) for factor, unit in reversed(scale) if abs(_rounded(value, DIGITS)) >= factor),
        scale[0],
    )


def _magnitude(value: float) -> int:
    return floor(log10(abs(value))) if value else 0


def _rounded(value: float, digits: int) -> float:
    return round(value, digits - 1 - _magnitude(value))


def _decimals(value: float, digits: int) -> int:
    return max(0, digits - 1 - _magnitude(_rounded(value, digits)))
