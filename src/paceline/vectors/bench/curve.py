"""Recall against ef: which efs are tried, and the smallest that reaches a recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from paceline.vectors.bench.measure_search import Pass, fewer
from paceline.vectors.bench.report import Point

EFFORTS: Final = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)
ENOUGH: Final = 0.9995
"""Recall from which more is not asked for."""
_PATIENCE: Final = 4
"""Times the best ef up to which a higher recall is looked for."""
_NEAR: Final = 20
"""The smallest ef is found to within a part of this size."""

Search = Callable[[int, bool], Pass]
"""A pass at an effort, with each query alone or not."""


def point(effort: int, found: Pass, whole: int) -> Point:
    """A pass over as many as `whole` queries as a point of the curve."""
    p50, p99 = np.percentile(found.single_ms, (50, 99)).tolist()
    rests_on = fewer(found.queries, whole), fewer(len(found.single_ms), whole)
    return Point(effort, found.recall, found.queries / found.batch_s, p50, p99, *rests_on)


def curve(search: Search, k: int, queries: int, efforts: Sequence[int] = EFFORTS) -> list[Point]:
    """Points of rising ef over so many `queries`, until recall is `ENOUGH`, or rises no more."""
    points: list[Point] = []
    for effort in (one for one in efforts if one >= k):
        points.append(point(effort, search(effort, True), queries))
        best = max(points, key=lambda one: one.recall)  # the first of several
        if best.recall >= ENOUGH or effort > _PATIENCE * best.effort:
            break
    return points


def rising(points: Sequence[Point]) -> list[Point]:
    """Without those that cost more than one before them and find no more."""
    kept: list[Point] = []
    for one in points:
        if not kept or one.recall > kept[-1].recall:
            kept.append(one)
    return kept


def smallest(points: Sequence[Point], search: Search, target: float) -> int | None:
    """The smallest ef with this recall, by halving what lies between two points; None if none of them has it."""
    high = next((one.effort for one in points if one.recall >= target), None)
    if high is None:
        return None
    low = max((one.effort for one in points if one.effort < high), default=high)
    while high - low > max(1, low // _NEAR):
        middle = (low + high) // 2
        if search(middle, False).recall >= target:
            high = middle
        else:
            low = middle
    return high
