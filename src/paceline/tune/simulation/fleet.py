"""One trace through many stations under one model, by the serving classes or by their compiled twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload

Masks = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
COMPILES = find_spec("numba") is not None
"""Whether the compiled twin can be used."""


@dataclass(frozen=True, eq=False)
class Fleet:
    """One entry of each array, or one row, a station."""

    latency_s: Floats
    """Stations x requests, NaN where refused."""
    engine_s: Floats
    makespan_s: Floats
    rows: npt.NDArray[np.int64]
    batches: npt.NDArray[np.int64]


def run_plain(
    workload: Workload, stations: Sequence[Station], model: ServiceModel, *, seed: int = 1
) -> Fleet:
    """Replay the trace in each station."""
    outcomes = [replay(workload, station, model, seed=seed) for station in stations]
    return Fleet(
        np.array([outcome.latency_s for outcome in outcomes]).reshape(len(stations), workload.requests),
        np.array([outcome.engine_s for outcome in outcomes]),
        np.array([outcome.makespan_s for outcome in outcomes]),
        np.array([outcome.rows for outcome in outcomes], dtype=np.int64),
        np.array([outcome.batches for outcome in outcomes], dtype=np.int64),
    )


def drain_plain(
    workload: Workload,
    stations: Sequence[Station],
    answered: npt.NDArray[np.bool_],
    model: ServiceModel,
    *,
    seed: int = 1,
) -> Floats:
    """Instant of the last answer in each station; `answered` texts are cached, and nothing is refused."""
    return np.array(
        [
            replay(workload, station, model, seed=seed, gate=False, answered=answered).makespan_s
            for station in stations
        ]
    )


def run_compiled(  # noqa: PLR0913 - as `run_plain`, with the rehearsals
    workload: Workload,
    stations: Sequence[Station],
    masks: Masks,
    places: npt.NDArray[np.int64],
    model: ServiceModel,
    *,
    seed: int = 1,
    drains: bool = False,
) -> Fleet:
    """As `run_plain` where the rehearsals hold; limiters are left out.

    Station i finds cached what row `places[i]` of `masks` names and has been computed before; a place of -1 is a
    station without a cache. With `drains`, what a row names is cached from the start, no equal texts share a run, and
    nothing is refused, as in `drain_plain`.
    """
    # Compiled code is loaded at the first sweep, not with the package.
    from paceline.tune.simulation.compiled.loop import run_all  # noqa: PLC0415
    from paceline.tune.simulation.compiled.state import (  # noqa: PLC0415
        ADMISSION,
        BATCH,
        BUCKET,
        KEY,
        MODEL,
        SERVER,
        TEXT,
        World,
    )

    servers = np.zeros(len(stations), SERVER)
    for server, station, place in zip(servers, stations, places, strict=True):
        batch, gate = station.batch, station.gate
        server["max_size"], server["max_cost"], server["bucket"] = (
            batch.max_size,
            batch.max_cost,
            batch.bucket,
        )
        server["max_wait_ms"], server["adaptive"], server["lanes"] = (
            batch.max_wait_ms,
            batch.adaptive,
            station.lanes,
        )
        server["gated"], server["drains"], server["mask"] = not drains, drains, place
        server["max_queue"], server["max_queue_tokens"] = gate.max_queue, gate.max_queue_tokens
        server["slo_ms"] = gate.slo_ms
        server["a"], server["b"], server["c"], server["d"] = station.prior
    names, keys = np.unique(workload.key, return_inverse=True)
    texts = np.zeros(workload.texts, TEXT)
    texts["arrive_s"], texts["length"], texts["request"] = (
        workload.arrive_s,
        workload.length,
        workload.request,
    )
    texts["key"] = keys
    world = World(
        starts=workload.starts,
        texts=texts,
        noise=model.noise(seed, workload.texts),
        masks=masks if len(masks) else np.zeros((1, workload.texts), np.bool_),
        latency_s=np.empty((len(stations), workload.requests)),
        keys=np.zeros(len(names), KEY),
        buckets=np.zeros(-(-int(workload.length.max()) // servers["bucket"].min()) + 1, BUCKET),
        batches=np.zeros(servers["lanes"].max() + 1, BATCH),
        coming=np.zeros(workload.requests + 1, ADMISSION),
        missing=np.zeros(workload.requests, np.int64),
    )
    numbers = np.array([tuple(getattr(model, name) for name in MODEL.names or ())], MODEL)
    run_all(servers, numbers[0], world)
    return Fleet(
        world.latency_s,
        servers["engine_s"],
        servers["makespan_s"],
        servers["rows_total"],
        servers["batches_total"],
    )
