"""The same model served by us and by the competitors, one after another in one run.

    python -m benchmarks.peers.environments        # once: an environment for each peer
    python benchmarks/serve_peers.py [--seconds 10] [--rounds 3] [--connections 64]

One text a request, 8 to 128 tokens log-uniform, caches off, wrk on the same cores. Rounds go through all servers before
the next round starts, so that a noisy minute hits everybody.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load import bodies_of, free_port, machine, paceline_server, texts_of, wrk

from benchmarks.peers.launch import PEERS, launched

OURS = {
    "paceline fp32": ("embed.precision=fp32",),
    "paceline auto (default)": (),
    "paceline int8": ("embed.precision=int8",),
}


@contextlib.contextmanager
def server(name: str) -> Iterator[str]:
    """URL of the embedding route of one contestant."""
    if name in OURS:
        with paceline_server(*OURS[name], "cache.enabled=false") as started:
            yield started.url
    else:
        with launched(PEERS[name], free_port()) as base:
            yield base + PEERS[name].url_path


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", nargs="+", help="contestants, by name")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = options.only or [*OURS, *PEERS]
    bodies = bodies_of(texts_of("mixed", 4000), model="all-MiniLM-L6-v2")
    loads = {name: [] for name in names}
    print(f"{machine()}; {options.connections} callers, {options.rounds} rounds of {options.seconds:g} s")
    for _ in range(options.rounds):
        for name in names:
            with server(name) as url:
                wrk(url, bodies, options.connections, 3)
                loads[name].append(wrk(url, bodies, options.connections, options.seconds))
            print(f"  {name}: {loads[name][-1]}", flush=True)
    print(f"{'':36}{'req/s':>8} {'least':>7} {'most':>7} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7}")
    for name in names:
        rates = [load.rate for load in loads[name]]
        print(
            f"{name:36}{statistics.median(rates):8.1f} {min(rates):7.1f} {max(rates):7.1f} "
            f"{statistics.median(load.p50_ms for load in loads[name]):8.0f} "
            f"{statistics.median(load.p99_ms for load in loads[name]):8.0f} {sum(load.failed for load in loads[name]):7}"
        )
    if options.json:
        options.json.write_text(
            json.dumps(
                {"machine": machine(), "loads": {n: [vars(x) for x in ls] for n, ls in loads.items()}},
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
