"""Quantiles of samples that are already in order."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil


def _check(ordered: Sequence[float], q: float) -> None:
    if not ordered:
        message = "a quantile of no samples does not exist"
        raise ValueError(message)
    if not 0.0 <= q <= 1.0:
        message = f"quantile {q} is outside 0 to 1"
        raise ValueError(message)


def quantile(ordered: Sequence[float], q: float) -> float:
    """Between the two nearest order statistics, at (n - 1) q: type 7 of Hyndman and Fan 1996, NumPy's default.

    Raises ValueError without samples or with q outside 0 to 1.
    """
    _check(ordered, q)
    place = (len(ordered) - 1) * q
    index = int(place)
    share = place - index
    if not share:
        return float(ordered[index])
    below, above = ordered[index], ordered[index + 1]
    return below + (above - below) * share


def nearest_rank(ordered: Sequence[float], q: float) -> float:
    """The smallest sample that at least a share q of all samples does not exceed: type 1 of Hyndman and Fan 1996.

    Always a value that was measured. Raises as `quantile` does.
    """
    _check(ordered, q)
    return float(ordered[max(0, ceil(len(ordered) * q - 1e-9) - 1)])
