"""Settings simulated per second and core: the compiled twin, and the serving classes themselves as the control.

    python benchmarks/tune_simulation_rate.py [--repeats 5] [--json FILE]

Traces of 600 requests (8..128 tokens, log-uniform, seed 7): steady (Poisson, 120/s), bursty (the same rate in bursts
of eight) and cache-heavy (Zipf 1.3: 68 % of the texts came before); the engine runs t = 0.5 ms + 0.1 ms/row + 60
us/padded token with 5 % noise. 960 settings of rows, cost, wait, adaptive or not, lanes and the gate's SLO, of which
the 672 that can differ are simulated and counted. A setting is all that `sweep` does for it: latency quantiles,
refusals, and its capacity by a second simulation. One thread; the control simulates every fortieth setting and must
show the same p95.
The first call in a new environment compiles (the time is shown), later processes load that from disk.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.policy import L1Policy
from paceline.flow.gate import GatePolicy
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.simulation.sweep import Sweep, sweep
from paceline.tune.workload import Workload

REQUESTS = 600
RATE = 120.0
CONTROL_EVERY = 40
MODEL = ServiceModel(
    a=5e-4, b=1e-4, c=6e-5, contention=0.5, enter_s=2e-4, leave_s=1e-4, hit_s=5e-5, fixed_s=5e-4, spread=0.05
)


def workload(kind: str) -> Workload:
    random = np.random.default_rng(7)
    gaps_s = random.exponential(1 / RATE, REQUESTS)
    if kind == "bursty":
        gaps_s = np.where(np.arange(REQUESTS) % 8 == 0, random.exponential(8 / RATE, REQUESTS), 0.0)
    lengths = np.exp(random.uniform(np.log(8), np.log(128), REQUESTS)).astype(np.int32)
    keys = np.arange(REQUESTS)
    if kind == "cache-heavy":
        keys = random.zipf(1.3, REQUESTS) % 5000
        lengths = lengths[np.unique(keys, return_inverse=True)[1]]
    return Workload.from_requests(np.cumsum(gaps_s), lengths, keys)


def stations(kind: str) -> list[Station]:
    cache = L1Policy() if kind == "cache-heavy" else None
    prior = (MODEL.a, MODEL.b, MODEL.c, MODEL.d)
    grid = itertools.product(
        (1, 2, 4, 8, 16), (128, 256, 512, 1024), (0.0, 2.0, 5.0, 10.0), (True, False), (1, 2, 4), (0.0, 200.0)
    )
    return [
        Station(
            BatchPolicy(max_size=rows, max_cost=cost, max_wait_ms=wait, adaptive=adaptive, bucket=8),
            GatePolicy(slo_ms=slo_ms),
            cache,
            lanes=lanes,
            prior=prior,
        )
        for rows, cost, wait, adaptive, lanes, slo_ms in grid
    ]


def timed(trace: Workload, settings: list[Station], *, compiled: bool) -> tuple[Sweep, float]:
    """The sweep, and distinct settings per second."""
    started = time.perf_counter()
    swept = sweep(trace, settings, [MODEL], compiled=compiled)
    return swept, swept.distinct / (time.perf_counter() - started)


def spread(rates: list[float]) -> str:
    return f"{statistics.median(rates):>8,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    started = time.perf_counter()
    timed(workload("steady"), stations("steady")[:1], compiled=True)
    ready_s = time.perf_counter() - started
    print(f"{platform.processor() or platform.machine()}; first sweep after {ready_s:.1f} s")
    print(f"{'settings/s per core, 600 requests':<34} {'compiled':>26} {'serving classes':>26}")
    rows = []
    for kind in ("steady", "bursty", "cache-heavy"):
        trace, settings = workload(kind), stations(kind)
        few = settings[::CONTROL_EVERY]
        fast, slow = [], []
        for _ in range(options.repeats):
            swept, rate = timed(trace, settings, compiled=True)
            fast.append(rate)
            control, rate = timed(trace, few, compiled=False)
            slow.append(rate)
            if not np.array_equal(swept.p95_s[::CONTROL_EVERY], control.p95_s, equal_nan=True):
                raise SystemExit(f"{kind}: the twins differ")
        print(f"{f'{kind}, {swept.distinct} settings':<34} {spread(fast):>26} {spread(slow):>26}")
        rows.append({"workload": kind, "settings": swept.distinct, "compiled": fast, "serving_classes": slow})
    if options.json:
        options.json.write_text(json.dumps({"first_sweep_s": ready_s, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
