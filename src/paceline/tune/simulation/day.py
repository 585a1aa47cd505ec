"""A day of a service whose replicas are autoscaled, on virtual time: the real `decide`, a formula for each replica.

The formula. Work is shared evenly, so that each of n ready replicas has utilisation u = demand / (n x capacity).

- p95 is `base_ms` / (1 - u): the time in a single-server queue (M/M/1) of which `base_ms` is the p95 when idle;
- u² / (1 - u) jobs wait at each;
- its CPU is u, or what `cpu_percent` says of it: batches make a busy replica cheaper by the request;
- what is over the capacity piles up and is worked off when there is room (a fluid queue): the whole pile over the
  capacity of all is added to p95, and the pile over n to the queue;
- 1 - u is never taken for less than `LEAST_IDLE`: no queue reaches its long-run mean within one look at it.

It leaves out caches, unevenly shared work and refusals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from paceline.base.errors import ConfigError
from paceline.flow.autoscale import AutoscalePolicy, Decision, Signals, State, decide

LEAST_IDLE = 0.05

Floats = npt.NDArray[np.float64]
Decide = Callable[[AutoscalePolicy, State, Signals, float], Decision]


@dataclass(frozen=True)
class Replica:
    """What each replica is like."""

    capacity_per_s: float
    """Requests per second at a utilisation of 1."""
    base_ms: float | Floats = 10.0
    """p95 of a replica with nothing else to do; one value, or one for each step of the day."""
    cpu_percent: tuple[float, ...] = (0.0, 100.0)
    """CPU at utilisations evenly spaced from 0 to 1, straight lines between."""
    memory_percent: float | Floats = 0.0
    """Of what it may use; one value, or one for each step."""
    start_s: float = 30.0
    """From the decision to add it until it takes its share."""


@dataclass(frozen=True, eq=False)
class FleetOutcome:
    """One entry for each look at the fleet, `sync_s` apart; what was measured in that time, and decided before it."""

    sync_s: float
    slo_ms: float
    replicas: npt.NDArray[np.int64]
    """Wanted, those that start included."""
    ready: npt.NDArray[np.int64]
    utilisation: Floats
    """Of the ready ones, 0 to 1."""
    p95_ms: Floats
    queue_depth: Floats
    """Jobs waiting per ready replica."""
    why: tuple[str, ...]
    """Of the decision at the end of each look."""

    @property
    def replica_hours(self) -> float:
        """What the day cost."""
        return float(self.replicas.sum()) * self.sync_s / 3600

    @property
    def violated_minutes(self) -> float:
        """Time with p95 over the SLO."""
        return float((self.p95_ms > self.slo_ms).sum()) * self.sync_s / 60

    @property
    def changes(self) -> int:
        """How often the number of replicas changed."""
        return int((np.diff(self.replicas) != 0).sum())


def replay_day(  # noqa: PLR0913 - the day, the fleet, and how it is looked at
    demand_per_s: Floats,
    policy: AutoscalePolicy,
    replica: Replica,
    *,
    slo_ms: float,
    step_s: float = 60.0,
    sync_s: float = 15.0,
    decide: Decide = decide,
) -> FleetOutcome:
    """What becomes of a service that is offered `demand_per_s` (one value a step) and decides every `sync_s`.

    It begins with as many replicas as bring the first step to `policy.cpu_percent`. Another `decide` of the same shape may be compared.
    Raises ConfigError for a day that cannot be replayed.
    """
    _refuse(demand_per_s, replica, step_s, sync_s)
    steps, looks = len(demand_per_s), round(step_s / sync_s)
    base_ms = np.broadcast_to(np.asarray(replica.base_ms, np.float64), steps)
    memory = np.broadcast_to(np.asarray(replica.memory_percent, np.float64), steps)
    first = demand_per_s[0] / replica.capacity_per_s / ((policy.cpu_percent or 100) / 100)
    state = State(int(min(max(np.ceil(first), policy.min_replicas), policy.max_replicas)))
    fleet = _Fleet(replica, state.replicas)
    rows: list[tuple[int, int, float, float, float]] = []
    why = []
    for look in range(steps * looks):
        step, now = look // looks, (look + 1) * sync_s
        seen = fleet.serve(demand_per_s[step], base_ms[step], look * sync_s, sync_s)
        rows.append((state.replicas, seen.reporting, seen.utilisation, seen.p95_ms, seen.queue_depth))
        signals = Signals(
            seen.reporting,
            _cpu_percent(replica, seen.utilisation),
            float(memory[step]),
            seen.queue_depth,
            seen.p95_ms,
        )
        decision = decide(policy, state, signals, now)
        why.append(decision.why)
        state = decision.state
        fleet.resize(state.replicas, now)
    wanted, ready, utilisation, p95_ms, queue_depth = zip(*rows, strict=True)
    return FleetOutcome(
        sync_s,
        slo_ms,
        np.array(wanted, np.int64),
        np.array(ready, np.int64),
        np.array(utilisation),
        np.array(p95_ms),
        np.array(queue_depth),
        tuple(why),
    )


def _refuse(demand_per_s: Floats, replica: Replica, step_s: float, sync_s: float) -> None:
    if not len(demand_per_s) or not np.isfinite(demand_per_s).all() or demand_per_s.min() < 0:
        raise ConfigError(
            "the demand must be one finite rate >= 0 for each step; fill gaps before the replay"
        )
    if not replica.capacity_per_s > 0:
        raise ConfigError(
            f"a replica of {replica.capacity_per_s} requests/s serves nobody; give what it does"
        )
    if sync_s <= 0 or abs(step_s / sync_s - round(step_s / sync_s)) > 1e-9 or step_s < sync_s:
        raise ConfigError(
            f"a step of {step_s} s is no whole number of looks of {sync_s} s; change one of them"
        )


def _cpu_percent(replica: Replica, utilisation: float) -> float:
    knots = replica.cpu_percent
    return float(np.interp(utilisation, np.linspace(0, 1, len(knots)), knots))


@dataclass(frozen=True)
class _Seen:
    reporting: int
    utilisation: float
    p95_ms: float
    queue_depth: float


class _Fleet:
    """The replicas there are and the work that has piled up."""

    def __init__(self, replica: Replica, replicas: int) -> None:
        self._replica = replica
        self._ready_at = [0.0] * replicas
        """Ascending."""
        self._pile = 0.0

    def resize(self, replicas: int, now: float) -> None:
        """The last to come are the first to go."""
        del self._ready_at[replicas:]
        self._ready_at += [now + self._replica.start_s] * (replicas - len(self._ready_at))

    def serve(self, rate: float, base_ms: float, now: float, span_s: float) -> _Seen:
        """`span_s` of work at `rate`, by those that are ready at its beginning."""
        ready = sum(at <= now for at in self._ready_at)
        capacity = ready * self._replica.capacity_per_s
        before, arrived, could = self._pile, rate * span_s, capacity * span_s
        self._pile = max(0.0, before + arrived - could)
        idle = max(1 - rate / capacity, LEAST_IDLE)
        return _Seen(
            ready,
            min(1.0, (before + arrived) / could),
            base_ms / idle + 1e3 * max(before, self._pile) / capacity,
            (1 - idle) ** 2 / idle + self._pile / ready,
        )
