"""A writer is killed at random moments and nothing acknowledged is lost: `python -m benchmarks.vectors_crash --kills 100`.

Four threads of a process write batches, each into a namespace of its own: upserts, and deletions now and then. What
operation n does follows from its number, so the records after n operations are known. The process says the number of
each operation when it is acknowledged, and is killed (SIGKILL). Then the collection must hold what there is after the
last acknowledged operation, or after the one that was under way: nothing less, nothing else.

A killed process is no power cut: what the operating system was given, it keeps. That acknowledged frames are synced,
and what a torn file means, is in `tests/vectors/test_wal.py`.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from paceline.vectors.collection import Collection
from paceline.vectors.policy import Schema, UpkeepPolicy, VectorsPolicy

THREADS = 4
IDS = 400
BATCH = 25
DIMENSIONS = 16
POLICY = VectorsPolicy(upkeep=UpkeepPolicy(seal_rows=200, graph_rows=400, process_rows=600))
"""Seals every few writes, joins all the time, and does some joins in a process of their own."""

State = dict[str, int]
"""By id, the operation that wrote the record."""


def operation(thread: int, number: int) -> tuple[bool, list[int]]:
    """Whether it deletes, and the ids it is about."""
    draw = random.Random(f"{thread}.{number}")
    return draw.random() < 0.15, draw.sample(range(IDS), BATCH)


def vectors_of(ids: list[int], number: int) -> np.ndarray:
    """One vector an id, another by every operation."""
    return np.stack([np.random.default_rng([one, number]).standard_normal(DIMENSIONS) for one in ids])


def apply(state: State, thread: int, number: int) -> State:
    """The records after one operation more."""
    deletes, ids = operation(thread, number)
    names = [f"v{one}" for one in ids]
    kept = {name: by for name, by in state.items() if name not in names}
    return kept if deletes else kept | dict.fromkeys(names, number)


def write(folder: Path, starts: list[int]) -> None:
    """Write for ever; each thread from its operation on."""
    collection = Collection.open(folder, policy=POLICY)
    print(f"open {collection.recovery.replayed}", flush=True)

    def run(thread: int) -> None:
        number, space = starts[thread], str(thread)
        while True:
            deletes, ids = operation(thread, number)
            names = [f"v{one}" for one in ids]
            if deletes:
                collection.delete(names, namespace=space)
            else:
                metadata = [{"op": number}] * len(names)
                collection.upsert_arrays(names, vectors_of(ids, number), metadata, namespace=space)
            os.write(1, f"{thread} {number}\n".encode())  # one write, so that lines do not mix
            number += 1

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def kill_one(folder: Path, starts: list[int], after_s: float) -> list[int]:
    """Run a writer and kill it; returns the number after the last acknowledged operation of each thread."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.vectors_crash", "--write", str(folder), *map(str, starts)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("open")
    timer = threading.Timer(after_s, process.send_signal, [signal.SIGKILL])
    timer.start()
    done = list(starts)
    for line in process.stdout:
        thread, number = map(int, line.split())
        assert number == done[thread], "acknowledged out of order"
        done[thread] = number + 1
    timer.join()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, f"the writer ended with {process.returncode}"
    return done


def held(collection: Collection, thread: int) -> State:
    """What a namespace holds, vectors checked."""
    records = collection.fetch([f"v{one}" for one in range(IDS)], namespace=str(thread))
    for name, record in records.items():
        wanted = vectors_of([int(name[1:])], record.metadata["op"])[0]
        np.testing.assert_allclose(record.vector, wanted, rtol=1e-2, atol=1e-2)
    return {name: record.metadata["op"] for name, record in records.items()}


def check(folder: Path, states: list[State], starts: list[int], done: list[int]) -> tuple[float, int]:
    """Compare, and set `states` and `starts` to what is held; seconds to open, and writes that were under way and kept."""
    started_at = time.perf_counter()
    collection = Collection.open(folder, policy=POLICY)
    open_s, kept = time.perf_counter() - started_at, 0
    with collection:
        assert collection.stats().damaged == {}
        for thread in range(THREADS):
            for number in range(starts[thread], done[thread]):
                states[thread] = apply(states[thread], thread, number)
            found, after = held(collection, thread), apply(states[thread], thread, done[thread])
            assert found in (states[thread], after), (
                f"thread {thread} lost or invented records at {done[thread]}"
            )
            starts[thread] = done[thread]
            if found != states[thread]:
                states[thread], starts[thread], kept = after, done[thread] + 1, kept + 1
            if found:
                name = next(iter(found))
                query = vectors_of([int(name[1:])], found[name])[0]
                assert collection.query(query, 1, namespace=str(thread), ef=400)[0][0].id == name
    return open_s, kept


def main() -> None:
    """Kill, check, and tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest-s", type=float, default=2.0)
    parser.add_argument("--write", nargs="+")
    options = parser.parse_args()
    if options.write:
        write(Path(options.write[0]), [int(start) for start in options.write[1:]])
        return
    draw = random.Random(options.seed)
    states: list[State] = [{} for _ in range(THREADS)]
    starts, opens, under_way = [0] * THREADS, [], 0
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "c"
        Collection.create(folder, Schema(dimensions=DIMENSIONS), policy=POLICY).close()
        for _ in range(options.kills):
            done = kill_one(folder, starts, draw.uniform(0, options.longest_s))
            open_s, kept = check(folder, states, starts, done)
            opens.append(open_s)
            under_way += kept
    print(
        f"{options.kills} kills, {sum(starts)} batches of {BATCH} acknowledged, 0 lost; {under_way} batches under way "
        f"were kept whole; opened in {max(opens) * 1e3:.0f} ms at most"
    )


if __name__ == "__main__":
    main()
