"""The share of requests that failed, with an interval that knows that failures come in bursts."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from paceline.measure.report import Estimate, LoadReport, Series

_Z = NormalDist().inv_cdf(0.975)


def error_percent(report: LoadReport) -> Estimate:
    """Of all requests that ended; Wilson's interval (1927) of as many requests as they are worth."""
    total = report.done + report.failed
    if not total:
        return Estimate(reason="no request ended")
    share = report.failed / total
    low, high = wilson(share, total / inflation(report.series, share))
    return Estimate(100 * share, 100 * low, 100 * high)


def inflation(series: Series, share: float) -> float:
    """By how much fewer independent requests would know the share as well; at least 1.

    From the variance between the steps of the series, taken as clusters (Cochran 1977, chapter 3; Rao and Scott 1992).
    """
    failed = [rate * series.step_s for rate in series.failed_per_s]
    ended = [rate * series.step_s + bad for rate, bad in zip(series.done_per_s, failed, strict=True)]
    total, steps = sum(ended), len(ended)
    if not 0 < share < 1 or not total or steps < 2:
        return 1.0
    spread = sum((bad - share * requests) ** 2 for bad, requests in zip(failed, ended, strict=True))
    return max(1.0, spread * steps / (steps - 1) / (total * share * (1 - share)))


def wilson(share: float, count: float) -> tuple[float, float]:
    """95 % interval of a share seen among `count` independent requests."""
    square = _Z * _Z / count
    middle = (share + square / 2) / (1 + square)
    reach = _Z * sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return min(share, max(0.0, middle - reach)), max(share, min(1.0, middle + reach))
