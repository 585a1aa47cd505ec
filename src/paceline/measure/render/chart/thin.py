"""Fewer points than were measured, so that an hour fits on a page: neighbours become one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from paceline.measure.report import Series


def thinned(series: Series, most: int) -> Series:
    """At most `most` points: rates are averaged, of percentiles the worst is kept, so that no peak is lost."""
    size = math.ceil(len(series.at_s) / most)
    if size <= 1:
        return series
    return msgspec.structs.replace(
        series,
        step_s=series.step_s * size,
        at_s=list(series.at_s[::size]),
        offered_per_s=means(series.offered_per_s, size),
        done_per_s=means(series.done_per_s, size),
        failed_per_s=means(series.failed_per_s, size),
        in_flight=means(series.in_flight, size),
        p50_ms=worst(series.p50_ms, size),
        p95_ms=worst(series.p95_ms, size),
        p99_ms=worst(series.p99_ms, size),
    )


def means(values: Sequence[float], size: int) -> list[float]:
    """Of each `size` neighbours; the last may be fewer."""
    groups = [values[start : start + size] for start in range(0, len(values), size)]
    return [sum(group) / len(group) for group in groups]


def worst(values: Sequence[float | None], size: int) -> list[float | None]:
    """The largest of each `size` neighbours, None where none is known."""
    groups = [values[start : start + size] for start in range(0, len(values), size)]
    return [max((value for value in group if value is not None), default=None) for group in groups]


def known_means(at: Sequence[float], values: Sequence[float | None], most: int) -> list[tuple[float, float]]:
    """Instants and values with the unknown left out, averaged to at most `most`."""
    known = [(instant, value) for instant, value in zip(at, values, strict=True) if value is not None]
    size = max(1, math.ceil(len(known) / most))
    starts = [known[start][0] for start in range(0, len(known), size)]
    return list(zip(starts, means([value for _, value in known], size), strict=True))
