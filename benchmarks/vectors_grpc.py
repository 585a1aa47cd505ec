"""One query after another over gRPC and over HTTP with MessagePack: `python benchmarks/vectors_grpc.py`.

The same server, collection (2,000 x 384) and queries; one client each that is no slower than it must be (grpcio's blocking
channel, http.client). Rounds alternate. Queries from memory show what the protocol costs, as nothing is searched.
"""

from __future__ import annotations

import base64
import http.client
import tempfile
import time
from collections.abc import Callable

import grpc
import msgspec
import numpy as np
from load import Server, free_port, machine, paceline_server

from paceline.serve.grpc import vector_service_pb2 as pb

ROWS, DIMENSIONS, QUERIES, ROUNDS = 2000, 384, 600, 3
TYPES = {"content-type": "application/msgpack", "accept": "application/msgpack"}
Ask = Callable[[np.ndarray], list[str]]


def over_http(host: str) -> Callable[[str, object], dict]:
    """Calls of one connection: path and fields -> the answer."""
    connection = http.client.HTTPConnection(host)

    def call(path: str, fields: object) -> dict:
        connection.request("POST", path, msgspec.msgpack.encode(fields), TYPES)
        reply = connection.getresponse()
        content = reply.read()
        if reply.status >= 300:
            raise RuntimeError(content)
        return msgspec.msgpack.decode(content)

    return call


def packed(vector: np.ndarray) -> str:
    return base64.b64encode(vector.tobytes()).decode()


def measured(server: Server, ask: Ask, queries: np.ndarray) -> str:
    """Latency and CPU time of the server's, a call."""
    cpu_s, took = server.cpu_s(), []
    for query in queries:
        started = time.perf_counter()
        ask(query)
        took.append((time.perf_counter() - started) * 1e3)
    cpu_ms = (server.cpu_s() - cpu_s) / len(queries) * 1e3
    p50, p99 = np.percentile(took, [50, 99])
    return f"p50 {p50:.3f} ms, p99 {p99:.3f} ms, server's CPU {cpu_ms:.2f} ms a call"


def main() -> None:
    print(machine(), f"grpcio {grpc.__version__}")
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((ROWS, DIMENSIONS)).astype("<f4")
    fresh = rng.standard_normal((ROUNDS, 2, QUERIES, DIMENSIONS)).astype("<f4")
    known = np.resize(rng.standard_normal((50, DIMENSIONS)), (QUERIES, DIMENSIONS)).astype("<f4")
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        paceline_server(f"vectors.folder={folder}", f"grpc.port={port}") as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = over_http(server.url.split("/")[2])
        call("/v1/collections", {"name": "contest", "dimension": DIMENSIONS})
        for start in range(0, ROWS, 500):
            vectors = [{"id": str(i), "values": packed(rows[i])} for i in range(start, start + 500)]
            call("/v1/vectors/upsert", {"vectors": vectors})
        query = channel.unary_unary(
            "/VectorService/Query", pb.QueryRequest.SerializeToString, pb.QueryResponse.FromString
        )

        def by_grpc(vector: np.ndarray) -> list[str]:
            return [one.id for one in query(pb.QueryRequest(vector=vector, top_k=10)).matches]

        def by_http(vector: np.ndarray) -> list[str]:
            answer = call("/v1/vectors/query", {"vector": packed(vector), "topK": 10})
            return [one["id"] for one in answer["matches"]]

        assert by_grpc(known[0]) == by_http(known[0])
        for i in range(ROUNDS):
            for place, (name, ask) in enumerate((("gRPC", by_grpc), ("HTTP + MessagePack", by_http))):
                print(f"{name:20} searched    {measured(server, ask, fresh[i, place])}", flush=True)
                print(f"{name:20} from memory {measured(server, ask, known)}", flush=True)


if __name__ == "__main__":
    main()
