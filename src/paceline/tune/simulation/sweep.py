"""Many stations under many service models: what the tuner asks of the simulation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from paceline.tune.simulation.capacity import SATURATED, drained
from paceline.tune.simulation.fleet import COMPILES, Fleet, drain_plain, run_compiled, run_plain
from paceline.tune.simulation.likeness import Likeness
from paceline.tune.simulation.rehearsal import rehearse_all
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload

N = TypeVar("N", bool, int)
Matrix = npt.NDArray[np.float64]
QUANTILES = (0.5, 0.95, 0.99)
_FIGURES = ("mean_s", "refused_share", "engine_s", "mean_rows", "capacity")
_BLOCK = 512
"""Stations whose latencies are held at a time."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """What each station (row) showed under each model (column); latencies of answered requests, NaN without any."""

    quantiles: tuple[float, ...]
    quantile_s: npt.NDArray[np.float64]
    """(quantiles, stations, models)."""
    mean_s: Matrix
    refused_share: Matrix
    """Refused requests over all."""
    engine_s: Matrix
    """Seconds that engines ran, over all lanes."""
    mean_rows: Matrix
    """Texts per batch; 0 without any batch."""
    capacity: Matrix
    """Requests per second, see `capacity`; independent of limiter and gate. NaN when it was not asked for."""
    utilisation: Matrix
    """Requests offered over capacity."""
    distinct: int
    """Stations that can differ in this trace; the others share a result."""

    @property
    def p50_s(self) -> Matrix:
        """Median."""
        return self.quantile(0.5)

    @property
    def p95_s(self) -> Matrix:
        """95th percentile."""
        return self.quantile(0.95)

    @property
    def p99_s(self) -> Matrix:
        """99th percentile."""
        return self.quantile(0.99)

    def quantile(self, q: float) -> Matrix:
        """One of `quantiles`."""
        return np.asarray(self.quantile_s[self.quantiles.index(q)])

    @property
    def saturated(self) -> npt.NDArray[np.bool_]:
        """Where no latency is to be believed."""
        return np.asarray(self.utilisation >= SATURATED)


def sweep(  # noqa: PLR0913 - what is simulated, and what is to be known of it
    workload: Workload,
    stations: Sequence[Station],
    models: Sequence[ServiceModel],
    *,
    seed: int = 1,
    quantiles: tuple[float, ...] = QUANTILES,
    drain: bool = True,
    compiled: bool = COMPILES,
) -> Sweep:
    """Simulate every station under every model; all share the noise of `seed`. Neither may be empty.

    Without `drain` the capacity, half of the work, is left out.

    `compiled` where numba is installed, by the serving classes otherwise, with the same result: exactly, but for a
    cache that evicts or lets expire, see `rehearse`. Stations that cannot differ in this trace are simulated once.
    """
    likeness = Likeness(workload)
    masks, caches = rehearse_all(workload, stations, models[0])
    cases, case_of = _distinct(map(likeness.station, stations, caches))
    drains, drain_of = _distinct(map(likeness.queue, stations, caches))
    figures = np.full((len(stations), len(models), len(_FIGURES)), np.nan)
    latency_s = np.empty((len(quantiles), len(stations), len(models)))
    for column, model in enumerate(models):
        for fast, part in _parts(cases, lambda case: compiled and likeness.limit(stations[case]) is None):
            members = [stations[case] for case in part]
            if fast:
                fleet = run_compiled(workload, members, masks, caches[part], model, seed=seed)
            else:
                fleet = run_plain(workload, members, model, seed=seed)
            figures[part, column, :-1], latency_s[:, part, column] = _figures(fleet, quantiles)
        for cache, part in _parts(drains if drain else [], lambda first: int(caches[first])):
            members = [msgspec.structs.replace(stations[first], limits=None) for first in part]
            answered = masks[cache] if cache >= 0 else np.zeros(workload.texts, dtype=np.bool_)
            makespan_s = _makespan_s(workload, members, answered, model, seed=seed, compiled=compiled)
            with np.errstate(divide="ignore"):
                figures[part, column, -1] = workload.requests / makespan_s
    figures[..., :-1] = figures[case_of, :, :-1]
    figures[..., -1] = figures[drain_of, :, -1]
    by_name = {name: figures[..., place] for place, name in enumerate(_FIGURES)}
    return Sweep(
        **by_name,
        quantiles=quantiles,
        quantile_s=latency_s[:, case_of, :],
        utilisation=workload.rate / by_name["capacity"],
        distinct=len(cases),
    )


def _distinct(names: Iterable[Hashable]) -> tuple[list[int], list[int]]:
    """Number of the first of each name, and for every entry the number of the first of its name."""
    first: dict[Hashable, int] = {}
    first_of = [first.setdefault(name, number) for number, name in enumerate(names)]
    return list(first.values()), first_of


def _parts(numbers: Iterable[int], of: Callable[[int], N]) -> Iterator[tuple[N, list[int]]]:
    """The numbers by what `of` says of them, at most `_BLOCK` at a time."""
    groups: dict[N, list[int]] = {}
    for number in numbers:
        groups.setdefault(of(number), []).append(number)
    for name, members in groups.items():
        for start in range(0, len(members), _BLOCK):
            yield name, members[start : start + _BLOCK]


def _figures(fleet: Fleet, quantiles: tuple[float, ...]) -> tuple[Matrix, Matrix]:
    """Stations x `_FIGURES` without the last, and quantiles x stations."""
    ordered = np.sort(fleet.latency_s, axis=1)  # NaN comes last
    requests = ordered.shape[1]
    answered = requests - np.isnan(ordered).sum(axis=1)
    last = np.maximum(answered - 1, 0)
    rows = []
    for q in quantiles:
        at = q * last  # type 7 of Hyndman and Fan, as `Outcome.p`
        below = np.floor(at).astype(np.int64)
        low, high = _taken(ordered, below), _taken(ordered, np.minimum(below + 1, last))
        rows.append(low + (high - low) * (at - below))
    with np.errstate(invalid="ignore"):
        mean_s = np.nansum(ordered, axis=1) / answered
        mean_rows = np.where(fleet.batches > 0, fleet.rows / np.maximum(fleet.batches, 1), 0.0)
    columns = [mean_s, 1.0 - answered / requests, fleet.engine_s, mean_rows]
    return np.stack(columns, axis=1), np.stack(rows)


def _taken(ordered: Matrix, places: npt.NDArray[np.int64]) -> Matrix:
    return np.asarray(np.take_along_axis(ordered, places[:, None], axis=1)[:, 0])


def _makespan_s(  # noqa: PLR0913 - as `sweep`, of one kind
    workload: Workload,
    stations: Sequence[Station],
    answered: npt.NDArray[np.bool_],
    model: ServiceModel,
    *,
    seed: int,
    compiled: bool,
) -> Matrix:
    """As `capacity` measures it, of stations that share a rehearsal."""
    trace = drained(workload, answered, model)
    if not compiled:
        return drain_plain(trace, stations, answered, model, seed=seed)
    everywhere = np.zeros(len(stations), dtype=np.int64)
    return run_compiled(
        trace, stations, answered[None, :], everywhere, model, seed=seed, drains=True
    ).makespan_s
