"""300 clients hang up after 20 ms; how long does the next honest request take?

    python benchmarks/hangups.py [--peers] [--rounds 5]

Texts are mixed (8..128 tokens). A server that computes for callers who left makes the honest one wait for them.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load import bodies_of, free_port, machine, paceline_server, texts_of

from benchmarks.peers.launch import PEERS, launched

CLIENTS = 300
PATIENCE_S = 0.020


def hang_up(url: str, bodies: list[bytes]) -> None:
    """Open `CLIENTS` connections, send a whole request on each, and close them all `PATIENCE_S` later."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    sockets = []
    for body in bodies[:CLIENTS]:
        connection = socket.create_connection((parts.hostname, parts.port))
        connection.sendall(
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (parts.path.encode(), len(body), body)
        )
        sockets.append(connection)
    time.sleep(PATIENCE_S)
    for connection in sockets:
        connection.close()


def honest(url: str, body: bytes) -> float:
    """Seconds one patient caller waits."""
    started_at = time.perf_counter()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        assert json.load(reply)["data"]
    return time.perf_counter() - started_at


def measure(url: str, rounds: int) -> dict[str, float]:
    """Milliseconds: alone, and after the hang-ups (median and worst of the rounds)."""
    bodies = bodies_of(texts_of("mixed", CLIENTS * rounds + rounds, seed=7), model="all-MiniLM-L6-v2")
    alone = statistics.median(honest(url, bodies[-1]) for _ in range(5))
    waits = []
    for index in range(rounds):
        hang_up(url, bodies[index * CLIENTS :])
        waits.append(honest(url, bodies[CLIENTS * rounds + index]))
        time.sleep(5.0)  # let a server that went on computing finish, so that rounds do not add up
    return {"alone_ms": alone * 1e3, "after_ms": statistics.median(waits) * 1e3, "worst_ms": max(waits) * 1e3}


def main() -> None:
    """Print one row a server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true", help="run the competitors too (see benchmarks/peers)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine()}; {CLIENTS} clients leave after {PATIENCE_S * 1e3:.0f} ms; {options.rounds} rounds")
    rows = {}
    with paceline_server("cache.enabled=false", "embed.precision=fp32") as server:
        rows["paceline fp32"] = measure(server.url, options.rounds)
    if options.peers:
        for peer in PEERS.values():
            with launched(peer, free_port()) as base:
                rows[peer.name] = measure(base + peer.url_path, options.rounds)
    for name, row in rows.items():
        print(
            f"{name:32} alone {row['alone_ms']:7.1f} ms   after {row['after_ms']:8.1f} ms   worst {row['worst_ms']:8.1f} ms"
        )


if __name__ == "__main__":
    main()
