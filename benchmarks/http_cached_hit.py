"""CPU time of a full cached hit over HTTP (token, limit, memory tier, metrics): `python benchmarks/http_cached_hit.py`.

Server and client (wrk, for the steady rate h2load) have a core each. Rounds of all rows alternate, so that they meet the same neighbours; read the CPU
microseconds (user + system of the server process), which other work on the host moves least. The control is an
application that does nothing, on the same uvicorn: what any Python server costs before it thinks.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from load import ROOT, Server, free_port, machine, psutil, wrk

TOKEN = "benchmark-token"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
TEXT = "a group of many things in the air or on the ground"

CONTROL = """
import sys, uvicorn

async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEAD})
    await send({"type": "http.response.body", "body": b"{}"})

HEAD = [(b"content-type", b"application/json"), (b"content-length", b"2")]
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False,
            server_header=False, proxy_headers=False, log_level="warning")
"""


@contextlib.contextmanager
def started(command: list[str], port: int, core: int) -> Iterator[Server]:
    """The server `command` starts on `port`, pinned to `core`, once it has embedded the text of this benchmark."""
    url = f"http://127.0.0.1:{port}/v1/embeddings"
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509
    )
    try:
        started_at = time.perf_counter()
        request = urllib.request.Request(url, body("base64"), {"Content-Type": "application/json", **HEADERS})
        while True:
            assert process.poll() is None, f"{command} ended with {process.returncode}"
            try:
                urllib.request.urlopen(request, timeout=30).read()
                break
            except urllib.error.HTTPError as error:
                raise RuntimeError(error.read().decode()) from None
            except OSError:
                assert time.perf_counter() - started_at < 120, f"{command} does not answer"
                time.sleep(0.02)
        yield Server(url, psutil.Process(process.pid), time.perf_counter() - started_at)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def body(encoding: str) -> bytes:
    """The one request of this benchmark."""
    return f'{{"input":"{TEXT}","encoding_format":"{encoding}"}}'.encode()


def measure(
    server: Server, encoding: str, connections: int, seconds: float, core: int
) -> tuple[float, float, float, float]:
    """Requests per second, p50 and p99 in ms, CPU us per request."""
    before_s = server.cpu_s()
    load = wrk(server.url, [body(encoding)], connections, seconds, HEADERS, str(core))
    cpu_us = (server.cpu_s() - before_s) / (load.rate * seconds) * 1e6
    assert load.failed == 0, f"{load.failed} requests failed"
    return load.rate, load.p50_ms, load.p99_ms, cpu_us


def paced(
    server: Server, encoding: str, rate: float, seconds: float, core: int
) -> tuple[float, float, float, float]:
    """The same at a steady `rate`, with h2load on 16 connections."""
    before_s = server.cpu_s()
    with tempfile.TemporaryDirectory() as folder:
        content, log = Path(folder) / "body", Path(folder) / "log"
        content.write_bytes(body(encoding))
        command = [
            "taskset",
            "-c",
            str(core),
            "h2load",
            "--h1",
            "-t1",
            "-c16",
            f"--rps={rate / 16:.0f}",
            f"--duration={seconds:g}",
        ]
        command += [
            f"--data={content}",
            f"--header=authorization: {HEADERS['Authorization']}",
            f"--log-file={log}",
            server.url,
        ]
        subprocess.run(command, check=True, capture_output=True)
        calls = [line.split() for line in log.read_text().splitlines()]
    assert all(status == "200" for _, status, _ in calls), "requests failed"
    # A connection's first call pays for all connections being made at once.
    times_ms = sorted(int(microseconds) / 1e3 for _, _, microseconds in calls[16:])
    cpu_us = (server.cpu_s() - before_s) / len(calls) * 1e6
    return len(calls) / seconds, times_ms[len(times_ms) // 2], times_ms[int(len(times_ms) * 0.99)], cpu_us


def main() -> None:
    """Print one line a row: medians over the rounds, and the least CPU time of any round."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=4.0)
    given = arguments.parse_args()
    server_core, client_core = sorted(os.sched_getaffinity(0))[:2]
    ports = free_port(), free_port()
    paceline = [sys.executable, "-m", "paceline", "serve"]
    for setting in (f"serve.port={ports[1]}", f"auth.token={TOKEN}", "limits.rpm=100000000"):
        paceline += ["--set", setting]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        script = Path(folder) / "control.py"
        script.write_text(CONTROL)
        control = stack.enter_context(
            started([sys.executable, str(script), str(ports[0])], ports[0], server_core)
        )
        ours = stack.enter_context(started(paceline, ports[1], server_core))
        rows = [
            ("control: empty application, 16 callers", control, "base64", 16),
            ("cached hit, base64, 16 callers", ours, "base64", 16),
            ("cached hit, float, 16 callers", ours, "float", 16),
        ]
        rounds = []
        for _ in range(given.rounds):
            took = [measure(*row, given.seconds, client_core) for _, *row in rows]
            rounds.append([*took, paced(ours, "base64", took[1][0] / 2, given.seconds, client_core)])
    print(machine())
    print(f"{'':40} {'req/s':>8} {'p50 ms':>7} {'p99 ms':>7} {'CPU us':>7} {'least':>6}")
    names = [*(name for name, *_ in rows), "cached hit, base64, half of that rate"]
    for name, measured in zip(names, zip(*rounds, strict=True), strict=True):
        rate, p50_ms, p99_ms, cpu_us = (statistics.median(column) for column in zip(*measured, strict=True))
        least_us = min(cpu for *_, cpu in measured)
        print(f"{name:40} {rate:8.0f} {p50_ms:7.2f} {p99_ms:7.2f} {cpu_us:7.1f} {least_us:6.1f}")


if __name__ == "__main__":
    main()
