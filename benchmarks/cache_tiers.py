"""CPU microseconds per call of each cache tier: 1.5 KB values, 16-byte keys.

    python benchmarks/cache_tiers.py [--entries 20000]

Controls: a bare dict (what any cache must cost at least) and `LruCache`. L1 `put` is into a full cache, so each evicts
or is declined. L2 `put` is what the caller pays; its flush rate is what the writing thread reaches. L3 needs
redis-server and runs over a unix socket; `together` are look-ups of one turn of the event loop, one MGET.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from paceline.flow.cache.l1 import CostCache
from paceline.flow.cache.l2 import DiskCache
from paceline.flow.cache.l3 import RedisCache
from paceline.flow.cache.lru import LruCache
from paceline.flow.cache.policy import CachePolicy
from paceline.flow.cache.tiers import Tiers
from paceline.flow.redis_link import RedisLink, RedisPolicy

VALUE = bytes(range(256)) * 6
ROUNDS = 5


def row(what: str, calls: int, run: Callable[[int], object]) -> None:
    """`run(round)` makes `calls` calls; prints median and range over the rounds."""
    spent = []
    for round_ in range(ROUNDS):
        began = time.process_time()
        run(round_)
        spent.append((time.process_time() - began) / calls * 1e6)
    print(f"| {what} | {statistics.median(spent):.2f} | {min(spent):.2f}-{max(spent):.2f} |", flush=True)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """On the loop the server runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def fresh_keys(round_: int, count: int) -> list[bytes]:
    return [(((round_ + 1) << 32) + number).to_bytes(16, "little") for number in range(count)]


def memory(entries: int) -> None:
    keys = fresh_keys(-1, entries)
    bare = dict.fromkeys(keys, VALUE)
    row("dict get (control)", entries, lambda _: [bare.get(key) for key in keys])
    for kind in (LruCache, CostCache):
        tier = kind(entries * 2500)
        for key in keys:
            tier.put(key, VALUE, 0.005, 3600.0)
        row(f"L1 {kind.__name__} get", entries, lambda _, tier=tier: [tier.get(key) for key in keys])
        full = kind(entries * 200)
        row(
            f"L1 {kind.__name__} put, full",
            entries,
            lambda round_, full=full: [
                full.put(key, VALUE, 0.005, 3600.0) for key in fresh_keys(round_, entries)
            ],
        )
    tiers = Tiers(CachePolicy(), tier)
    row("Tiers.peek, hit", entries, lambda _: [tiers.peek(key) for key in keys])

    async def fetch_all(round_: int, hit: bool) -> None:
        async def make() -> tuple[bytes, float]:
            return VALUE, 0.005

        for key in keys if hit else fresh_keys(round_, entries):
            await tiers.fetch(key, make, 3600.0)

    row("Tiers.fetch, L1 hit", entries, lambda round_: run_loop(fetch_all(round_, hit=True)))
    row("Tiers.fetch, miss with one flight", entries, lambda round_: run_loop(fetch_all(round_, hit=False)))


def disk(entries: int, folder: Path) -> None:
    tier = DiskCache(folder, 1 << 30)
    keys = fresh_keys(-1, entries)
    began = time.perf_counter()
    for start in range(0, entries, 1000):
        for key in keys[start : start + 1000]:
            tier.put(key, VALUE)
        assert tier.flush()
    print(
        f"| L2 written and flushed, wall, all included | {(time.perf_counter() - began) / entries * 1e6:.2f} | |"
    )
    row("L2 get, hit", entries, lambda _: [tier.get(key) for key in keys])
    row("L2 get, miss", entries, lambda round_: [tier.get(key) for key in fresh_keys(round_, entries)])
    assert tier.get(keys[-1]) == VALUE
    tier.close()


def redis(entries: int, folder: Path) -> None:
    if shutil.which("redis-server") is None:
        print("| L3: no redis-server on this host (apt-get install redis-server) | | |")
        return
    socket = folder / "redis.sock"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    for line in server.stdout:
        if "ready to accept connections" in line.lower():
            break
    keys = fresh_keys(-1, entries)

    async def ask() -> None:
        link = RedisLink(RedisPolicy(url=f"unix://{socket}"))
        tier = RedisCache(link, 0.25)
        for start in range(0, entries, 500):
            for key in keys[start : start + 500]:
                tier.put(key, VALUE, 3600.0)
            await link.ping()
        for together in (1, 8, 64):
            spent, wall = [], []
            for _ in range(ROUNDS):
                began, began_wall = time.process_time(), time.perf_counter()
                for start in range(0, 4096, together):
                    found = await asyncio.gather(*(tier.get(key) for key in keys[start : start + together]))
                    assert None not in found
                spent.append((time.process_time() - began) / 4096 * 1e6)
                wall.append((time.perf_counter() - began_wall) / 4096 * 1e6)
            print(
                f"| L3 get, {together} together | {statistics.median(spent):.2f} | "
                f"{min(spent):.2f}-{max(spent):.2f} (wall {statistics.median(wall):.1f}) |"
            )
        await link.close()

    try:
        run_loop(ask())
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--entries", type=int, default=20_000)
    entries = arguments.parse_args().entries
    print("| call | CPU us, median | range |\n| --- | --- | --- |")
    memory(entries)
    with tempfile.TemporaryDirectory(prefix="paceline-bench-") as folder:
        disk(entries, Path(folder) / "l2")
        redis(entries, Path(folder))


if __name__ == "__main__":
    main()
