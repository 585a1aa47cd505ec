"""A tune joined together: whose settings, which load, and what the tuner is to do with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from paceline.app.tuning.admin import Admin
from paceline.app.tuning.bench import LoadBench, TunedServer
from paceline.app.tuning.neighbours import NeighbourGate
from paceline.app.tuning.plant import live_knobs, service_of, station_of
from paceline.app.tuning.recall_gate import RecallGate, check_reached
from paceline.app.tuning.restarted import Restarted
from paceline.base.errors import ConfigError
from paceline.measure.plan import Plan
from paceline.measure.records.host import this_host
from paceline.tune.goal import Goal
from paceline.tune.knob import Knob
from paceline.tune.knob_file import KnobFile, read_knob_file
from paceline.tune.launched import LaunchedServer
from paceline.tune.order import Order
from paceline.tune.quality import QualityGate
from paceline.tune.simulation.fleet import COMPILES
from paceline.tune.simulation.station import Station
from paceline.tune.space import Space

LEAST_REQUESTS: Final = 40
"""Of a trial: two are above the p95 of so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user wants of a tune, besides server and load."""

    goal: Goal
    knobs: tuple[str, ...] = ()
    budget_s: float
    max_runs: int
    candidates: int
    margin: float
    allowed_loss: float | None = 0.0
    least_quality: float | None = None
    apply: bool = False
    blackbox: bool = False
    patience: int = 1
    """How often a run is repeated that other programs on the machine disturbed."""
    seed: int = 1


@contextmanager
def running(
    plan: Plan, source: str, asked: Asked, admin: Admin, interrupted: Callable[[], bool]
) -> Iterator[tuple[LoadBench, Order]]:
    """A running Paceline, through `/admin`; it is back on its baseline afterwards unless told to keep.

    Raises ConfigError for knobs that cannot be turned, Unauthorised, Unreachable.
    """
    told = admin.settings()
    service = service_of(plan.payload.task, told)
    knobs = live_knobs(told, asked.knobs, service)
    station = None if asked.blackbox else station_of(admin, told, service)
    if station is not None:
        _check_compiler()
        knobs = [_resolved(knob, station) for knob in knobs]
    try:
        bench = _bench(plan, admin, asked, interrupted)
        gate: QualityGate | None = None
        if plan.payload.task == "vectors":
            check_reached(plan, knobs, str(told["vectors.collection"]["value"]))
            gate = RecallGate(plan, admin)
        yield bench, _order(plan, source, asked, knobs, service, station, gate)
    finally:
        admin.revert()


@dataclass(frozen=True, slots=True)
class Launched:
    """A server that runs because we started it, and what may be turned on it."""

    server: LaunchedServer
    knobs: list[Knob]


@contextmanager
def launching(command: str, file: Path, names: Sequence[str], url: str) -> Iterator[Launched]:
    """Any server, started by us on its baseline, so that it can be asked what it speaks; it ends with the tune.

    Raises ConfigError for knobs that cannot be, Unreachable for a command that does not even start the baseline.
    """
    declared = read_knob_file(file)
    chosen = chosen_knobs(declared, names)
    with LaunchedServer(command, declared, url) as server:
        server.apply({})
        yield Launched(server, chosen)


def launched(
    plan: Plan, source: str, asked: Asked, started: Launched, interrupted: Callable[[], bool]
) -> tuple[LoadBench, Order]:
    """Tune it: every setting is a restart. Raises ConfigError for a load that tells nothing."""
    restarted = Restarted(started.server)
    bench = _bench(plan, restarted, asked, interrupted)
    gates: dict[str, Callable[[Plan, TunedServer], QualityGate]] = {
        "embeddings": NeighbourGate,
        "vectors": RecallGate,
    }
    gate = gates[plan.payload.task](plan, restarted) if plan.payload.task in gates else None
    order = _order(plan, source, asked, started.knobs, "", None, gate)
    return bench, replace(order, reach="launch")


def _check_compiler() -> None:
    """Raises ConfigError: by the serving classes alone a tune would simulate for the better part of an hour."""
    if not COMPILES:
        raise ConfigError(
            "the simulator needs numba, which is not installed: pip install 'paceline[tune]'; "
            "or --blackbox, which searches live and needs Optuna of the same extra"
        )


def _bench(plan: Plan, server: TunedServer, asked: Asked, interrupted: Callable[[], bool]) -> LoadBench:
    """Raises ConfigError for a load of which a trial tells nothing."""
    bench = LoadBench(plan, server, interrupted=interrupted, patience=asked.patience)
    if bench.requests < LEAST_REQUESTS:
        raise ConfigError(
            f"a trial of {bench.requests} requests tells nothing of a p95; send {LEAST_REQUESTS} or more with a higher "
            "--rate, a longer --duration or a longer --trace",
            param="duration",
        )
    return bench


def chosen_knobs(declared: KnobFile, names: Sequence[str]) -> list[Knob]:
    """Those of the file, or the named ones of them. Raises ConfigError."""
    known = {knob.name: knob for knob in declared.knobs}
    for name in names:
        if name not in known:
            raise ConfigError(
                f"--knob {name}: not in {declared.path}, which has {', '.join(known)}", param="knob"
            )
    return [knob for knob in declared.knobs if not names or knob.name in names]


def _order(  # noqa: PLR0913, PLR0917 - the parts of an order
    plan: Plan,
    source: str,
    asked: Asked,
    knobs: Sequence[Knob],
    service: str,
    station: Station | None,
    gate: QualityGate | None,
) -> Order:
    host = this_host()
    return Order(
        url=plan.target.url,
        goal=asked.goal,
        space=Space(knobs),
        service=service,
        station=station,
        source=source,
        budget_s=asked.budget_s,
        max_runs=asked.max_runs,
        candidates=asked.candidates,
        margin=asked.margin,
        apply=asked.apply,
        gate=gate,
        allowed_loss=asked.allowed_loss,
        least_quality=asked.least_quality,
        seed=asked.seed,
        machine=f"{host.hostname}: {host.cpu}, {host.cores} cores, {host.system}, Python {host.python}",
    )


def _resolved(knob: Knob, station: Station) -> Knob:
    """With the value in force where the setting says 0 for the measured layout's."""
    if knob.name.endswith(".batch.max_cost") and knob.baseline == 0:
        return msgspec.structs.replace(knob, baseline=station.batch.max_cost)
    return knob
