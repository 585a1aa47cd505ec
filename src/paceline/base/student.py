"""Quantiles of Student's t distribution, without SciPy."""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma, log, pi, sqrt, tan
from statistics import NormalDist

_TINY = 1e-300
_EPSILON = 1e-15


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), evaluated by Lentz 1976."""
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1.0 + step * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + step / c
            c = c if abs(c) > _TINY else _TINY
            value *= c * d
        if abs(c * d - 1.0) < _EPSILON:
            break
    return value


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1.0 - x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def t_upper_tail(t: float, df: float) -> float:
    """P(T > t) for t >= 0: half of I_x(df/2, 1/2) at x = df / (df + t^2) (Student 1908; DLMF 8.17)."""
    return _incomplete_beta(df / 2.0, 0.5, df / (df + t * t)) / 2.0


@lru_cache(maxsize=4_096)
def t_quantile(probability: float, df: float) -> float:
    """The t below which a share `probability` of the distribution with `df` >= 1 degrees of freedom lies.

    Exact to 1e-9 of itself (bisection of `t_upper_tail`). Raises ValueError outside 0 < probability < 1 or df < 1.
    """
    if not 0.0 < probability < 1.0 or df < 1.0:
        message = f"t_quantile({probability}, {df}): needs a probability within (0, 1) and df >= 1"
        raise ValueError(message)
    if probability == 0.5:
        return 0.0
    if probability < 0.5:
        return -t_quantile(1.0 - probability, df)
    if df == 1.0:
        return tan(pi * (probability - 0.5))
    if df > 1e7:
        return NormalDist().inv_cdf(probability)
    tail = 1.0 - probability
    low, high = 0.0, sqrt(df) + 2.0
    while t_upper_tail(high, df) > tail:
        low, high = high, 2.0 * high
    while high - low > 1e-11 * high:
        middle = (low + high) / 2.0
        if t_upper_tail(middle, df) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
