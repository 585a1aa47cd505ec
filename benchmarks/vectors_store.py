"""What a collection takes: `python benchmarks/vectors_store.py [--base FILE.npy] [--count 100000]`.

Durable writes a second, in batches of 100 from four threads, while another thread searches; p99 of searches idle and
meanwhile; seconds until all is under one graph; time to open; memory; half of the records deleted and written again,
beside a fresh collection of the same.
`--open FOLDER` alone opens a collection with records v0, v1, ... and says what it holds; under a limit of memory, by a
control group, it says what is left of the speed.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from vectors_data import clustered

from paceline.vectors.collection import Collection
from paceline.vectors.exact import nearest, recall
from paceline.vectors.policy import Schema

BATCH, WRITERS, K = 100, 4, 10
PACE = 5000
"""Vectors written a second while searches are timed."""


def load(collection: Collection, vectors: np.ndarray, first: int = 0, pace: float = np.inf) -> float:
    """Write all, from several threads, at most `pace` vectors a second; vectors a second."""
    starts = iter(range(0, len(vectors), BATCH))
    turn = threading.Lock()

    def write() -> None:
        while True:
            with turn:
                start = next(starts, None)
            if start is None:
                return
            part = vectors[start : start + BATCH]
            time.sleep(max(0.0, started_at + start / pace - time.perf_counter()))
            collection.upsert_arrays(
                [f"v{first + start + i}" for i in range(len(part))], part, [{"n": start}] * len(part)
            )

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    started_at = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(vectors) / (time.perf_counter() - started_at)


def latencies(
    collection: Collection, queries: np.ndarray, until: threading.Event | None, least: int = 1000
) -> np.ndarray:
    """Milliseconds of searches, one after another, at most 200 a second: idle or not, caches are as cold as each other's."""
    found: list[float] = []
    while (until is None and len(found) < least) or (until is not None and not until.is_set()):
        started_at = time.perf_counter()
        collection.query(queries[len(found) % len(queries)], K)
        found.append(time.perf_counter() - started_at)
        time.sleep(0.005)
    return np.array(found) * 1e3


def quality(collection: Collection, queries: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """recall@10, and queries a second on one thread."""
    collection.query(queries[0], K)
    started_at = time.perf_counter()
    found = [collection.query(query, K)[0] for query in queries]
    rate = len(queries) / (time.perf_counter() - started_at)
    ids = np.array([[int(match.id[1:]) for match in matches] for matches in found], np.int32)
    return recall(ids, truth), rate


def show(name: str, times: np.ndarray) -> None:
    print(
        f"{name}: p50 {np.percentile(times, 50):.2f} ms, p99 {np.percentile(times, 99):.2f} ms ({len(times)})"
    )


def resident() -> dict[str, float]:
    """MB that the operating system holds for this process: private, and of each kind of file."""
    found: dict[str, float] = {}
    kind = "private"
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            kind = (
                Path(words[5]).name.split(".")[0]
                if len(words) > 5 and "/segments/" in words[5]
                else "private"
            )
        elif words[0] == "Rss:":
            found[kind] = found.get(kind, 0.0) + int(words[1]) / 1000
    return found


def opened(folder: Path, count: int) -> None:
    """In a fresh process: seconds to open, to the first answer, and memory after queries near the collection's own."""
    before = resident()["private"]
    started_at = time.perf_counter()
    with Collection.open(folder) as collection:
        open_s = time.perf_counter() - started_at
        draw = np.random.default_rng(1)
        first = draw.standard_normal(collection.schema.dimensions, np.float32)
        collection.query(first, K)
        first_s = time.perf_counter() - started_at
        alone, records = resident(), collection.stats().records
        ids = [f"v{i}" for i in draw.integers(0, records, count)]
        searching_s = 0.0
        for start in range(0, count, 1000):
            for record in collection.fetch(ids[start : start + 1000]).values():
                query = record.vector + 0.02 * draw.standard_normal(len(record.vector), np.float32)
                began_at = time.perf_counter()
                collection.query(query, K)
                searching_s += time.perf_counter() - began_at
        after = resident()
    print(f"opened {records} records in {open_s * 1e3:.0f} ms, first answer after {first_s * 1e3:.0f} ms")
    print(f"{count / searching_s:.0f} queries/s")
    for when, held in (("the first query", alone), (f"{count} queries", after)):
        files = ", ".join(
            f"{name} {size:.0f}" for name, size in sorted(held.items()) if name != "private" and size >= 1
        )
        total = sum(held.values()) - before
        print(f"MB after {when}: {total:.0f}, of it private {held['private'] - before:.0f}, mapped {files}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--open", type=Path)
    parser.add_argument("--queries", type=int, default=10_000, help="after opening, for memory")
    parser.add_argument("--churn", action="store_true")
    asked = parser.parse_args()
    if asked.open:
        opened(asked.open, asked.queries)
        return
    if asked.base:
        every = np.load(asked.base, mmap_mode="r")
        vectors, queries = np.array(every[: asked.count]), np.array(every[-1000:])
    else:
        vectors, queries = clustered(asked.count)
    print(f"{platform.machine()}, {len(vectors)} x {vectors.shape[1]}")
    with tempfile.TemporaryDirectory(dir=".") as parent:
        folder = Path(parent) / "c"
        collection = Collection.create(folder, Schema(dimensions=vectors.shape[1]))
        half = len(vectors) // 2
        print(f"first half: {load(collection, vectors[:half]):.0f} vectors/s durable")
        started_at = time.perf_counter()
        collection.compact()
        print(f"under one graph after {time.perf_counter() - started_at:.1f} s more")
        show("searches, idle", latencies(collection, queries, None))
        done = threading.Event()
        times: list[np.ndarray] = []
        reader = threading.Thread(target=lambda: times.append(latencies(collection, queries, done)))
        reader.start()
        rate = load(collection, vectors[half:], half, PACE)
        done.set()
        reader.join()
        print(f"second half: {rate:.0f} vectors/s durable, searched meanwhile")
        show("searches beside writes", times[0])
        building = threading.Thread(target=collection.compact)
        done.clear()
        reader = threading.Thread(target=lambda: times.append(latencies(collection, queries, done)))
        started_at = time.perf_counter()
        reader.start()
        building.start()
        building.join()
        done.set()
        reader.join()
        print(f"under one graph after {time.perf_counter() - started_at:.1f} s")
        show("searches beside a build", times[1])
        truth, _ = nearest(queries, vectors, K)
        fresh = quality(collection, queries, truth)
        print(f"recall@10 {fresh[0]:.4f}, {fresh[1]:.0f} queries/s")
        print(collection.stats())
        if asked.churn:
            chosen = np.random.default_rng(1).permutation(len(vectors))[:half]
            for start in range(0, half, 1000):
                collection.delete([f"v{i}" for i in chosen[start : start + 1000]])
            for start in range(0, half, 1000):
                part = chosen[start : start + 1000]
                collection.upsert_arrays([f"v{i}" for i in part], vectors[part])
            print(
                f"half deleted and written again: recall and queries/s {quality(collection, queries, truth)}"
            )
            started_at = time.perf_counter()
            collection.settle()
            print(
                f"settled after {time.perf_counter() - started_at:.1f} s: {quality(collection, queries, truth)}"
            )
            started_at = time.perf_counter()
            collection.compact()
            print(
                f"compacted after {time.perf_counter() - started_at:.1f} s: {quality(collection, queries, truth)}"
            )
            print(collection.stats())
        collection.close()
        subprocess.run([sys.executable, __file__, "--open", str(folder)], check=True)


if __name__ == "__main__":
    main()
