"""A search of many parts in one call finds what each part by itself would, and the best of all."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from clustered import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.vectors.bitmap import bitmap_of
from paceline.vectors.codes import Coded, Coder, Precision
from paceline.vectors.exact import ExactSearch, nearest, recall
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.growing import build_graph
from paceline.vectors.memory import Memories
from paceline.vectors.steps import Step, Steps

COUNT = 3000
VECTORS = clustered(COUNT)
QUERIES = clustered(100, seed=2)
CUTS = (0, 1700, 2600, COUNT)
"""Where the parts begin and end."""


@cache
def part(place: int, precision: Precision = "int8") -> GraphSearch:
    """A part of VECTORS under a graph of its own."""
    rows = VECTORS[CUTS[place] : CUTS[place + 1]]
    fine = Coded.of(Coder.learn(rows, "fp16"), rows)
    return GraphSearch(build_graph(rows), Coded.of(Coder.learn(rows, precision), rows), fine)


@settings(max_examples=60, deadline=None)
@given(
    draw=st.integers(0, 2**32 - 1),
    parts=st.integers(1, 6),
    k=st.integers(1, 30),
    queries=st.integers(1, 4),
    threads=st.integers(1, 2),
)
def test_scans_of_many_parts_are_one_scan_of_all(
    draw: int, parts: int, k: int, queries: int, threads: int
) -> None:
    """Of few distinct vectors, so that many scores are equal; parts of no rows are among them."""
    random = np.random.default_rng(draw)
    rows = random.integers(0, 3, (random.integers(1, 60), 4)).astype(np.float32)
    asked = random.integers(-2, 3, (queries, 4)).astype(np.float32)
    coder = Coder.learn(np.ones((1, 4), np.float32), "fp32", "dot")
    ends = [0, *np.sort(random.integers(0, len(rows) + 1, parts - 1)).tolist(), len(rows)]
    searches = [ExactSearch(Coded.of(coder, rows[a:b])) for a, b in pairwise(ends)]

    found = Steps(k, [search.step(k, 0) for search in searches]).search(asked, Memories(), threads)

    expected, scores = ExactSearch(Coded.of(coder, rows)).search(asked, k)
    places = np.zeros_like(found.rows) if found.places is None else found.places
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(np.where(found.rows < 0, -1, found.rows + np.array(ends)[places]), expected)
    assert (found.places is None) == (parts == 1)


@pytest.mark.parametrize("precision", ["int8", "binary", "fp16"])
@pytest.mark.parametrize("queries", [1, 100])
def test_walks_of_many_graphs_find_the_nearest_of_all(precision: Precision, queries: int) -> None:
    steps = Steps(10, [part(place, precision).step(10, 100, 64) for place in range(3)])
    memories = Memories()

    parts = [
        steps.search(QUERIES[start : start + queries], memories) for start in range(0, len(QUERIES), queries)
    ]
    found = np.concatenate([one.rows for one in parts])
    places = np.concatenate([one.places for one in parts if one.places is not None])

    truth, _ = nearest(QUERIES, VECTORS, 10)
    assert recall(found + np.array(CUTS, np.int32)[places], truth) >= 0.98
    assert not any(one.is_short for one in parts)


def test_deleted_rows_are_not_found_in_any_part() -> None:
    gone = np.arange(COUNT) % 2 == 0
    steps = []
    for place in range(3):
        hidden = gone[CUTS[place] : CUTS[place + 1]]
        step = part(place).masked_step(
            10,
            100,
            candidates=64,
            allowed=None,
            deleted=bitmap_of(hidden),
            good=int((~hidden).sum()),
            plan="walk",
        )
        assert step is not None
        steps.append(step)

    found = Steps(10, steps).search(QUERIES, Memories())

    rows = found.rows + np.array(CUTS, np.int32)[found.places]
    truth, _ = nearest(QUERIES, VECTORS[~gone], 10)
    assert not gone[rows].any()
    assert recall(rows, np.flatnonzero(~gone)[truth].astype(np.int32)) >= 0.98


def test_a_walk_that_finds_too_few_says_so() -> None:
    """The only rows that may be returned are where the walk does not come in the room it has."""
    search = part(0)
    far = np.argsort(search.coded.coder.scores(QUERIES[0], search.coded.rows)[0])[:40]
    allowed = np.zeros(len(search.coded), np.bool_)
    allowed[far] = True
    step = search.masked_step(
        10, 10, candidates=0, allowed=bitmap_of(allowed), deleted=None, good=40, plan="walk", most=20
    )
    assert isinstance(step, Step)

    found = Steps(10, [step, part(1).step(10, 50)]).search(QUERIES[:1].copy(), Memories())

    assert found.is_short
    assert found.short.tolist() == [1]


def test_memory_that_is_too_small_is_replaced_by_larger() -> None:
    memories = Memories()
    memories.give_back(memories.taken(10, 16))

    memory = memories.taken(1000, 16)
    memories.give_back(memory)

    assert memory.rows >= 1000
    assert memories.taken(500, 16) is memory


def test_walks_in_turns_are_those_of_one_after_another() -> None:
    """Three graphs at once, or each by itself and the best of their results."""
    steps = [part(place).step(10, 40) for place in range(3)]

    found = Steps(10, steps).search(QUERIES, Memories())

    alone = [
        Steps(10, [step]).search(QUERIES[i : i + 1].copy(), Memories()) for i in range(100) for step in steps
    ]
    scores = np.concatenate([one.scores for one in alone]).reshape(100, 30)
    np.testing.assert_array_equal(found.scores, -np.sort(-scores, axis=1)[:, :10])
