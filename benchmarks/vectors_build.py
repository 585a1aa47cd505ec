"""Seconds to build a graph, beside faiss: `python benchmarks/vectors_build.py [--base FILE.npy] [--rows N] [--rounds 3]`.

Of all rows of a file, its first `--rows`, or as many of `clustered` of vectors_data.py: `build_graph` on int8 codes, and
faiss's HNSW on its own bytes, with the same M, ef_construction and threads. Both learn their codes, encode and link within
what is timed; rows are of length 1 already. They take turns, in the other order every other round.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from vectors_data import clustered
from vectors_graph import EF_CONSTRUCTION, M

from paceline.vectors.growing import build_graph
from paceline.vectors.metric import normalised

ROWS = 100_000
_WARMED_BY = 256
"""Rows of which a graph is built before: the kernel is compiled then."""


def ours(rows: np.ndarray, threads: int) -> int:
    """Build; how many rows are in the graph."""
    return len(build_graph(rows, m=M, ef_construction=EF_CONSTRUCTION, threads=threads).base)


def faiss_sq8(rows: np.ndarray, threads: int) -> int:
    """The same by faiss."""
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWSQ(rows.shape[1], faiss.ScalarQuantizer.QT_8bit, M, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.train(rows)
    index.add(rows)
    return int(index.ntotal)


BUILDS: dict[str, Callable[[np.ndarray, int], int]] = {"paceline": ours, "faiss sq8": faiss_sq8}


def timed(rows: np.ndarray, threads: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each build in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in BUILDS}
    for number in range(rounds):
        for name in sorted(BUILDS, reverse=number % 2 == 0):
            started_at = time.perf_counter()
            built = BUILDS[name](rows, threads)
            seconds[name].append(time.perf_counter() - started_at)
            if built != len(rows):
                raise SystemExit(f"{name} has {built} of {len(rows)} rows")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="vectors (n, d) of float32")
    parser.add_argument("--rows", type=int, help=f"at most; of no file {ROWS:,}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    if asked.base:
        vectors = np.array(np.load(asked.base, mmap_mode="r")[: asked.rows], np.float32)
    else:
        vectors = clustered(asked.rows or ROWS)[0]
    rows = normalised(vectors)
    for build in BUILDS.values():
        build(rows[:_WARMED_BY], asked.threads)
    print(
        f"{len(rows):,} vectors of {rows.shape[1]} dimensions, {asked.base or 'clustered'}, M {M}, ef_construction "
        f"{EF_CONSTRUCTION}, {asked.threads} threads, faiss {faiss.__version__}, {platform.machine()}",
        flush=True,
    )
    seconds = timed(rows, asked.threads, asked.rounds)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, taken in seconds.items():
        print(f"{name:10} {medians[name]:8.2f} s [{min(taken):.2f}, {max(taken):.2f}]")
    print(f"{'ratio':10} {medians['paceline'] / medians['faiss sq8']:8.2f}")


if __name__ == "__main__":
    main()
