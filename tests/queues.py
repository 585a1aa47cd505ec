"""Single-server queues with known answers: many repetitions at once by Lindley's recursion, exact quantiles by transform.

Times are in units of the mean service time unless said otherwise.
"""

from __future__ import annotations

from functools import cache

import numpy as np

SERVICES = ("exponential", "lognormal", "bimodal")
LOGNORMAL_SIGMA = 0.8
BIMODAL = ((0.9, 0.5), (0.1, 5.5))
"""Share and mean of each kind of request: nine short ones to a long one, each exponential; the mean is 1."""


def draw_service(random: np.random.Generator, service: str, shape: tuple[int, ...]) -> np.ndarray:
    """Service times of mean 1."""
    if service == "exponential":
        return random.standard_exponential(shape)
    if service == "lognormal":
        return random.lognormal(-(LOGNORMAL_SIGMA**2) / 2, LOGNORMAL_SIGMA, shape)
    means = np.where(random.random(shape) < BIMODAL[0][0], BIMODAL[0][1], BIMODAL[1][1])
    return random.standard_exponential(shape) * means


def response_times(
    utilisation: float,
    *,
    samples: int,
    repetitions: int,
    service: str = "exponential",
    seed: int = 1,
    skip: int = 0,
) -> np.ndarray:
    """(repetitions, samples) response times of an M/G/1 queue that starts empty, `skip` requests before the first."""
    random = np.random.default_rng(seed)
    total = samples + skip
    times = np.empty((samples, repetitions))
    wait = np.zeros(repetitions)
    block = 1_000
    for start in range(0, total, block):
        rows = min(block, total - start)
        served = draw_service(random, service, (rows, repetitions))
        steps = served - random.standard_exponential((rows, repetitions)) / utilisation
        for row in range(rows):
            at = start + row - skip
            if at >= 0:
                np.add(wait, served[row], out=times[at])
            wait += steps[row]
            np.maximum(wait, 0.0, out=wait)
    return np.ascontiguousarray(times.T)


def _service_tail(service: str, at: np.ndarray) -> np.ndarray:
    """P(service > at)."""
    if service == "exponential":
        return np.exp(-at)
    if service == "bimodal":
        return sum(share * np.exp(-at / mean) for share, mean in BIMODAL)
    from math import erfc

    score = (np.log(np.maximum(at, 1e-300)) + LOGNORMAL_SIGMA**2 / 2) / LOGNORMAL_SIGMA
    return np.array([0.5 * erfc(value / 2**0.5) for value in score])


@cache
def _response_distribution(utilisation: float, service: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Grid, P(response <= grid), and mean (Pollaczek 1930, Khintchine 1932: the wait is a geometric sum of residues)."""
    step, points = 0.01, 1 << 16
    edges = np.arange(points + 1) * step
    tail = _service_tail(service, edges)
    residual = tail[:-1] + tail[1:]  # mass of the residual service in each cell
    residual /= residual.sum()
    mass = tail[:-1] - tail[1:]
    size = 2 * points
    half = np.exp(-1j * np.pi * np.arange(size // 2 + 1) / size)  # a cell's mass sits in its middle
    geometric = (1 - utilisation) / (1 - utilisation * np.fft.rfft(residual, size) * half)
    density = np.fft.irfft(geometric * np.fft.rfft(mass, size) * half, size)[:points]
    mean = 1 + utilisation * _second_moment(service) / 2 / (1 - utilisation)
    return edges[:points] + step / 2, np.cumsum(density), mean


def _second_moment(service: str) -> float:
    if service == "exponential":
        return 2.0
    if service == "bimodal":
        return sum(2 * share * mean**2 for share, mean in BIMODAL)
    return float(np.exp(LOGNORMAL_SIGMA**2))


def true_quantile(utilisation: float, q: float, service: str = "exponential") -> float:
    """Of the stationary response time, in mean service times."""
    if service == "exponential":
        return float(-np.log(1 - q) / (1 - utilisation))
    grid, cumulative, _ = _response_distribution(utilisation, service)
    return float(np.interp(q, cumulative, grid))


def true_mean(utilisation: float, service: str = "exponential") -> float:
    """Of the stationary response time, in mean service times."""
    return _response_distribution(utilisation, service)[2]
