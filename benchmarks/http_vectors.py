"""What HTTP adds to a vector query, and how many cached ones a core answers: `python benchmarks/http_vectors.py`.

10,000 clustered vectors of 384 numbers, sent as JSON. Server and client have a core each. Uncached: the p50 of one caller with queries that were
never asked before, against the same queries in process (`LocalVectors.answer`), which is the control. Cached: 16
connections ask one query over and over; the rate is what both cores did, the CPU microseconds are the server's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
from load import ROOT, free_port, machine, psutil

from paceline.base.vectors_records import Query
from paceline.flow.cache.policy import CachePolicy
from paceline.flow.cache.tiers import open_tiers
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.service import LocalVectors
from paceline.vectors.store import VectorStore

COUNT, DIMENSIONS, QUERIES, CONNECTIONS = 10_000, 384, 1500, 16
PATH = "/v1/collections/demo/query"


def vectors() -> tuple[list[list[float]], list[list[float]]]:
    """Records and queries, around the same 100 centres; eight digits each, as most clients print float32."""
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((100, DIMENSIONS))
    rows = centres[draw.integers(100, size=COUNT + QUERIES)] + 0.7 * draw.standard_normal(
        (COUNT + QUERIES, DIMENSIONS)
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    listed = [[float(f"{number:.8g}") for number in row] for row in rows.tolist()]
    return listed[:COUNT], listed[COUNT:]


@contextlib.contextmanager
def started(folder: Path, core: int) -> Iterator[tuple[int, psutil.Process]]:
    """The port and process of a server on `core` whose collections are in `folder`."""
    port = free_port()
    command = [sys.executable, "-m", "paceline", "serve", "--port", str(port), "--vectors", str(folder)]
    process = subprocess.Popen(
        [*command, "--set", "embed.model="],
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509
    )
    try:
        ready = f"http://127.0.0.1:{port}/health/ready"
        started_at = time.perf_counter()
        while True:
            assert process.poll() is None, f"the server ended with {process.returncode}"
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(ready).status_code == 200:
                    break
            assert time.perf_counter() - started_at < 120, "the server does not answer"
            time.sleep(0.02)
        yield port, psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def request(vector: list[float]) -> bytes:
    """A whole POST."""
    body = json.dumps({"vector": vector, "topK": 10}, separators=(",", ":")).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def one_by_one(port: int, requests: list[bytes]) -> list[float]:
    """Seconds of each, one caller."""
    took = []
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for each in requests:
            before = time.perf_counter()
            link.sendall(each)
            reply = link.recv(65536)
            took.append(time.perf_counter() - before)
            assert reply[:12] + reply[-1:] == b"HTTP/1.1 200}", reply
    return took


def over_and_over(port: int, asked: bytes, seconds: float) -> int:
    """Answers that `CONNECTIONS` callers got to one request."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        for _ in range(CONNECTIONS):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waiting.register(link, selectors.EVENT_READ)
            link.sendall(asked)
        answers, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            for key, _ in waiting.select(1):
                reply = key.fileobj.recv(65536)
                assert reply[:12] + reply[-1:] == b"HTTP/1.1 200}", reply
                answers += 1
                key.fileobj.sendall(asked)
        for key in list(waiting.get_map().values()):
            key.fileobj.recv(65536)
    return answers


async def in_process(folder: Path, queries: list[list[float]]) -> list[float]:
    """Seconds of each, without HTTP."""
    service = LocalVectors(VectorStore(folder), VectorsPolicy(), cache=open_tiers(CachePolicy()))
    took = []
    for vector in queries:
        before = time.perf_counter()
        query = Query(collection="demo", vector=vector, top_k=10)
        if service.hit(query) is None:
            await service.answer(query, deadline_at=time.monotonic() + 60)
        took.append(time.perf_counter() - before)
    await service.close()
    return took


def main() -> None:
    """Print three lines."""
    server_core, client_core = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {client_core})
    records, queries = vectors()
    requests = [request(vector) for vector in queries]
    with tempfile.TemporaryDirectory() as folder:
        with started(Path(folder), server_core) as (port, process):
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as caller:
                made = {"name": "demo", "dimension": DIMENSIONS}
                caller.post("/v1/collections", json=made).raise_for_status()
                for start in range(0, COUNT, 500):
                    items = [
                        {"id": str(start + i), "values": values}
                        for i, values in enumerate(records[start : start + 500])
                    ]
                    caller.post("/v1/vectors/upsert", json={"vectors": items}).raise_for_status()
                caller.post("/v1/collections/demo/compact").raise_for_status()
            http = one_by_one(port, requests)[500:]
            before_s = sum(process.cpu_times()[:2])
            seconds = 5.0
            answers = over_and_over(port, requests[-1], seconds)
            cpu_us = (sum(process.cpu_times()[:2]) - before_s) / answers * 1e6
        direct = asyncio.run(in_process(Path(folder), queries))[500:]
    print(machine())
    p50_ms, control_ms = (statistics.median(took) * 1e3 for took in (http, direct))
    print(f"uncached, in process (control)  p50 {control_ms:.3f} ms")
    print(f"uncached, over HTTP             p50 {p50_ms:.3f} ms, {p50_ms - control_ms:.3f} ms more")
    print(
        f"cached, {CONNECTIONS} callers              {answers / seconds:.0f}/s, {cpu_us:.1f} us of server CPU each"
    )


if __name__ == "__main__":
    main()
