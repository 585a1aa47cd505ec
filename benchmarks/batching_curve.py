"""Served rate and latency over concurrency: our queue, its two controls, and count-based FIFO batching.

    python benchmarks/batching_curve.py [--json FILE]

Closed loops of 1..256 clients that ask again 0.2 ms after their answer, mixed texts (8..128 tokens, log-uniform,
seed 7), one lane, virtual time. Two engines: `cpu` is linear in padded tokens (t = 0.5 ms + 0.1 ms/row +
60 us/token), `gpu` is dominated by its fixed cost (8 ms + 0.02 ms/row + 0.5 us/token).
Columns: adaptive wait (ours), no wait, classic wait (10 ms for a full batch), FIFO by count (32 rows;
it is not charged for rounding lengths up to 8, which shows at 1 and 2 clients).
Also the CPU time of the queue itself per job (put, take and finish; real clock, so noisy).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

from simulation import CPU, GPU, CountQueue, Simulation, mixed_lengths, quantile

from paceline.flow.batch_queue import BatchPolicy, BatchQueue
from paceline.flow.job import Job
from paceline.flow.run_time import RunTime

CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ENGINES = {"cpu": (CPU, 512), "gpu": (GPU, 16_384)}
WAITS = {"adaptive": (10.0, True), "no wait": (0.0, True), "classic": (10.0, False)}


def closed_loop(queue: BatchQueue | CountQueue, engine, clients: int, seconds: float) -> dict[str, float]:
    simulation = Simulation(queue, engine)
    simulation.closed_loop(clients, mixed_lengths)
    simulation.run(seconds)
    done = [(latency_s, length) for at, latency_s, length in simulation.done if at > seconds / 4]
    latencies = [latency_s for latency_s, _ in done]
    return {
        "texts_per_s": len(done) / (seconds * 0.75),
        "tokens_per_s": sum(length for _, length in done) / (seconds * 0.75),
        "p50_ms": quantile(latencies, 0.5) * 1e3,
        "p99_ms": quantile(latencies, 0.99) * 1e3,
        "waited": getattr(queue, "wait_seconds_total", 0.0) / seconds,
    }


def queue_cost_us(standing: int, jobs: int = 30_000) -> float:
    """CPU microseconds per job for put, take and finish with `standing` jobs always in the queue."""
    rng = random.Random(1)
    lengths = [mixed_lengths(rng) for _ in range(jobs + standing)]
    queue, now = BatchQueue(BatchPolicy(max_cost=512, bucket=8), RunTime()), 0.0
    for length in lengths[:standing]:
        queue.put(Job(None, length, deadline_at=30.0), now)
    started = time.process_time()
    for number, length in enumerate(lengths[standing:]):
        now += 1e-4
        queue.put(Job(None, length, deadline_at=now + 30.0), now)
        while number % 8 == 7 and queue.depth > standing:
            batch = queue.take(now)
            queue.wake_at()
            if batch is None:
                break
            queue.finished(batch, now, 1e-3)
    return (time.process_time() - started) / jobs * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--seconds", type=float, default=20.0, help="virtual seconds per point (default 20)")
    options = parser.parse_args()
    report: dict[str, object] = {"seconds": options.seconds, "curves": []}
    for name, (engine, max_cost) in ENGINES.items():
        print(f"\n{name}: real tokens/s | p50 ms | p99 ms | share of time an idle engine waited")
        print(f"{'clients':>8}" + "".join(f"{column:>31}" for column in (*WAITS, "FIFO by count")))
        for clients in CLIENTS:
            cells = {}
            for column, (max_wait_ms, adaptive) in WAITS.items():
                policy = BatchPolicy(
                    max_size=64, max_cost=max_cost, bucket=8, max_wait_ms=max_wait_ms, adaptive=adaptive
                )
                cells[column] = closed_loop(BatchQueue(policy, RunTime()), engine, clients, options.seconds)
            cells["FIFO by count"] = closed_loop(CountQueue(32), engine, clients, options.seconds)
            report["curves"].append({"engine": name, "clients": clients, **cells})  # type: ignore[attr-defined]
            print(
                f"{clients:>8}"
                + "".join(
                    f"{cell['tokens_per_s']:>10.0f} {cell['p50_ms']:>6.1f} {cell['p99_ms']:>7.1f} {cell['waited']:>5.1%}"
                    for cell in cells.values()
                )
            )
    report["queue_us_per_job"] = {standing: queue_cost_us(standing) for standing in (0, 64, 10_000)}
    print("\nCPU us per job (put + take + finish), by jobs standing in the queue: ", end="")
    print(", ".join(f"{standing}: {cost:.1f}" for standing, cost in report["queue_us_per_job"].items()))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
