"""Redis look-ups: one round trip a key against the keys of one event-loop turn together.

    python benchmarks/redis_gather.py

Values of 1,536 bytes (a vector of 384 float32). Every row reads the same keys and checks what it read after the clock
stopped. CPU is this process's own, per key; Redis' is not in it.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from load import ROOT, machine
from redis.asyncio import Redis

from paceline.flow.redis_link import RedisLink, RedisPolicy

sys.path.append(str(ROOT / "tests"))
from services import RedisServer

KEYS = [b"%d" % n for n in range(256)]
VALUE = bytes(range(256)) * 6
ROUNDS = 7

Read = Callable[[], Awaitable[list[bytes | None]]]


def one_by_one(get: Callable[[bytes], Awaitable[bytes | None]]) -> Read:
    async def read() -> list[bytes | None]:
        return [await get(key) for key in KEYS]

    return read


def gathered(get: Callable[[bytes], Awaitable[bytes | None]], size: int) -> Read:
    async def read() -> list[bytes | None]:
        values: list[bytes | None] = []
        for start in range(0, len(KEYS), size):
            values += await asyncio.gather(*map(get, KEYS[start : start + size]))
        return values

    return read


async def measure(read: Read) -> tuple[list[float], list[float]]:
    """Keys a second and CPU seconds a key, one entry a round."""
    rates, cpus = [], []
    await read()
    for _ in range(ROUNDS):
        began_at, cpu = time.perf_counter(), time.process_time()
        values = await read()
        rates.append(len(KEYS) / (time.perf_counter() - began_at))
        cpus.append((time.process_time() - cpu) / len(KEYS))
        assert values == [VALUE] * len(KEYS)
    return rates, cpus


async def main(url: str) -> None:
    link = RedisLink(RedisPolicy(url=url, timeout_ms=10_000.0))
    await asyncio.gather(*(link.set(key, VALUE, ttl_s=3600) for key in KEYS))
    control = Redis.from_url(url, max_connections=len(KEYS), protocol=2)

    async def get(key: bytes) -> bytes | None:
        return await control.get(b"paceline:" + key)

    rows = [
        ("redis-py, one by one (control)", one_by_one(get)),
        ("redis-py, turns of 64 (control)", gathered(get, 64)),
        ("RedisLink, one by one", one_by_one(link.gather_get)),
        *((f"RedisLink, turns of {size}", gathered(link.gather_get, size)) for size in (8, 32, 64, 256)),
    ]
    for name, read in rows:
        rates, cpus = await measure(read)
        low, high = min(rates), max(rates)
        print(
            f"{name:32} {statistics.median(rates):9,.0f} keys/s ({low:,.0f}..{high:,.0f})"
            f"  {statistics.median(cpus) * 1e6:6.1f} us CPU a key"
        )
    await control.aclose()
    await link.close()


if __name__ == "__main__":
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            asyncio.run(main(server.url))
        finally:
            server.stop()
