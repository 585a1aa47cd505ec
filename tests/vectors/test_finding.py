"""A graph knows what it finds, and a search that says nothing looks as far as that needs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from clustered import clustered
from served import ask, served

from paceline.base.vectors_collections import Compact, CreateCollection
from paceline.base.vectors_records import Upsert, VectorItem
from paceline.vectors.codes import Coded, Coder
from paceline.vectors.collection import Collection
from paceline.vectors.exact import nearest, recall
from paceline.vectors.finding import Finding, least_ef, measured_build
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.policy import Schema, SearchPolicy, ShardPolicy, UpkeepPolicy, VectorsPolicy
from paceline.vectors.sharded import ShardedCollection

COUNT, DIMENSIONS = 4000, 24
HARD = np.random.default_rng(1).standard_normal((COUNT, DIMENSIONS)).astype(np.float32)
"""Without clusters: of which a graph finds little."""
QUERIES = np.random.default_rng(2).standard_normal((300, DIMENSIONS)).astype(np.float32)
NEEDY = VectorsPolicy(
    search=SearchPolicy(m=6, ef_construction=30, recall=0.99), upkeep=UpkeepPolicy(graph_rows=1000)
)
"""Graphs that find little, of which much is wanted."""


def test_what_was_found_among_records_left_out_is_what_queries_find() -> None:
    coded = Coded.of(Coder.learn(HARD, "int8"), HARD)
    fine = Coded.of(Coder.learn(HARD, "fp16"), HARD)

    graph, findings = measured_build(coded, fine, GraphPlan(m=6, ef_construction=30))

    search, truth = GraphSearch(graph, coded, fine), nearest(QUERIES, HARD, 10)[0]
    assert [one.ef for one in findings] == sorted({one.ef for one in findings})
    assert findings[0].recall < 0.97 < findings[-1].recall
    for one in findings:
        assert recall(search.search(QUERIES, 10, one.ef)[0], truth) == pytest.approx(one.recall, abs=0.03)


def test_all_rows_are_in_the_graph_in_the_end() -> None:
    vectors = clustered(1000)
    coded, fine = (Coded.of(Coder.learn(vectors, precision), vectors) for precision in ("int8", "fp16"))

    graph, _ = measured_build(coded, fine, GraphPlan(m=16, ef_construction=60, threads=2))

    found, _ = GraphSearch(graph, coded, fine).search(vectors, 1, 60)
    assert (found[:, 0] == np.arange(1000)).mean() >= 0.999
    assert (graph.base[:, 0] >= 0).all()


@pytest.mark.parametrize(("wanted", "ef"), [(0.5, 50), (0.9, 50), (0.95, 100), (0.99, 200), (0.999, 200)])
def test_the_least_ef_is_the_first_that_found_enough_or_the_last(wanted: float, ef: int) -> None:
    assert least_ef([Finding(50, 0.9), Finding(100, 0.97), Finding(200, 0.99)], wanted) == ef


def test_nothing_measured_asks_for_nothing() -> None:
    assert least_ef([], 0.98) == 0


def test_a_search_that_says_nothing_looks_as_far_as_the_recall_needs(tmp_path: Path) -> None:
    truth, _ = nearest(QUERIES, HARD, 10)
    names = [str(row) for row in range(COUNT)]
    with Collection.create(tmp_path / "c", Schema(dimensions=DIMENSIONS), policy=NEEDY) as collection:
        collection.upsert_arrays(names, HARD)
        assert collection.default_ef == 100  # fresh records were measured by nobody
        collection.compact()
        assert collection.default_ef > 100

    with Collection.open(tmp_path / "c", policy=NEEDY) as collection:
        assert found_by(collection, truth) >= 0.97
        assert found_by(collection, truth, ef=10) < 0.9

        collection.policy = VectorsPolicy(search=SearchPolicy(ef=10))
        assert collection.default_ef == 10


def test_shards_look_as_far_as_the_one_that_needs_most(tmp_path: Path) -> None:
    schema = Schema(dimensions=DIMENSIONS)
    parts = {name: Collection.create(tmp_path / name, schema, policy=NEEDY) for name in ("few", "hard")}
    parts["few"].upsert_arrays(["a", "b"], HARD[:2])
    parts["hard"].upsert_arrays([str(row) for row in range(COUNT)], HARD)
    parts["hard"].compact()

    with ShardedCollection(parts, schema, policy=NEEDY) as sharded:
        assert sharded.records == COUNT + 2
        assert sharded.default_ef == parts["hard"].default_ef > 100

        sharded.policy = VectorsPolicy(search=SearchPolicy(ef=10))
        assert sharded.default_ef == 10


@pytest.mark.anyio
@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_the_card_of_shards_shows_how_far_they_look(tmp_path: Path, processes: bool) -> None:
    policy = msgspec.structs.replace(NEEDY, shards=ShardPolicy(processes=processes, timeout_s=60.0))
    items = [VectorItem(str(row), values) for row, values in enumerate(HARD.tolist())]
    async with served(tmp_path, policy) as service:
        made = await ask(service, CreateCollection(name="c", dimension=DIMENSIONS, shards=2))
        await ask(service, Upsert(collection="c", vectors=items))
        compacted = await ask(service, Compact(collection="c"))

        assert made.ef == 100
        assert compacted.ef > 100


def found_by(collection: Collection, truth: np.ndarray, ef: int | None = None) -> float:
    found = collection.query(QUERIES, 10, ef=ef)
    return recall(np.array([[int(match.id) for match in one] for one in found], np.int32), truth)
