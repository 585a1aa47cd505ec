"""What one writes with aiohttp: `aiohttp_client.py URL SECONDS (--connections N | --rate R)`; prints JSON.

Closed loop: N tasks that ask again when they were answered. Open loop: a task a request, started by asyncio's timer. Latency is counted
from the call, as usual. On uvloop, which is the faster choice.
"""

import argparse
import asyncio
import json
import time

import aiohttp
import uvloop


async def ask(session, url, latencies):
    started = time.perf_counter()
    async with session.get(url) as answer:
        await answer.read()
        assert answer.status == 200
    latencies.append(time.perf_counter() - started)


async def closed(session, url, connections, seconds, latencies):
    until = time.perf_counter() + seconds

    async def user():
        while time.perf_counter() < until:
            await ask(session, url, latencies)

    await asyncio.gather(*(user() for _ in range(connections)))


async def opened(session, url, rate, seconds, latencies):
    started = time.perf_counter()
    tasks = set()
    for index in range(int(rate * seconds)):
        wait = started + index / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        elif index % 100 == 0:
            await asyncio.sleep(0)
        task = asyncio.create_task(ask(session, url, latencies))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--connections", type=int)
    parser.add_argument("--rate", type=float)
    given = parser.parse_args()
    latencies = []
    connector = aiohttp.TCPConnector(limit=given.connections or 0)
    async with aiohttp.ClientSession(connector=connector) as session:
        started = time.perf_counter()
        if given.connections:
            await closed(session, given.url, given.connections, given.seconds, latencies)
        else:
            await opened(session, given.url, given.rate, given.seconds, latencies)
        seconds = time.perf_counter() - started
    latencies.sort()
    picked = {f"p{q}_ms": 1e3 * latencies[int(q / 100 * (len(latencies) - 1))] for q in (50, 99)}
    print(json.dumps({"done_per_s": len(latencies) / seconds, **picked}))


uvloop.run(main())
