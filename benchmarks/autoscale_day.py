"""A recorded day, autoscaled: `python benchmarks/autoscale_day.py [--slo-ms 300 40 25] [--scale 7]`.

The day (`data/recorded_day.csv`, made by `record_day.py`) is that of one replica on one core. Multiplied by `--scale` it
becomes that of a service which needs 3 to 10 replicas of the same kind. Nothing here is random.

1. Claim: with CPU and memory alone our policy stays within one replica of the HorizontalPodAutoscaler. Both look every
   15 s, each at a fleet of its own whose CPU is the recorded CPU, multiplied and divided by its replicas; memory is the
   recorded memory of 512 MB. Control: `tests/hpa.py`, the autoscaler's documented rules written plainly.
2. What queue depth and p95 add: minutes with p95 over the SLO, and replica hours, beside the autoscaler at its usual CPU
   target and at lower ones, which is how it buys latency. The fleet is `paceline.tune.simulation.day`, fitted to the
   day: the capacity at which p95 x (1 - rate / capacity) is most nearly the same in all minutes, CPU by rate, and the
   idle p95 of each minute as recorded, noise and all. Replicas take 30 s to start. p95 is held to 0.8 of the SLO, and the
   queue to 8 jobs a replica.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from hpa import Hpa
from paceline.flow.autoscale import AutoscalePolicy, Decision, Signals, State
from paceline.tune.simulation.day import Decide, FleetOutcome, Replica, replay_day

FILE = Path(__file__).parent / "data" / "recorded_day.csv"
MEMORY_MB = 512
"""What a replica may use."""
Floats = npt.NDArray[np.float64]


def recorded(file: Path = FILE) -> dict[str, Floats]:
    """Each column of the day. A value that was not measured is that of the minute before."""
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    day = {}
    for name in rows[0]:
        values: list[float] = []
        for row in rows:
            values.append(float(row[name]) if row[name] else values[-1])
        day[name] = np.array(values)
    return day


def hpa(cpu_percent: int = 70) -> Decide:
    """The twin as a way to decide; it remembers by itself."""
    twin = Hpa(0, targets={"cpu": cpu_percent, "memory": 80})

    def decide(_policy: AutoscalePolicy, state: State, signals: Signals, now: float) -> Decision:
        twin.replicas = state.replicas
        silent = [None] * (state.replicas - signals.reporting)
        cpu, memory = [signals.cpu_percent] * signals.reporting, [signals.memory_percent] * signals.reporting
        replicas = twin.sync(now, {"cpu": cpu + silent, "memory": memory + silent})
        return Decision(replicas, "", State(replicas))

    return decide


def beside_the_autoscaler(day: dict[str, Floats], scale: float) -> None:
    """Part 1."""
    policy = AutoscalePolicy()
    replica = Replica(100.0, memory_percent=day["memory_mb"] / MEMORY_MB * 100, start_s=0.0)
    ours, theirs = (
        replay_day(day["cpu_percent"] * scale, policy, replica, slo_ms=1.0, **decide)
        for decide in ({}, {"decide": hpa()})
    )
    differences = Counter((ours.replicas - theirs.replicas).tolist())
    print("replicas of ours less the autoscaler's, share of the looks (15 s each):")
    for difference, count in sorted(differences.items()):
        print(f"  {difference:+d}  {count / len(ours.replicas):7.2%}")
    print(f"largest difference {max(map(abs, differences))}")
    for name, outcome in (("ours", ours), ("autoscaler", theirs)):
        low, high = outcome.replicas.min(), outcome.replicas.max()
        print(f"{name:12} {low} to {high} replicas, {outcome.changes} changes, {outcome.replica_hours:.1f} h")


def turns(outcome: FleetOutcome) -> int:
    """How often a change undid the one before it within ten minutes."""
    at = np.flatnonzero(np.diff(outcome.replicas))
    steps = np.diff(outcome.replicas)[at]
    return int(((steps[1:] * steps[:-1] < 0) & (np.diff(at) * outcome.sync_s < 600)).sum())


def fitted(day: dict[str, Floats]) -> Replica:
    """The replica that was recorded, as the formula of the fleet has it."""
    rate, p95_ms = day["offered_per_s"], day["p95_ms"]

    def error(capacity_per_s: float) -> float:
        idle = np.log(p95_ms * (1 - rate / capacity_per_s))
        return float(np.abs(idle - np.median(idle)).mean())

    capacity_per_s = min(np.linspace(1.02, 2.5, 149) * rate.max(), key=error)
    share = rate / capacity_per_s
    knots = [0.0]
    for knot in np.linspace(0.1, 1.0, 10):
        near = np.abs(share - knot) < 0.05
        knots.append(max(knots[-1], float(np.median(day["cpu_percent"][near]))) if near.any() else 100.0)
    memory = day["memory_mb"] / MEMORY_MB * 100
    return Replica(float(capacity_per_s), p95_ms * (1 - share), tuple(knots), memory)


def with_symptoms(day: dict[str, Floats], scale: float, slos_ms: list[float]) -> None:
    """Part 2."""
    replica, rate = fitted(day), day["offered_per_s"]
    idle_ms = np.asarray(replica.base_ms)
    off = np.abs(np.median(idle_ms) / idle_ms - 1)
    print(
        f"\na replica does {replica.capacity_per_s:.0f}/s, idle p95 {np.median(idle_ms):.1f} ms; the formula's p95 is off "
        f"by {np.median(off):.0%} (median of the minutes; 9 of 10 within {np.quantile(off, 0.9):.0%})"
    )
    print(f"CPU at 0, 10, ... 100 % of that: {', '.join(f'{knot:.0f}' for knot in replica.cpu_percent)} %")
    for slo_ms in slos_ms:
        beside_lower_targets(replica, rate, scale, slo_ms)


def beside_lower_targets(replica: Replica, rate: Floats, scale: float, slo_ms: float) -> None:
    """One table."""
    contestants: list[tuple[str, AutoscalePolicy, Decide | None]] = [
        ("always 10", AutoscalePolicy(min_replicas=10), None),
        *((f"autoscaler, CPU {percent} %", AutoscalePolicy(), hpa(percent)) for percent in (70, 60, 50, 40)),
        ("ours, CPU 70 % and memory", AutoscalePolicy(), None),
        ("ours, and queue and p95", AutoscalePolicy(queue_depth=8, p95_ms=0.8 * slo_ms), None),
    ]
    print(f"\nSLO: p95 {slo_ms:g} ms")
    print(f"{'':28}{'minutes over':>13}{'of requests':>12}{'replica hours':>14}{'changes':>9}{'undone':>8}")
    for name, policy, decide in contestants:
        given = {} if decide is None else {"decide": decide}
        outcome = replay_day(rate * scale, policy, replica, slo_ms=slo_ms, **given)
        over = outcome.p95_ms > slo_ms
        late = np.repeat(rate, round(60 / outcome.sync_s))[over].sum() / rate.sum() / (60 / outcome.sync_s)
        print(
            f"{name:28}{outcome.violated_minutes:13.1f}{late:12.2%}{outcome.replica_hours:14.1f}{outcome.changes:9d}"
            f"{turns(outcome):8d}"
        )


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--scale", type=float, default=7.0)
    parser.add_argument("--slo-ms", type=float, nargs="+", default=[300.0, 40.0, 25.0])
    options = parser.parse_args()
    print(options.file.open(encoding="utf-8").readline().removeprefix("# ").strip())
    day = recorded(options.file)
    beside_the_autoscaler(day, options.scale)
    with_symptoms(day, options.scale, options.slo_ms)


if __name__ == "__main__":
    main()
