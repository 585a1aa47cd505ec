"""How exact is the responder? `python benchmarks/targets/probe.py [--rate 200] [--seconds 5]`

A client that sends one request at a time and reads the kernel's own time of the answer. It shows, in microseconds away from
the 10.00 ms that are promised: the answer's arrival (kernel) after the moment just before `send`, the same as user
code reads it, and what the responder says of itself; alone, and beside wrk with 100 connections.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.load import machine
from benchmarks.targets import GENERATOR_CORE, pinned, responder

SO_TIMESTAMPNS = 35
DELAY_US = 10_000
REQUEST = b"GET / HTTP/1.1\r\nHost: probe\r\n\r\n"


def probe(port: int, rate: float, seconds: float) -> tuple[list[float], list[float]]:
    """Microseconds beyond the delay by the kernel's stamp and by ours, one each request."""
    kernel, user = [], []
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        due = time.monotonic()
        for _ in range(int(rate * seconds)):
            sent_ns = time.time_ns()
            link.send(REQUEST)
            _, control, _, _ = link.recvmsg(4096, 128)
            read_ns = time.time_ns()
            seconds_part, nanoseconds = struct.unpack("qq", control[0][2])
            kernel.append((seconds_part * 10**9 + nanoseconds - sent_ns) / 1e3 - DELAY_US)
            user.append((read_ns - sent_ns) / 1e3 - DELAY_US)
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))
    return kernel, user


def row(name: str, values: list[float]) -> None:
    ordered = sorted(values)
    picked = [ordered[int(q * (len(ordered) - 1))] for q in (0.01, 0.5, 0.9, 0.99, 1.0)]
    print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in picked) + " |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=80)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    print(machine())
    os.sched_setaffinity(0, {GENERATOR_CORE})
    print("\n| us beyond 10.00 ms | p1 | p50 | p90 | p99 | max |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for load in (0, 1, 100):
        with responder("delay", delay_us=DELAY_US) as target, contextlib.ExitStack() as stack:
            if load:
                command = [
                    *pinned(GENERATOR_CORE),
                    shutil.which("wrk") or "wrk",
                    "-t1",
                    f"-c{load}",
                    "-d60s",
                    target.url,
                ]
                wrk = stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))
                stack.callback(wrk.kill)
                time.sleep(0.5)
            kernel, user = probe(target.port, arguments.rate, arguments.seconds)
            name = f"beside {load} connections of wrk" if load else "alone"
            row(f"{name}, kernel's stamp", kernel)
            row(f"{name}, read by user code", user)
            stats = target.stats()
            told = ", ".join(f"{key[5:-3]} {stats[key]}" for key in stats if key.startswith("late"))
            print(f"| {name}, responder's own: {told} us of {stats['timed']:,} | | | | | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
