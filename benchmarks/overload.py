"""Ten times more than the server can do: how much is still answered in time, and how fast is a no?

    python benchmarks/overload.py [--factor 0.8 1.3 10] [--seconds 10] [--slo-ms 300]

Open loop over h2load-like raw connections: arrivals are a seeded Poisson process, each on a connection of its own from
a pool, whatever became of those before. Capacity is the closed-loop rate at 64 callers measured first in the same run.
An answer is good when it is a 200 within the SLO of its scheduled start. Texts are mixed (8..128 tokens). The client
shares the two cores, so its own CPU is reported beside the result.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import time
from random import Random
from urllib.parse import urlsplit

import uvloop
from load import bodies_of, machine, paceline_server, texts_of, wrk


class Exchange(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, idle: list[Exchange]) -> None:
        self._idle = idle
        self._reply = b""
        self.done: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, request: bytes) -> asyncio.Future[int]:
        """The status of the reply; -1 when the connection broke."""
        self.done = asyncio.get_running_loop().create_future()
        self._reply = b""
        self.transport.write(request)  # type: ignore[attr-defined]
        return self.done

    def data_received(self, data: bytes) -> None:
        self._reply += data
        head, found, body = self._reply.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) >= length and self.done is not None and not self.done.done():
            self._idle.append(self)
            self.done.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self.done is not None and not self.done.done():
            self.done.set_result(-1)


async def offer(
    url: str, bodies: list[bytes], rate: float, seconds: float, seed: int
) -> list[tuple[int, float]]:
    """Offer `rate` requests a second; returns (status, seconds from the scheduled start) of each."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    draw = Random(seed)
    idle: list[Exchange] = []
    results: list[tuple[int, float]] = []

    async def one(body: bytes, start_at: float) -> None:
        if idle:
            exchange = idle.pop()
        else:
            _, exchange = await loop.create_connection(lambda: Exchange(idle), parts.hostname, parts.port)
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        status = await exchange.send(head % (parts.path.encode(), len(body)) + body)
        results.append((status, time.monotonic() - start_at))

    tasks = []
    at = time.monotonic() + 0.1
    end = at + seconds
    index = 0
    while at < end:
        delay = at - time.monotonic()
        if delay > 0.002:
            await asyncio.sleep(delay)
        tasks.append(asyncio.ensure_future(one(bodies[index % len(bodies)], at)))
        index += 1
        at += draw.expovariate(rate)
        if index % 50 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return results


def main() -> None:
    """Print one row a load factor."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--factor", nargs="+", type=float, default=[0.8, 1.3, 3, 10])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--slo-ms", type=float, default=300)
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    bodies = bodies_of(texts_of("mixed", 4000), encoding_format="base64")
    print(f"{machine()}; SLO {options.slo_ms:g} ms")
    with paceline_server(
        "cache.enabled=false", f"embed.precision={options.precision}", f"embed.gate.slo_ms={options.slo_ms}"
    ) as server:
        wrk(server.url, bodies, 16, 3)
        capacity = statistics.median(wrk(server.url, bodies, 12, options.seconds).rate for _ in range(3))
        print(f"capacity {capacity:.0f}/s (closed loop, 12 callers, all within the SLO)")
        for factor in options.factor:
            busy = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
            results = uvloop.run(offer(server.url, bodies, capacity * factor, options.seconds, seed=3))
            busy = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - busy
            good = (
                sum(status == 200 and taken <= options.slo_ms / 1e3 for status, taken in results)
                / options.seconds
            )
            answered = sorted(taken for status, taken in results if status == 200)
            refused = sorted(taken for status, taken in results if status == 503)
            other = sum(status not in {200, 503} for status, _ in results)

            def at(values: list[float], share: float) -> str:
                return (
                    f"{values[min(len(values) - 1, int(share * len(values)))] * 1e3:.1f}" if values else "-"
                )

            print(
                f"{factor:5.1f}x offered {len(results) / options.seconds:6.0f}/s: good {good:6.1f}/s = {good / capacity:4.0%} of capacity, "
                f"accepted p50 {at(answered, 0.5)} p99 {at(answered, 0.99)} ms; refused {len(refused)}: p50 {at(refused, 0.5)} "
                f"p99 {at(refused, 0.99)} ms; other {other}; client CPU {busy / options.seconds:.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
