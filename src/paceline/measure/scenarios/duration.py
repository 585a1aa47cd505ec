"""Durations as people and k6 write them: `90`, `500ms`, `1m30s`."""

from __future__ import annotations

import math
import re

from paceline.base.errors import ConfigError

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(us|ms|s|m|h|d)")


def duration_s(text: str | float, *, param: str, zero: bool = False) -> float:
    """Seconds; a bare number is seconds. Raises ConfigError naming `param`, also for 0 unless `zero` is allowed."""
    seconds = _seconds(str(text).strip().lower())
    if seconds is None or not math.isfinite(seconds):
        raise ConfigError(f"{param} {text}: expected a duration such as 90, 30s, 1m30s or 500ms", param=param)
    if seconds < 0 or (seconds == 0 and not zero):
        raise ConfigError(f"{param} {text}: must be longer than 0", param=param)
    return seconds


def written(seconds: float) -> str:
    """The shortest way to write it that loses nothing above a millisecond: `1m30s`, `1.5s` as `1s500ms`."""
    left = round(seconds * 1000)
    parts = []
    for unit, length in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
