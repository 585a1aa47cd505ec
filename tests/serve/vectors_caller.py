"""A collection of six records over HTTP, and what is read of its replies."""

from __future__ import annotations

import numpy as np
from embedder import DIMENSIONS

ROWS = np.random.default_rng(0).standard_normal((6, DIMENSIONS)).astype(np.float32).tolist()


def fill(caller, **headers):
    items = [{"id": f"r{i}", "values": row, "metadata": {"n": i}} for i, row in enumerate(ROWS)]
    reply = caller.post("/v1/vectors/upsert", json={"collection": "demo", "vectors": items}, headers=headers)
    assert reply.json() == {"upsertedCount": len(ROWS)}, reply.text


def ids(reply):
    assert reply.status_code == 200, reply.text
    return [match["id"] for match in reply.json()["matches"]]


def told(reply):
    """Status, code and field at fault of a problem."""
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    return reply.status_code, problem["code"], problem.get("param")
