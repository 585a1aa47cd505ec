"""gRPC beside HTTP, as a user starts it: one process or several, the same collections and tokens."""

from __future__ import annotations

import socket
from pathlib import Path

import grpc
import httpx
import pytest
from running import refused, running

from paceline.serve.grpc import vector_service_pb2 as pb

TOKEN = "only-for-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("workers", [1, 2])
def test_what_http_writes_grpc_finds(tmp_path: Path, workers: int) -> None:
    """Whichever process is called; the server stops cleanly with an open channel."""
    port = free_port()
    settings = (f"vectors.folder={tmp_path / 'vectors'}", f"grpc.port={port}", f"auth.token={TOKEN}")
    with running(*settings, f"serve.workers={workers}", "embed.model=", state_dir=str(tmp_path)) as server:
        with httpx.Client(base_url=server.url, headers={"api-key": TOKEN}) as http:
            made = http.post("/v1/collections", json={"name": "films", "dimension": 2})
            assert made.status_code < 300, made.text
            vectors = [{"id": "alien", "values": [1, 0]}, {"id": "dune", "values": [0, 1]}]
            http.post("/v1/vectors/upsert", json={"vectors": vectors}).raise_for_status()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            query = channel.unary_unary(
                "/VectorService/Query",
                request_serializer=pb.QueryRequest.SerializeToString,
                response_deserializer=pb.QueryResponse.FromString,
            )
            asked = pb.QueryRequest(vector=[1, 0.1], top_k=1)
            found = query(
                asked, metadata=[("authorization", f"Bearer {TOKEN}")], wait_for_ready=True, timeout=20
            )

            assert [one.id for one in found.matches] == ["alien"]
            assert server.stop() == 0


def test_without_collections_it_is_refused() -> None:
    """There would be nothing to ask."""
    status, told = refused("--set", "grpc.port=50051", "--set", "embed.model=")

    assert (status, "grpc.port" in told) == (2, True)
