"""A server that stops for 200 ms every 2 s, at 1,000/s: `python benchmarks/measure_freeze.py [--quick]`.

A tenth of the requests meet the freeze and wait between 0 and 200 ms, evenly; so the true p99 is 180 ms, and the p50 is
an ordinary answer. Claim: p99 within 1 %. A tester that waits for its answers before it sends again asks nothing during the freeze
and reports the server it did not see.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers.load_testers.contestants import OPEN, Figures
from benchmarks.peers.load_testers.rounds import alternate, arguments, remarks, spread, table
from benchmarks.targets import responder

RATE = 1_000
EVERY_S = 2.0
TRUE_P99_MS = 180.0


def main() -> int:
    given = arguments(__doc__.splitlines()[0], OPEN, seconds=20)
    given.seconds = max(1, round(given.seconds / EVERY_S)) * EVERY_S  # whole periods, or the truth is another

    def run(name: str) -> Figures:
        with responder("freeze", spin_us=0, freeze_us=200_000, every_us=int(EVERY_S * 1e6)) as target:
            return OPEN[name](target, RATE, given.seconds)

    results = alternate(given.only, given.rounds, run)
    rows = [
        [
            name,
            spread((each.done_per_s for each in figures), 0),
            spread(each.p50_ms for each in figures),
            spread(each.p99_ms for each in figures),
            spread((100 * (each.p99_ms / TRUE_P99_MS - 1) for each in figures if each.p99_ms), 1),
        ]
        for name, figures in results.items()
    ]
    rows.append(["the truth", f"{RATE:,}", "-", f"{TRUE_P99_MS:.2f}", "0.0"])
    table(["200 ms freeze every 2 s", "answers/s", "p50 ms", "p99 ms", "p99 off by %"], rows)
    remarks(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
