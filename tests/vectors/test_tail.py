"""Fresh records: searched exactly, however many there are, and seen up to the last write that was published."""

from __future__ import annotations

import numpy as np
import pytest
from collections_of import DIMENSIONS, names, vector

from paceline.vectors.batch import Upserts, hashes_of
from paceline.vectors.bitmap import bitmap_of, rows_of
from paceline.vectors.exact import nearest, recall
from paceline.vectors.filters import Filter
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.policy import Schema
from paceline.vectors.record import packed_metadata
from paceline.vectors.tail import Tail

DRAW = np.random.default_rng(3)
VECTORS = DRAW.standard_normal((3000, DIMENSIONS)).astype(np.float32)


def tail_of(count: int, plan: GraphPlan | None = None, **schema: str) -> Tail:
    tail = Tail(Schema(dimensions=DIMENSIONS, **schema), plan)
    for start in range(0, count, 100):
        keys = [("", name) for name in names(min(100, count - start), start)]
        metadata = [packed_metadata({"n": start + i}) for i in range(len(keys))]
        tail.append(Upserts.of(keys, VECTORS[start : start + len(keys)], metadata))
    return tail


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("count", [1, 100, 1024, 1100, 3000])
def test_the_best_are_found_before_and_after_there_is_a_coarse_copy(count: int, precision: str) -> None:
    rows = tail_of(count, precision=precision).visible()
    queries = DRAW.standard_normal((50, DIMENSIONS)).astype(np.float32)
    found, scores = rows.search(queries, 10, ef=1, candidates=32, allowed=None, deleted=None, threads=1)
    truth, best = nearest(queries, VECTORS[:count], 10)

    assert recall(found, truth) >= 0.999
    np.testing.assert_allclose(scores, best, atol=1e-5)


def test_columns_of_blocks_agree_with_the_filter_itself() -> None:
    rows = tail_of(1300).visible()
    wanted = Filter.parse({"n": {"$gte": 500, "$ne": 1290}})

    assert rows_of(rows.passing(wanted), 1300).tolist() == [n for n in range(500, 1300) if n != 1290]


def test_rows_that_came_later_are_not_seen() -> None:
    tail = tail_of(100)
    before = tail.visible()
    keys = [("", "v5"), ("", "new")]
    tail.append(Upserts.of(keys, np.stack([vector(1), vector(2)]), [b"", b""]))

    assert before.find(keys, hashes_of(keys)).tolist() == [5, -1]
    assert tail.visible().find(keys, hashes_of(keys)).tolist() == [100, 101]
    assert len(before) == 100


def test_lengths_survive_the_normalisation() -> None:
    rows = tail_of(100).visible()

    np.testing.assert_allclose(rows.vectors_of(np.arange(100)), VECTORS[:100], rtol=1e-5)


def test_a_large_first_write_has_a_coarse_copy_too() -> None:
    tail = Tail(Schema(dimensions=DIMENSIONS))
    tail.append(Upserts.of([("", name) for name in names(3000)], VECTORS, [b""] * 3000))
    rows = tail.visible()
    found, _ = rows.search(VECTORS[:50], 1, ef=1, candidates=32, allowed=None, deleted=None, threads=1)

    assert tail.coarse is not None
    assert found[:, 0].tolist() == list(range(50))


PLAN = GraphPlan(m=16, ef_construction=64, quick=True, least_rows=200)


@pytest.mark.parametrize("precision", ["int8", "binary", "fp16"])
@pytest.mark.parametrize("linked", [0, 1500, 2900, 3000])
@pytest.mark.parametrize("masked", [False, True])
def test_rows_are_found_before_and_after_the_graph_came_to_them(
    linked: int, precision: str, masked: bool
) -> None:
    tail = tail_of(3000, PLAN, precision=precision)
    if linked:
        tail.grow(linked)
    rows = tail.visible()
    good = np.arange(3000) % 3 > 0 if masked else np.ones(3000, np.bool_)
    allowed, deleted = (None, None) if not masked else (bitmap_of(np.arange(3000) % 3 > 0), bitmap_of(~good))
    queries = DRAW.standard_normal((50, DIMENSIONS)).astype(np.float32)

    found, scores = rows.search(
        queries, 10, ef=200, candidates=64, allowed=allowed, deleted=deleted, threads=1
    )

    truth, best = nearest(queries, VECTORS[good], 10)
    assert tail.waiting == 3000 - linked
    assert recall(found, np.flatnonzero(good)[truth].astype(np.int32)) >= 0.98
    assert (np.diff(scores, axis=1) <= 0).all()
    assert np.abs(scores - best).mean() <= 1e-3


def test_the_graph_goes_on_through_growing_room() -> None:
    """It is built while rows come, in arrays that are replaced twice; each row leads to itself in the end."""
    tail = tail_of(0, PLAN)
    for start in range(0, 3000, 100):
        tail.append(
            Upserts.of([("", name) for name in names(100, start)], VECTORS[start : start + 100], [b""] * 100)
        )
        tail.grow(70)
    assert tail.visible().graph() is None
    while tail.grow(256):
        pass

    rows = tail.visible()
    graph = rows.graph()
    assert graph is not None
    assert len(graph) == 3000
    found, _ = rows.search(VECTORS[:3000], 1, ef=64, candidates=32, allowed=None, deleted=None, threads=1)
    assert (found[:, 0] == np.arange(3000)).mean() >= 0.999


def test_an_older_view_does_not_see_rows_that_the_graph_has() -> None:
    tail = tail_of(1000, PLAN)
    before = tail.visible()
    tail.append(Upserts.of([("", "late")], VECTORS[2000:2001], [b""]))
    tail.grow(2000)

    found, _ = before.search(
        VECTORS[2000:2001], 5, ef=50, candidates=32, allowed=None, deleted=None, threads=1
    )
    now, _ = tail.visible().search(
        VECTORS[2000:2001], 5, ef=50, candidates=32, allowed=None, deleted=None, threads=1
    )

    assert found.max() < 1000
    assert now[0, 0] == 1000


def test_few_rows_get_no_graph() -> None:
    tail = tail_of(150, PLAN)

    assert not tail.grow(1000)
    assert (tail.waiting, tail.graph) == (0, None)
