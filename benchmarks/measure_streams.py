"""200 streams a second of 64 tokens, 10 ms apart, on one core: `python benchmarks/measure_streams.py [--quick]`.

Claim: all offered streams are served, the inter-token latency is within 2 % of 10 ms, and a token costs less than 12 us of CPU.
Streams a second and CPU are seen from outside (the responder counts; user and system time of all the tester's processes
while the load is on). The control is the responder's own p99 of being late.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers.load_testers.contestants import STREAMS, TOKENS, Figures
from benchmarks.peers.load_testers.rounds import alternate, arguments, remarks, spread, table
from benchmarks.targets import responder

RATE = 200
GAP_US = 10_000


def main() -> int:
    given = arguments(__doc__.splitlines()[0], STREAMS, seconds=15)
    server: dict[str, list[dict[str, float]]] = {name: [] for name in given.only}

    def run(name: str) -> Figures:
        with responder("sse", spin_us=0, tokens=TOKENS, first_us=GAP_US, gap_us=GAP_US) as target:
            figures = STREAMS[name](target, RATE, given.seconds)
            stats = target.stats()
        server[name].append(stats)
        return replace(figures, done_per_s=stats["per_s"])

    results = alternate(given.only, given.rounds, run)
    rows = [
        [
            name,
            spread((each.done_per_s for each in figures), 1),
            spread((100 * each["streams"] / each["requests"] for each in server[name]), 1),
            spread((each.itl_mean_ms for each in figures), 3),
            spread((each.itl_p50_ms for each in figures), 3),
            spread((each.itl_p99_ms for each in figures), 3),
            spread((each.cpu_us for each in figures), 1),
            spread((each["late_p99_us"] for each in server[name]), 0),
        ]
        for name, figures in results.items()
    ]
    gap = f"{GAP_US / 1e3:.3f}"
    rows.append(["the truth", str(RATE), "100.0", gap, gap, gap, "-", "0"])
    header = [
        "200 streams/s x 64 tokens",
        "arrived/s",
        "finished, %",
        "gap mean ms",
        "gap p50",
        "gap p99",
    ]
    table([*header, "CPU us/token", "server late p99 us"], rows)
    remarks(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
