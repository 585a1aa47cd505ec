"""A bench without sockets: the server is the simulation with costs of its own, on a machine that is as noisy as ours.

What the tuner believes of the server it has to find out as it does everywhere, by probes and runs; how the server
really is stands in `TRUTH`. A whole tune takes a second or two, and its clock is virtual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from machine_noise import QUIET, MachineNoise
from paceline.base.errors import TrialFailed
from paceline.base.slo import Objective
from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.policy import L1Policy
from paceline.tune.bench import LiveRun
from paceline.tune.calibrate.batch_log import BatchLog
from paceline.tune.goal import Goal
from paceline.tune.knob import Knob
from paceline.tune.observation import Observation
from paceline.tune.order import Order
from paceline.tune.setting import Setting, Value
from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.space import Space
from paceline.tune.workload import Workload

TRUTH = ServiceModel(
    a=1.2e-3, b=2e-4, c=2.5e-5, d=1e-8, contention=0.3, enter_s=2e-4, leave_s=1e-4, hit_s=8e-5, fixed_s=4e-4,
    spread=0.1,
)  # fmt: skip
SLOW = Station(
    BatchPolicy(max_size=32, max_cost=2048, max_wait_ms=20.0, adaptive=False, bucket=8), cache=L1Policy()
)
"""Waits 20 ms for company that rarely comes: there is much to gain."""
QUICK = Station(
    BatchPolicy(max_size=32, max_cost=2048, max_wait_ms=0.0, adaptive=True, bucket=8), cache=L1Policy()
)
"""As good as it gets."""
WAIT, SIZE, ADAPTIVE = "embed.batch.max_wait_ms", "embed.batch.max_size", "embed.batch.adaptive"
P95 = Objective("p95_ms", "p95 latency", 60, 120, "ms")
ERRORS = Objective("error_percent", "errors", 1, 2, "%")
RUN_S = 0.5
"""What a run takes besides its trace."""
TOLD = 256
"""Batches that the server remembers of a run at most."""


def poisson(rate: float, requests: int, *, seed: int = 1, lengths: tuple[int, int] = (8, 64)) -> Workload:
    """Arrivals by chance of texts that are all different, their lengths uniform."""
    source = np.random.default_rng(seed)
    arrive_s = np.cumsum(source.exponential(1.0 / rate, requests))
    return Workload.from_requests(
        arrive_s - arrive_s[0], source.integers(*lengths, requests, dtype=np.int32, endpoint=True)
    )


LOAD = poisson(120.0, 180)
"""A second and a half at about a third of what the server can do."""


def turned(station: Station, setting: Setting) -> Station:
    """What the server makes of a setting."""
    policies: dict[str, dict[str, Value]] = {}
    for name, value in setting.items():
        group, _, field = name.rpartition(".")
        policy = {"embed.batch": "batch", "embed.gate": "gate", "cache.l1": "cache"}.get(group)
        if policy is not None:
            policies.setdefault(policy, {})[field] = value
    changes = {policy: replace(getattr(station, policy), **fields) for policy, fields in policies.items()}
    return replace(station, **changes)


class SimulatedBench:
    """`Bench` on virtual time. `events` names all that was asked of the server, in order."""

    def __init__(
        self,
        station: Station = SLOW,
        workload: Workload = LOAD,
        *,
        truth: ServiceModel = TRUTH,
        noise: MachineNoise = QUIET,
        seed: int = 1,
        disturbed: Callable[[int, Setting], float | None] = lambda number, setting: 1.0,
        tells: bool = True,
    ) -> None:
        """`disturbed` is asked before the n-th run (from 1): a factor on its latencies; None if the server dies.

        What else it raises ends the run. `tells`: whether the server tells of its batches and its CPU time.
        """
        self.requests = workload.requests
        self.duration_s = workload.duration_s
        self.events: list[str] = []
        self.setting: Setting = {}
        """What is in force; the baseline is empty."""
        self.runs = 0
        self._station, self._workload, self._truth = station, workload, truth
        self._tells = tells
        self._disturbed = disturbed
        self._source = np.random.default_rng(seed)
        self._noise = iter(noise.runs(self._source, 500))
        self._batches: list[Sequence[float]] = []
        self._at_s = 0.0

    def now(self) -> float:
        """The clock of the tune."""
        return self._at_s

    def run(self, setting: Setting, *, speed: float = 1.0, part: tuple[int, int] | None = None) -> LiveRun:
        """See `Bench.run`."""
        self.runs += 1
        self.events.append("run")
        self.setting = dict(setting)
        factor = self._disturbed(self.runs, setting)
        workload = cut(self._workload, part).faster(speed)
        self._at_s += workload.duration_s + RUN_S
        if factor is None:
            raise TrialFailed("the server died during the run")
        station = turned(self._station, setting)
        seed = int(self._source.integers(1 << 30))
        outcome = replay(workload, station, self._truth, seed=seed)
        slower = factor * np.exp(next(self._noise))
        texts_s = outcome.rows * (self._truth.enter_s + self._truth.leave_s)
        self._batches.clear()
        self._tell(workload, station, outcome.mean_rows, outcome.batches)
        return LiveRun(
            Observation(
                outcome.latency_s * 1e3 * slower,
                sent=workload.requests,
                failed=outcome.refused,
                duration_s=workload.duration_s,
                cpu_s=float((outcome.engine_s + texts_s) * slower) if self._tells else None,
            ),
            self.take_batches(),
        )

    def trace(self) -> Workload:
        """See `Bench.trace`."""
        return self._workload

    def probe(self, rows: int, length: int) -> None:
        """See `Bench.probe`."""
        self._ran(rows, length)

    def take_batches(self) -> BatchLog:
        """See `Bench.take_batches`."""
        log = BatchLog.of(self._batches if self._tells else [])
        self._batches.clear()
        return log

    def revert(self) -> None:
        """See `Bench.revert`."""
        self.events.append("revert")
        self.setting = {}

    def keep(self, setting: Setting) -> None:
        """See `Bench.keep`."""
        self.events.append("keep")
        self.setting = dict(setting)

    def _tell(self, workload: Workload, station: Station, mean_rows: float, batches: int) -> None:
        """Batches as large on average as they were, of texts of this load."""
        for _ in range(min(batches, TOLD)):
            rows = 1 + int(self._source.poisson(mean_rows - 1.0))
            length = int(self._source.choice(workload.length, rows).max())
            self._ran(rows, length, station.batch.bucket)

    def _ran(self, rows: int, length: int, bucket: int = 8) -> None:
        padded = -(-length // bucket) * bucket
        run_s = self._truth.run_s(rows, padded) * np.exp(self._truth.spread * self._source.standard_normal())
        self._batches.append((self._at_s, rows, padded, rows * length, 1, 0.0, float(run_s)))


def cut(workload: Workload, part: tuple[int, int] | None) -> Workload:
    """Some of the requests, from 0 on."""
    if part is None:
        return workload
    texts = slice(int(workload.starts[part[0]]), int(workload.starts[part[1]]))
    arrive_s = workload.arrive_s[texts] - workload.arrive_s[texts][0]
    return Workload(
        arrive_s,
        workload.length[texts],
        workload.key[texts],
        workload.request[texts] - workload.request[texts][0],
        float(arrive_s[-1]) + 1.0 / workload.rate,
    )


def knobs(station: Station, values: Mapping[str, Sequence[Value]]) -> list[Knob]:
    """With the station's own values as baselines."""
    return [
        Knob(name, getattr(station.batch, name.rpartition(".")[2]), tuple(values[name])) for name in values
    ]


KNOBS = {WAIT: (0.0, 2.0, 5.0, 20.0), SIZE: (1, 4, 32), ADAPTIVE: (True, False)}


def order_for(
    station: Station = SLOW,
    *,
    goal: Goal | None = None,
    values: Mapping[str, Sequence[Value]] | None = None,
    more: Sequence[Knob] = (),
    blackbox: bool = False,
    **changes: object,
) -> Order:
    """An order to tune the queue of this station; `changes` are fields of it."""
    return Order(
        url="http://simulated",
        goal=goal or Goal((P95, ERRORS)),
        space=Space([*knobs(station, values or KNOBS), *more]),
        service="embed",
        station=None if blackbox else station,
        source="simulated",
        **changes,
    )
