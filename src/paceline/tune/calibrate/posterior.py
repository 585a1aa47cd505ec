"""What a server costs besides its engine, fitted to a few short live runs, and how unsure that is.

The engine's own times are known from the batches it told of. What is not: how long the event loop is held by a text
on its way in and out, what network and client add, how much slower batches are while the event loop, and whoever
sends the load, want the same cores. These are drawn from wide priors and kept as far as simulating the live runs
with them gives the latencies that were measured: population Monte Carlo with a Gaussian kernel on the logarithms of
quantiles (Beaumont et al. 2009, "Adaptive approximate Bayesian computation"). The draws that remain are the particles
over which every prediction is averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from paceline.tune.calibrate.batch_log import BatchLog, Floats
from paceline.tune.calibrate.service_fit import ServiceFit
from paceline.tune.observation import Observation
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.simulation.sweep import sweep
from paceline.tune.workload import Workload

PARTICLES: Final = 16
DRAWS: Final = 384
GENERATIONS: Final = 6
LEAST_EFFECTIVE: Final = 40.0
"""Draws that the weights of a generation are worth at the least: a cloud must not collapse on one that was lucky."""
QUANTILES: Final = (0.25, 0.5, 0.75, 0.9, 0.95)
TOLERANCE: Final = (0.06, 0.05, 0.05, 0.07, 0.09)
"""Standard deviation of the logarithm of each quantile between two runs of one setting, as measured here."""
LEAST_SURE: Final = 0.12
"""Relative error that a prediction has at the least: p95 of two runs of one setting, some seconds long on a machine that
others share, differ by a standard deviation of about 0.15 (see docs/performance.md, Tuning)."""
MOST_SPREAD: Final = 0.6
"""Of run times; more is not noise but something that the model does not know."""
PRIOR_WEIGHT: Final = 3.0
"""Live runs that the prior belief in `LEAST_SURE` counts as."""

SLOW_SD: Final = 0.06
ENGINE_TOLERANCE: Final = 0.05
"""As `TOLERANCE`, of the seconds that lanes were held, and of the rows of a batch, where the server tells its batches."""

_RANGES: Final = {
    "slow": (0.85, 1.6),
    "enter_s": (3e-5, 2e-3),
    "leave_s": (1e-5, 8e-4),
    "fixed_s": (3e-5, 4e-3),
    "hit_s": (1e-5, 4e-4),
    "contention": (0.02, 1.0),
    "steal": (0.02, 2.0),
    "wide": (0.7, 2.0),
}
"""Of the priors, uniform in the logarithm: from a C server on an idle machine to a Python one on a busy one."""
_NAMES: Final = tuple(_RANGES)


@dataclass(frozen=True, slots=True)
class LiveEvidence:
    """One live run beside what it was a run of."""

    station: Station
    observation: Observation
    batches: BatchLog


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of a server after calibration."""

    particles: tuple[ServiceModel, ...]
    error: float
    """Standard deviation of the logarithm of measured over predicted latency, besides the particles' own spread."""
    bias: float
    """Mean of that logarithm: what predictions are multiplied with, as exp(bias)."""


def posterior(
    workload: Workload, evidence: Sequence[LiveEvidence], fits: Sequence[ServiceFit], *, seed: int
) -> Posterior:
    """Particles that explain the live runs; `fits` are bootstrap draws of the engine's times, the best first."""
    source = np.random.default_rng(seed)
    low, high = (np.log([_RANGES[name][end] for name in _NAMES]) for end in (0, 1))
    drawn = low + (high - low) * _latin(source, DRAWS, len(_NAMES))
    drawn[:, _NAMES.index("contention")] = _around_contention(fits, source, DRAWS)
    # Batches were slower under load, by what the event loop takes from them (`steal`) and by what nothing else explains.
    seen = np.log(_seen_slow_down(evidence, fits[0]))
    drawn[:, _NAMES.index("slow")] = seen * source.random(DRAWS) + SLOW_SD * source.standard_normal(DRAWS)
    which = [draw % len(fits) for draw in range(DRAWS)]
    for generation in range(GENERATIONS):
        distance = _distance(
            workload, evidence, [_model(fits[w], row) for w, row in zip(which, drawn, strict=True)]
        )
        weight = _weights(distance, LEAST_EFFECTIVE)
        if generation == GENERATIONS - 1:
            break
        chosen = source.choice(DRAWS, DRAWS, p=weight)
        spread = np.sqrt(np.maximum(np.average((drawn - weight @ drawn) ** 2, axis=0, weights=weight), 1e-6))
        drawn = np.clip(drawn[chosen] + 0.6 * spread * source.standard_normal(drawn.shape), low, high)
        which = [which[at] for at in chosen.tolist()]
    kept = _systematic(source, weight, PARTICLES)
    particles = tuple(_model(fits[which[at]], drawn[at]) for at in kept.tolist())
    return Posterior(particles, *_discrepancy(workload, evidence, particles))


