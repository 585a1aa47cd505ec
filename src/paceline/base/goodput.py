"""The share of requests that were as fast as every latency objective asks: goodput.

An objective on a high percentile of a quantity becomes a limit for each request's own value (as in DistServe, Zhong
et al. 2024): `p(95)<300` wants each request within 300 ms, and of several objectives on one quantity the strictest
counts. Objectives on the median or the mean say nothing about one request and set no limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from paceline.base.slo import Objective

_TAILS = ("p90", "p95", "p99", "p99.9", "max")


class Limits(NamedTuple):
    """Of one request, ms; None where nothing is asked."""

    latency: float | None = None
    ttft: float | None = None
    tpot: float | None = None
    itl: float | None = None
    """Of the request's own 95th percentile of the gaps between its tokens, rather than of its largest gap alone."""

    @property
    def streams_only(self) -> bool:
        """Whether any limit is about tokens."""
        return any(limit is not None for limit in (self.ttft, self.tpot, self.itl))


def limits(objectives: Iterable[Objective]) -> Limits:
    """The strictest limit of each quantity."""
    found: dict[str, float] = {}
    for objective in objectives:
        *prefix, statistic, unit = ["", *objective.name.split("_")][-3:]
        quantity = prefix[0] or "latency"
        if unit == "ms" and statistic in _TAILS and quantity in Limits._fields:
            found[quantity] = min(float(objective.target), found.get(quantity, float("inf")))
    return Limits(**found)
