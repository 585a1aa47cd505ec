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
MEASURED = [
    # rows, dimensions, seconds to load and join, milliseconds of a query, MB of the joining process
    (20_000, 384, 3.3, 0.050, 194),
    (35_000, 384, 5.0, 0.058, 181),
    (50_000, 384, 7.4, 0.062, 218),
    (100_000, 384, 16.1, 0.068, 249),
    (115_659, 384, 17.8, 0.069, 269),
    (20_000, 384, 3.1, 0.044, 183),
    (35_000, 384, 4.6, 0.047, 181),
    (50_000, 384, 7.1, 0.053, 184),
    (100_000, 384, 13.3, 0.060, 249),
    (200_000, 384, 27.8, 0.070, 380),
    (500_000, 384, 85.4, 0.083, 774),
    (100_000, 768, 26.9, 0.102, 419),
    (100_000, 96, 11.4, 0.047, 156),
]
"""`benchmarks/vectors_plan.py` on one core of a Zen 5, the machine otherwise idle, November 2026: five of WordNet's
glosses, six of `clustered` vectors, and glosses whose numbers come twice or of which a quarter is kept."""


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


@pytest.mark.parametrize(("rows", "dimensions", "build_s", "query_ms", "join_mb"), MEASURED)
def test_times_and_the_memory_of_a_join_are_those_that_were_measured(
    rows: int, dimensions: int, build_s: float, query_ms: float, join_mb: float
) -> None:
    """Within a quarter, on either side; a join's memory, which depends on the machine much less, within 15 %."""
    planned = plan(rows, dimensions, cores=1)

    assert 1 / 1.25 < planned.build_s / build_s < 1.25
    assert 1 / 1.25 < planned.query_ms / query_ms < 1.25
    assert planned.join_memory / 1e6 == pytest.approx(join_mb, rel=0.15)


def test_a_start_is_counted_where_there_is_one() -> None:
    """A graph from `graph_rows` on, a process from `process_rows` on, in each shard."""
    rates = Rates(load_us=0.0, build_us=0.0, graph_s=1.0, process_s=10.0)
    policy = VectorsPolicy(upkeep=UpkeepPolicy(graph_rows=1000, process_rows=2000))

    def build_s(rows: int, shards: int = 1) -> float:
        return plan(rows, 8, shards=shards, rates=rates, policy=policy).build_s

    assert [build_s(rows) for rows in (999, 1000, 2000)] == [0.0, 1.0, 11.0]
    assert build_s(8000, shards=4) == 44.0


def test_a_join_holds_less_than_the_vectors_as_they_came() -> None:
    """Beside its process: codes, links, the finer copy and names, not the numbers as float32 as well."""
    large, small = plan(2_000_000, 384), plan(1_000_000, 384)

    assert (large.join_memory - small.join_memory) / 1_000_000 < 4 * 384


def test_builds_take_the_threads_that_joins_take() -> None:
    """Half of the cores, unless the policy says how many; shards of a host are joined in turn."""
    four = VectorsPolicy(upkeep=UpkeepPolicy(threads=4))
    halves, quarter = plan(1_000_000, 384, cores=16), plan(1_000_000, 384, cores=16, policy=four)
    free = Rates(load_us=0.0, graph_s=0.0, process_s=0.0)

    assert (halves.build_threads, quarter.build_threads) == (8, 4)
    assert plan(1_000_000, 384, cores=2, policy=four).build_threads == 2
    assert plan(1_000_000, 384, cores=16, policy=four, rates=free).build_s == pytest.approx(
        2 * plan(1_000_000, 384, cores=16, rates=free).build_s
    )


def test_a_million_fits_as_promised() -> None:
    """Codes, graph and what finds records: below 700 MB."""
    assert 1e6 * plan(1_000_000, 384).row.resident < 700e6


def test_the_plan_is_a_table() -> None:
    """With the hosts it takes, or why none will do."""
    large = plan(100_000_000, 384, shards=20, ram_gb=64, cores=16)
    lines = large.text().splitlines()

    assert lines[0] == ("100,000,000 vectors of 384 dimensions in 20 shards; int8, re-scored on fp16, M 16")
    assert any(line.split() == ["codes", "384", "searched"] for line in lines)
    assert lines[-1] == "1 host of 64 GiB and 16 cores"
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