def _weights(distance: Floats, least_effective: float) -> Floats:
    """In proportion to exp(-distance / 2), tempered as far as so many effective draws need."""
    beyond = distance - distance.min()
    temperature = 1.0
    while True:
        weight: Floats = np.exp(-0.5 * beyond / temperature)
        weight /= weight.sum()
        if 1.0 / float((weight**2).sum()) >= least_effective:
            return weight
        temperature *= 1.5


def _model(fit: ServiceFit, row: Floats) -> ServiceModel:
    values = dict(zip(_NAMES, np.exp(row).tolist(), strict=True))
    slow, wide = values.pop("slow"), values.pop("wide")
    return ServiceModel(
        a=fit.a * slow,
        b=fit.b * slow,
        c=fit.c * slow,
        d=fit.d * slow,
        spread=min(wide * fit.spread, MOST_SPREAD),
        **values,
    )


def _distance(workload: Workload, evidence: Sequence[LiveEvidence], models: Sequence[ServiceModel]) -> Floats:
    """Sum of squared standardised differences of log quantiles over the live runs, one for each model."""
    stations = [_believing(one.station, models[0]) for one in evidence]
    found = sweep(workload, stations, models, quantiles=QUANTILES, drain=False)
    measured = np.array(
        [[one.observation.p(q) / 1e3 for q in QUANTILES] for one in evidence]
    )  # (runs, quantiles)
    simulated = found.quantile_s  # (quantiles, runs, models)
    off = np.log(np.maximum(np.nan_to_num(simulated, nan=1e3), 1e-6)) - np.log(measured.T)[:, :, None]
    summed: Floats = ((off / np.array(TOLERANCE)[:, None, None]) ** 2).sum(axis=(0, 1))
    for run, one in enumerate(evidence):
        if len(one.batches):
            held_s, rows = float(one.batches.run_s.sum()), float(one.batches.rows.mean())
            summed += (np.log(np.maximum(found.engine_s[run], 1e-9) / held_s) / ENGINE_TOLERANCE) ** 2
            summed += (np.log(np.maximum(found.mean_rows[run], 1e-9) / rows) / ENGINE_TOLERANCE) ** 2
    return summed


def _discrepancy(
    workload: Workload, evidence: Sequence[LiveEvidence], particles: Sequence[ServiceModel]
) -> tuple[float, float]:
    """Error and bias of predicted p95 over the live runs, drawn towards the prior belief."""
    stations = [_believing(one.station, particles[0]) for one in evidence]
    at = QUANTILES.index(0.95)
    predicted = np.log(
        sweep(workload, stations, particles, quantiles=QUANTILES, drain=False).quantile_s[at]
    ).mean(axis=1)
    off = np.log([one.observation.p(0.95) / 1e3 for one in evidence]) - predicted
    weight = len(off) + PRIOR_WEIGHT
    bias = float(off.sum() / weight)
    error = float(np.sqrt((((off - bias) ** 2).sum() + PRIOR_WEIGHT * LEAST_SURE**2) / weight))
    return error, bias


def _believing(station: Station, model: ServiceModel) -> Station:
    """With a queue that has learned the engine's times, as that of a server that has been up for a while."""
    return replace(station, prior=(model.a, model.b, model.c, model.d))


def _seen_slow_down(evidence: Sequence[LiveEvidence], fit: ServiceFit) -> float:
    """How much slower batches ran under load than the fit says; 1 when nothing was told."""
    ratios = [one.batches.run_s / fit.seconds(one.batches) for one in evidence if len(one.batches)]
    return float(np.median(np.concatenate(ratios))) if ratios else 1.0


def _around_contention(fits: Sequence[ServiceFit], source: np.random.Generator, count: int) -> Floats:
    fitted = np.array([max(fit.contention, _RANGES["contention"][0]) for fit in fits])
    around: Floats = np.log(fitted[np.arange(count) % len(fits)]) + 0.2 * source.standard_normal(count)
    return around


def _latin(source: np.random.Generator, count: int, dimensions: int) -> Floats:
    """Latin hypercube on the unit cube, shape (count, dimensions)."""
    return np.stack(
        [(source.permutation(count) + source.random(count)) / count for _ in range(dimensions)], axis=1
    )


def _systematic(source: np.random.Generator, weight: Floats, count: int) -> npt.NDArray[np.intp]:
    """Positions of `count` draws in proportion to their weights, by systematic resampling."""
    at = (source.random() + np.arange(count)) / count
    return np.searchsorted(np.cumsum(weight), at).clip(0, len(weight) - 1)
