"""The plan's bytes are those of real collections, and it refuses what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from clustered import clustered

from paceline.base.errors import InvalidRequest
from paceline.vectors.capacity import Rates, plan
from paceline.vectors.codes import Precision
from paceline.vectors.collection import Collection
from paceline.vectors.metric import Metric
from paceline.vectors.policy import Rescore, Schema, SearchPolicy, UpkeepPolicy, VectorsPolicy

ROWS = 3000


@pytest.mark.parametrize(
    ("precision", "rescore", "metric", "m", "dimensions"),
    [
        ("int8", "fp16", "cosine", 16, 384),
        ("fp16", "none", "dot", 8, 100),
        ("binary", "bf16", "l2", 32, 256),
        ("fp32", "none", "cosine", 16, 65),
    ],
)
def test_bytes_are_those_of_a_real_collection(
    tmp_path: Path, precision: Precision, rescore: Rescore, metric: Metric, m: int, dimensions: int
) -> None:
    """Within 3 %: memory that searches go through, and disk."""
    schema = Schema(dimensions, metric, precision, rescore)
    policy = VectorsPolicy(search=SearchPolicy(m=m, ef_construction=20), upkeep=UpkeepPolicy(graph_rows=1000))
    vectors = clustered(ROWS, dimensions)
    metadata = [{"year": 1900 + i % 100, "title": f"title number {i:06d}"} for i in range(ROWS)]
    with Collection.create(tmp_path / "c", schema, policy=policy) as collection:
        collection.upsert_arrays([f"id-{i:05d}" for i in range(ROWS)], vectors, metadata)
        collection.compact()
        stats = collection.stats()
    planned = plan(
        ROWS,
        dimensions,
        precision=precision,
        rescore=rescore,
        metric=metric,
        m=m,
        id_bytes=8,
        metadata_bytes=36,
    )

    assert stats.rows_with_graph == ROWS
    assert planned.row.held * ROWS == pytest.approx(stats.held_bytes, rel=0.03)
    assert planned.rows_disk == pytest.approx(stats.disk_bytes, rel=0.03)


def test_a_million_fits_as_promised() -> None:
    """Codes, graph and what finds records: below 700 MB."""
    assert 1e6 * plan(1_000_000, 384).row.resident < 700e6


def test_the_plan_is_a_table() -> None:
    """With the hosts it takes, or why none will do."""
    large = plan(100_000_000, 384, shards=20, ram_gb=64, cores=16)
    lines = large.text().splitlines()

    assert lines[0] == ("100,000,000 vectors of 384 dimensions in 20 shards; int8, re-scored on fp16, M 16")
    assert any(line.split() == ["codes", "384", "searched"] for line in lines)
    assert lines[-1] == "2 hosts of 64 GiB and 16 cores"
    assert "take more shards or larger hosts" in plan(100_000_000, 384, ram_gb=16).text()
    assert plan(100_000_000, 384, ram_gb=16).hosts == 0


def test_shards_share_the_rows_and_not_the_work() -> None:
    """Twice the shards hold half each, but a query costs nearly twice the cores: a walk grows with the logarithm."""
    rates = Rates(shard_ms=0.0)
    few, many = plan(80_000_000, 384, shards=20, rates=rates), plan(80_000_000, 384, shards=40, rates=rates)

    assert few.segments_per_shard == many.segments_per_shard == 1
    assert many.rows_disk == pytest.approx(few.rows_disk, rel=1e-5)
    assert many.shard_memory < few.shard_memory
    assert 1.8 < many.query_cpu_ms / few.query_cpu_ms < 2


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"vectors": 0}, "vectors"),
        ({"dimensions": 0}, "dimensions"),
        ({"shards": 257}, "shards"),
        ({"m": 1}, "m"),
        ({"ram_gb": 0}, "ram_gb"),
        ({"metadata_bytes": -1}, "metadata_bytes"),
        ({"rescore": "none"}, "rescore"),
    ],
)
def test_what_cannot_be_planned_is_refused(given: dict, param: str) -> None:
    """With the field and its range."""
    with pytest.raises(InvalidRequest) as caught:
        plan(**{"vectors": 1000, "dimensions": 384, **given})

    assert caught.value.param == param
