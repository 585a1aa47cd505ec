"""64 connections on one core against nginx `return 200` on the other: `python benchmarks/measure_closed_loop.py [--quick]`.

Claim: at least 0.8 of wrk's rate, 7 times aiohttp's and 10 times Locust's. wrk is the control. The loopback of a virtual machine
has faster and slower minutes, so each contestant is also divided by wrk of the same round.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers.load_testers.contestants import CLOSED, Figures
from benchmarks.peers.load_testers.rounds import alternate, arguments, remarks, spread, table
from benchmarks.targets import nginx

CONNECTIONS = 64
CONTROL = "wrk"


def main() -> int:
    given = arguments(__doc__.splitlines()[0], CLOSED, seconds=8)

    def run(name: str) -> Figures:
        with nginx() as target:
            return CLOSED[name](target, CONNECTIONS, given.seconds)

    results = alternate(given.only, given.rounds, run)
    control = [each.done_per_s for each in results.get(CONTROL, [])]
    rows = []
    for name, figures in results.items():
        rates = [each.done_per_s for each in figures]
        shares = [rate / base for rate, base in zip(rates, control, strict=False) if rate and base]
        share = f"{statistics.median(shares):.3f}" if shares else "-"
        quantiles = [spread(each.p50_ms for each in figures), spread(each.p99_ms for each in figures)]
        rows.append([name, spread(rates, 0), share, *quantiles])
    table(["one core, 64 connections", "answers/s", "of wrk's, same round", "p50 ms", "p99 ms"], rows)
    remarks(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
