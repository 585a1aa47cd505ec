"""Goodput under overload: our gate and queue, our queue without the gate, and FIFO batches by count (control).

    python benchmarks/overload_simulated.py [--json FILE]

Poisson arrivals of mixed texts (8..128 tokens, log-uniform, seed 7) at 0.8, 1.3 and 10 times the capacity of two
lanes; nobody retries; SLO 300 ms; virtual time; the engine runs t = 0.5 ms + 0.1 ms/row + 60 us/padded token with
3 % noise, and nobody is told these coefficients. Capacity is what 256 clients in a closed loop get from the same
queue. Good is an answer inside the SLO; goodput is real tokens of good answers (or of what is offered, if less)
over capacity. The first quarter of each run is left out.
The last column is CPU time of the whole simulation per request offered (real clock, so noisy).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from simulation import CPU, CountQueue, Simulation, mixed_lengths, quantile

from paceline.flow.batch_queue import BatchPolicy, BatchQueue
from paceline.flow.gate import Gate, GatePolicy
from paceline.flow.run_time import RunTime

LANES = 2


def our_queue() -> BatchQueue:
    return BatchQueue(BatchPolicy(max_size=32, max_cost=512, bucket=8), RunTime(), LANES)


def capacity(seconds: float) -> tuple[float, float]:
    """Texts/s and tokens/s of a queue that never runs empty."""
    simulation = Simulation(our_queue(), CPU)
    simulation.closed_loop(256, mixed_lengths)
    simulation.run(seconds)
    done = [length for at, _, length in simulation.done if at > seconds / 4]
    return len(done) / (seconds * 0.75), sum(done) / (seconds * 0.75)


def overload(name: str, rate: float, slo_s: float, seconds: float) -> dict[str, float]:
    simulation = Simulation(CountQueue(32, LANES) if name == "FIFO by count" else our_queue(), CPU)
    if name == "gate":
        simulation.gate = Gate(GatePolicy(slo_ms=slo_s * 1e3), simulation.queue, simulation.clock)
    simulation.open_loop(rate, mixed_lengths, seconds)
    started = time.process_time()
    simulation.run(seconds)
    cpu_s = time.process_time() - started
    done = [(latency_s, length) for at, latency_s, length in simulation.done if at > seconds / 4]
    good = [length for latency_s, length in done if latency_s <= slo_s]
    latencies = [latency_s for latency_s, _ in done]
    return {
        "good_texts_per_s": len(good) / (seconds * 0.75),
        "good_tokens_per_s": sum(good) / (seconds * 0.75),
        "served_per_s": len(done) / (seconds * 0.75),
        "p50_ms": quantile(latencies, 0.5) * 1e3,
        "p99_ms": quantile(latencies, 0.99) * 1e3,
        "refused_share": len(simulation.refused) / (rate * seconds),
        "retry_after_p50_ms": quantile([retry_s for _, retry_s in simulation.refused], 0.5) * 1e3,
        "forecast_correction": getattr(simulation.queue, "forecast_correction", 1.0),
        "us_per_request": cpu_s / (rate * seconds) * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--seconds", type=float, default=20.0, help="virtual seconds per row (default 20)")
    parser.add_argument("--slo-ms", type=float, default=300.0)
    options = parser.parse_args()
    texts_per_s, tokens_per_s = capacity(options.seconds)
    print(f"capacity: {texts_per_s:.0f} texts/s, {tokens_per_s:.0f} tokens/s; SLO {options.slo_ms:.0f} ms")
    print(
        f"{'load':>5} {'':<14} {'good/s':>7} {'goodput':>8} {'p50 ms':>8} {'p99 ms':>8} {'refused':>8} {'us/req':>7}"
    )
    rows = []
    for load in (0.8, 1.3, 10.0):
        for name in ("gate", "no gate", "FIFO by count"):
            row = overload(name, load * texts_per_s, options.slo_ms / 1e3, options.seconds)
            row["goodput"] = row["good_tokens_per_s"] / (tokens_per_s * min(1.0, load))
            rows.append({"load": load, "queue": name, **row})
            print(
                f"{load:>5} {name:<14} {row['good_texts_per_s']:>7.0f} {row['goodput']:>8.1%} {row['p50_ms']:>8.0f} "
                f"{row['p99_ms']:>8.0f} {row['refused_share']:>8.1%} {row['us_per_request']:>7.1f}"
            )
    if options.json:
        report = {
            "texts_per_s": texts_per_s,
            "tokens_per_s": tokens_per_s,
            "slo_ms": options.slo_ms,
            "rows": rows,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
