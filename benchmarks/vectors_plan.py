"""What `paceline vectors plan` rests on: `python benchmarks/vectors_plan.py --rows 50000 100000 [--base FILE.npy]`.

For each number of rows, in a process of its own that is held to one core: seconds to load all and to bring it under one
graph, and what the plan says for both; milliseconds of a query; peak memory of the process that joins. Default policy; 384
dimensions, `clustered` of `vectors_data.py` or the first rows of a file with query.npy beside it.
`--fresh` measures a process and its fresh records instead. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import numpy as np
from vectors_data import clustered

from paceline.vectors.capacity import Plan, plan
from paceline.vectors.collection import Collection
from paceline.vectors.policy import Schema, UpkeepPolicy, VectorsPolicy

BATCH, K, ROUNDS = 1000, 10, 3
_SAMPLED_S = 0.01
_GRAPH_GROWN_S = 3.0
"""After which the graph of fresh records has come up with the writes, on any core."""


class Joiner:
    """The most memory that child processes of this one hold while it is entered, in bytes: their own, and of mapped files."""

    def __init__(self) -> None:
        self.own = self.mapped = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLED_S):
            for task in Path("/proc/self/task").iterdir():
                for child in _text(task / "children").split():
                    own, mapped = resident(child)
                    self.own, self.mapped = max(self.own, own), max(self.mapped, mapped)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # it has ended
        return ""


def resident(process: str = "self") -> tuple[int, int]:
    """Bytes of a process that are its own, and those of files that it maps."""
    lines = (line.split() for line in _text(Path(f"/proc/{process}/status")).splitlines())
    sizes = {words[0]: int(words[1]) << 10 for words in lines if words and words[0].startswith("Rss")}
    return sizes.get("RssAnon:", 0), sizes.get("RssFile:", 0)


def load(collection: Collection, vectors: np.ndarray, first: int = 0) -> float:
    """Seconds to write all, durably, by one thread; the first is named by `first`."""
    started_at = time.perf_counter()
    for start in range(0, len(vectors), BATCH):
        part = vectors[start : start + BATCH]
        collection.upsert_arrays([f"record-{first + start + i:09d}" for i in range(len(part))], part)
    return time.perf_counter() - started_at


def query_ms(collection: Collection, queries: np.ndarray) -> float:
    """Of one query after another: the best round's mean."""
    rounds = []
    for _ in range(ROUNDS):
        started_at = time.perf_counter()
        for query in queries:
            collection.query(query, K)
        rounds.append((time.perf_counter() - started_at) / len(queries) * 1e3)
    return min(rounds)


def one_core_plan(rows: int, dimensions: int) -> Plan:
    """What the plan says about the same."""
    return plan(rows, dimensions, cores=1)


def measured(vectors: np.ndarray, queries: np.ndarray, parent: Path) -> None:
    """Load, join and search `vectors`; a line of the table."""
    planned = one_core_plan(*vectors.shape)
    with Collection.create(parent / "c", Schema(dimensions=vectors.shape[1])) as collection:
        with collection.loading():
            load_s = load(collection, vectors)
            started_at = time.perf_counter()
            with Joiner() as joiner:
                collection.compact()
            compact_s = time.perf_counter() - started_at
        found = query_ms(collection, queries)
    print(
        f"{len(vectors):>9,} {load_s:>8.1f} {compact_s:>8.1f} {planned.build_s:>8.1f} {found:>8.3f} "
        f"{planned.query_ms:>8.3f} {joiner.own / 1e6:>8.0f} {planned.join_memory / 1e6:>8.0f} {joiner.mapped / 1e6:>8.0f}"
    )


def fresh(vectors: np.ndarray, queries: np.ndarray, parent: Path) -> None:
    """Memory of a process with few records, and what a fresh one adds: of so many that buffers do not count."""
    few, most = 3_000, len(vectors)
    policy = VectorsPolicy(upkeep=UpkeepPolicy(seal_rows=most + 1, log_mb=4096))
    with Collection.create(parent / "c", Schema(dimensions=vectors.shape[1]), policy=policy) as collection:
        load(collection, vectors[:few])
        query_ms(collection, queries[:100])
        before = resident()
        load(collection, vectors[few:most], few)
        time.sleep(_GRAPH_GROWN_S)
        query_ms(collection, queries[:100])
        after = resident()
    print(f"a process: {before[0] / 1e6:.0f} MB of its own, {before[1] / 1e6:.0f} MB of files")
    print(f"a fresh record: {(after[0] - before[0]) / (most - few):.0f} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 100_000, 200_000])
    parser.add_argument("--base", type=Path)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--alone", action="store_true", help="measure in this process")
    asked = parser.parse_args()
    if not asked.alone:
        print(platform.machine(), asked.base or "clustered")
        if not asked.fresh:
            print(
                "     rows   load s   join s  planned query ms  planned  join MB  planned   mapped",
                flush=True,
            )
        for rows in asked.rows:
            command = [sys.executable, __file__, "--alone", "--rows", str(rows)]
            command += ["--base", str(asked.base)] if asked.base else []
            command += ["--fresh"] if asked.fresh else []
            subprocess.run(command, check=True)
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = asked.rows[0]
    if asked.base:
        vectors = np.load(asked.base, mmap_mode="r")[:rows]
        queries = np.load(asked.base.with_name("query.npy"))[:1000]
    else:
        vectors, queries = clustered(rows)
    with tempfile.TemporaryDirectory(dir=".") as parent:
        (fresh if asked.fresh else measured)(vectors, queries, Path(parent))


if __name__ == "__main__":
    main()
