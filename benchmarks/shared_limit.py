"""Eight processes, one limit in Redis: how many requests pass, and what does asking cost?

    python benchmarks/shared_limit.py [--processes 8] [--limit 20000] [--seconds 20]

Every row runs over a full minute (half the time before it, half after), so that a window ends and another begins while
all processes ask at once. `over` must be 0. The controls are a counter in each process (the leak of limit x replicas)
and a ledger asked for every single request.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from load import ROOT, machine

from paceline.flow.limiter import Limiter, LimitPolicy
from paceline.flow.quota import RedisLedger
from paceline.flow.redis_link import RedisLink, RedisPolicy

sys.path.append(str(ROOT / "tests"))
from services import RedisServer

KINDS = {
    "a counter in each process (control)": "alone",
    "a round trip a request (control)": "lease 1",
    "leases (ours)": "leases",
}
PAUSE_S = 0.05
"""A refused client tries again after this."""
START_S = 15.0
"""Time the processes have to start."""


class Clock:
    """The instant of the last decision, to book it in the window it was made for."""

    at = 0.0

    def __call__(self) -> float:
        self.at = time.time()
        return self.at


@dataclass(frozen=True)
class Job:
    """What one process does."""

    kind: str
    url: str
    limit: int
    processes: int
    begin_at: float
    seconds: float


async def ask(job: Job) -> tuple[Counter[int], int, int, float]:
    """Ask as fast as the limit lets us; passed by minute, asked, asked of Redis, CPU seconds."""
    clock = Clock()
    link = RedisLink(RedisPolicy(url=job.url, timeout_ms=10_000.0))
    ledger = RedisLedger(link, 1e-9 if job.kind == "lease 1" else 0.1, clock)
    limiter = Limiter(
        LimitPolicy(rpm=job.limit), None if job.kind == "alone" else ledger, clock, peers=job.processes
    )
    sweeping = asyncio.create_task(limiter.run())
    passed: Counter[int] = Counter()
    asked = 0
    await asyncio.sleep(job.begin_at - time.time())
    cpu = time.process_time()
    while time.time() < job.begin_at + job.seconds:
        verdict = limiter.take_nowait("k", "/v1/embeddings")
        if verdict is None:
            verdict = await limiter.take("k", "/v1/embeddings")
        asked += 1
        if verdict.allowed:
            passed[int(clock.at // 60)] += 1
            if asked % 50 == 0:
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(PAUSE_S)
    cpu = time.process_time() - cpu
    sweeping.cancel()
    await limiter.close()
    await link.close()
    return passed, asked, int(limiter.stats()["leases_total"]), cpu


def run(job: Job) -> tuple[Counter[int], int, int, float]:
    """One process."""
    return asyncio.run(ask(job))


def row(name: str, url: str, limit: int, processes: int, seconds: float) -> None:
    """Run all processes over the end of a minute, print what passed."""
    earliest = time.time() + START_S
    begin_at = earliest + (-earliest - seconds / 2) % 60
    job = Job(KINDS[name], url, limit, processes, begin_at, seconds)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        answers = list(pool.map(run, [job] * processes))
    passed = sum((answer[0] for answer in answers), Counter[int]())
    asked = sum(answer[1] for answer in answers)
    over = sum(max(0, count - limit) for count in passed.values())
    usable = ", ".join(f"{min(count, limit) / limit:.1%}" for count in passed.values())
    trips = sum(answer[2] for answer in answers)
    cpu_us = sum(answer[3] for answer in answers) / asked * 1e6
    print(
        f"{name:36} passed {list(passed.values())} of {limit} a window: {over} over, used {usable};"
        f" {asked:,} asked, {trips:,} round trips, {cpu_us:.1f} us CPU each",
        flush=True,
    )


def hot_path(limit: int = 100_000_000, takes: int = 200_000) -> None:
    """What `take_nowait` costs with a lease in hand, minute and hour counted."""
    limiter = Limiter(LimitPolicy(rpm=limit, rph=limit), None)
    rounds = []
    for _ in range(7):
        cpu = time.process_time()
        for _ in range(takes):
            limiter.take_nowait("k", "/v1/embeddings")
        rounds.append((time.process_time() - cpu) / takes * 1e6)
    print(
        f"take_nowait, a lease in hand, two windows: {sorted(rounds)[3]:.2f} us CPU ({min(rounds):.2f}..{max(rounds):.2f})"
    )


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--processes", type=int, default=8)
    arguments.add_argument("--limit", type=int, default=20_000)
    arguments.add_argument("--seconds", type=float, default=20.0)
    given = arguments.parse_args()
    print(f"{machine()}; {given.processes} processes, {given.limit} requests a minute")
    hot_path()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            for name in KINDS:
                server.command("FLUSHALL")
                row(name, server.url, given.limit, given.processes, given.seconds)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
