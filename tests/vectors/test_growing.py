"""A graph grows by insertion as its plain twin does, on several threads, and beside those who search it."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from clustered import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.base.errors import ConfigError
from paceline.vectors.bitmap import words_for
from paceline.vectors.codes import Coded, Coder, Precision
from paceline.vectors.compiled.records import VISITED
from paceline.vectors.exact import nearest, recall
from paceline.vectors.graph import Graph
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.growing import GrowingGraph, build_graph
from paceline.vectors.memory import Memory
from paceline.vectors.metric import Metric, entered
from paceline.vectors.plain_grow import PlainGraph

VECTORS = clustered(4000)
QUERIES = clustered(100, seed=2)
KEPT: list[mmap.mmap] = []
"""Pages that are read by their addresses."""


def coded_of(vectors: np.ndarray, metric: Metric = "cosine") -> Coded:
    return Coded.of(Coder.learn(vectors, "int8", metric), vectors)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 150),
    m=st.integers(2, 8),
    ef_construction=st.integers(1, 40),
    metric=st.sampled_from(["cosine", "dot", "l2"]),
    offset=st.sampled_from([0.0, 3.0]),
)
def test_it_is_linked_as_the_plain_twin_links_it(
    rows: int, m: int, ef_construction: int, metric: Metric, offset: float
) -> None:
    vectors = entered(VECTORS[:rows] + np.float32(offset), metric)
    coded = coded_of(vectors, metric)
    plain = PlainGraph(coded, vectors, m=m, ef_construction=ef_construction)
    for row in range(rows):
        plain.insert(row)

    growing = GrowingGraph(coded, m=m, ef_construction=ef_construction)
    growing.grow(vectors)

    assert links_of(growing.graph()) == links_of(plain.graph())


def test_it_does_not_matter_how_many_come_at_once() -> None:
    coded, vectors = coded_of(VECTORS[:500]), entered(VECTORS[:500], "cosine")
    whole, parts = GrowingGraph(coded), GrowingGraph(coded)
    whole.grow(vectors)
    for start in range(0, 500, 70):
        parts.grow(vectors[start : start + 70])

    assert links_of(parts.graph()) == links_of(whole.graph())


@pytest.mark.parametrize("threads", [2, 5])
def test_several_threads_build_as_good_a_graph(threads: int) -> None:
    graph = build_graph(VECTORS, threads=threads, ef_construction=60)

    found, _ = GraphSearch(graph, coded_of(VECTORS)).search(QUERIES, 10, 150)

    alone, _ = GraphSearch(build_graph(VECTORS, threads=1, ef_construction=60), coded_of(VECTORS)).search(
        QUERIES, 10, 150
    )
    truth, _ = nearest(QUERIES, VECTORS, 10)
    assert recall(found, truth) >= recall(alone, truth) - 0.01
    for row, links in enumerate(graph.base):
        linked = links[: np.argmax(links < 0)] if (links < 0).any() else links
        assert row not in linked
        assert len(set(linked)) == len(linked) > 0


def test_who_searches_meanwhile_sees_the_rows_of_his_graph_only() -> None:
    coded, vectors = coded_of(VECTORS), entered(VECTORS, "cosine")
    growing = GrowingGraph(coded, ef_construction=40)
    growing.grow(vectors[:500])
    before = growing.graph()
    search = GraphSearch(before, Coded(coded.coder, coded.rows[:500]))
    alone, _ = search.search(QUERIES, 10, 500)
    wrong: list[str] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            found, _ = search.search(QUERIES, 10, 500)
            if found.max() >= 500:
                wrong.append(f"row {found.max()}")

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for start in range(500, 4000, 50):
            growing.grow(vectors[start : start + 50])
    finally:
        ended.set()
        reader.join()

    assert wrong == []
    assert len(before) == 500
    assert recall(search.search(QUERIES, 10, 500)[0], alone) >= 0.9  # its links now lead elsewhere, too
    after = GraphSearch(growing.graph(), coded)
    assert recall(after.search(QUERIES, 10, 150)[0], nearest(QUERIES, VECTORS, 10)[0]) >= 0.97


def test_a_search_reads_nothing_beyond_its_working_memory() -> None:
    """Its graph has 60 rows and leads to 4,000, of which there is no bit; each bitmap ends where the next page is nobody's.

    In a process of its own, as what would be read is not there to be read.
    """
    script = (
        "import test_growing as here\n"
        "coded, vectors = here.coded_of(here.VECTORS), here.entered(here.VECTORS, 'cosine')\n"
        "growing = here.GrowingGraph(coded, ef_construction=40)\n"
        "growing.grow(vectors[:60])\n"
        "search = here.GraphSearch(growing.graph(), here.Coded(coded.coder, coded.rows[:60]))\n"
        "growing.grow(vectors[60:])\n"
        "memory = search.memories.taken(60, vectors.shape[1])\n"
        "here.end_at_nothing(memory)\n"
        "search.memories.give_back(memory)\n"
        "for query in here.QUERIES: search.search(query, 10, 60)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )

    assert (ran.returncode, ran.stderr) == (0, "")


def end_at_nothing(memory: Memory) -> None:
    """Move the bitmaps of a working memory to the end of a page, behind which nothing may be read."""
    pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(begin + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
    KEPT.append(pages)
    for request in memory.requests:
        request[VISITED] = begin + mmap.PAGESIZE - 8 * words_for(memory.rows)


def test_an_m_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"m is 1 and ef_construction 200; m is 2 to 512"):
        build_graph(VECTORS[:5], m=1)


def test_a_graph_of_nothing_is_empty() -> None:
    graph = build_graph(np.zeros((0, 8), np.float32))

    assert (len(graph), graph.entry, graph.levels) == (0, -1, 0)


def links_of(graph: Graph) -> tuple[int, int, list[int], list[list[int]], list[list[int]]]:
    """All there is in a graph, to be compared."""
    base, upper = ([linked(row) for row in rows] for rows in (graph.base, graph.upper))
    return graph.entry, graph.levels, graph.upper_at.tolist(), base, upper


def linked(row: np.ndarray) -> list[int]:
    """The neighbours before the first -1: what is behind it was given up."""
    listed = row.tolist()
    return listed[: listed.index(-1)] if -1 in listed else listed


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8", "binary"])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_a_graph_on_any_codes_leads_to_the_nearest(precision: Precision, metric: Metric) -> None:
    coded = Coded.of(Coder.learn(VECTORS, precision, metric), VECTORS)
    graph = build_graph(VECTORS, metric, coded=coded, ef_construction=100)
    exact = Coded.of(Coder.learn(VECTORS, "fp32", metric), VECTORS)

    found, _ = GraphSearch(graph, exact).search(QUERIES, 10, 150)

    assert recall(found, nearest(QUERIES, VECTORS, 10, metric)[0]) >= 0.98


def test_with_room_for_more_it_goes_on_as_before() -> None:
    vectors, coded = entered(VECTORS[:600], "cosine"), coded_of(VECTORS[:600])
    whole, growing = GrowingGraph(coded), GrowingGraph(Coded(coded.coder, coded.rows[:300]))
    whole.grow(vectors)
    growing.grow(vectors[:300])

    growing = growing.moved(coded)
    growing.grow(vectors[300:])

    assert links_of(growing.graph()) == links_of(whole.graph())
