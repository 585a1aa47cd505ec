"""1,000/s and 10,000/s against a server of exactly 10.00 ms: `python benchmarks/measure_open_loop.py [--quick]`.

Claim: p50 within 0.15 ms and p99 within 0.5 ms of the truth. The control is the responder's own account: how long after the due moment
its answers left while that contestant ran (p50 and p99, added to 10 ms).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers.load_testers.contestants import OPEN, Figures
from benchmarks.peers.load_testers.rounds import alternate, arguments, remarks, spread, table
from benchmarks.targets import responder

DELAY_US = 10_000
RATES = (1_000, 10_000)


def main() -> int:
    given = arguments(__doc__.splitlines()[0], OPEN, seconds=10)
    for rate in RATES:
        server: dict[str, list[dict[str, float]]] = {name: [] for name in given.only}

        def run(name: str, rate: int = rate, server: dict[str, list[dict[str, float]]] = server) -> Figures:
            with responder("delay", spin_us=0, delay_us=DELAY_US) as target:
                figures = OPEN[name](target, rate, given.seconds)
                stats = target.stats()
            server[name].append(stats)
            return replace(figures, done_per_s=stats["per_s"])

        results = alternate(given.only, given.rounds, run)
        rows = [
            [
                name,
                spread((each.done_per_s for each in figures), 0),
                spread((each.p50_ms for each in figures), 3),
                spread((each.p99_ms for each in figures), 3),
                spread((DELAY_US / 1e3 + each["late_p50_us"] / 1e3 for each in server[name]), 3),
                spread((DELAY_US / 1e3 + each["late_p99_us"] / 1e3 for each in server[name]), 3),
            ]
            for name, figures in results.items()
        ]
        table(
            [f"{rate:,}/s, 10.00 ms", "arrived/s", "p50 ms", "p99 ms", "server's p50", "server's p99"], rows
        )
        remarks(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
