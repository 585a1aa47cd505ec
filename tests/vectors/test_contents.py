"""What a join makes of segments: all that is wanted, under one graph, without all vectors in memory at once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from clustered import clustered

from paceline.vectors.batch import Upserts
from paceline.vectors.codes import Precision
from paceline.vectors.contents import Taken, joined, sealed
from paceline.vectors.exact import nearest, recall
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.metric import Floats, Metric, entered
from paceline.vectors.policy import Rescore, Schema
from paceline.vectors.record import packed_metadata
from paceline.vectors.segment import Segment, SegmentContent, write_segment
from paceline.vectors.tail import Tail

BLOCK = 8_192
"""Rows whose vectors are in memory at once."""


def written(folder: Path, vectors: Floats, schema: Schema, space: str) -> Segment:
    """A segment of these vectors, named by their place."""
    tail = Tail(schema)
    keys = [(space, f"{space}-{i}") for i in range(len(vectors))]
    tail.append(Upserts.of(keys, vectors, [packed_metadata({"n": i}) for i in range(len(vectors))]))
    return Segment.open(folder, write_segment(folder, sealed(tail.visible(), schema)))


def every_other(folder: Path, vectors: Floats, schema: Schema) -> tuple[list[Taken], Floats]:
    """Two segments of half of the vectors each, of which the even rows are wanted; these vectors, in order."""
    half = len(vectors) // 2
    halves = [
        written(folder / name, part, schema, name)
        for name, part in (("a", vectors[:half]), ("b", vectors[half:]))
    ]
    return [(one, np.arange(0, half, 2, dtype=np.int32)) for one in halves], vectors[::2]


@pytest.mark.parametrize(
    ("precision", "rescore", "metric"),
    [
        ("int8", "fp16", "cosine"),
        ("int8", "fp32", "l2"),
        ("binary", "bf16", "dot"),
        ("fp16", "none", "cosine"),
    ],
)
def test_rows_of_several_blocks_keep_their_order_and_are_found(
    tmp_path: Path, precision: Precision, rescore: Rescore, metric: Metric
) -> None:
    """Names, metadata, vectors and links are of the same rows, on both sides of where a block ends."""
    schema = Schema(64, metric, precision, rescore)
    taken, wanted = every_other(tmp_path, clustered(2 * BLOCK + 2_000, 64), schema)

    content = joined(taken, schema, GraphPlan(m=12, ef_construction=60, threads=2))

    fine = content.coded if content.fine is None else content.fine
    half = len(wanted) // 2
    assert len(wanted) > BLOCK
    assert content.graph is not None
    assert [content.ids[row] for row in (0, half - 1, half, len(wanted) - 1)] == [
        b"a-0",
        b"a-%d" % (2 * half - 2),
        b"b-0",
        b"b-%d" % (2 * half - 2),
    ]
    assert content.columns.row(half + 1) == {"n": 2}
    np.testing.assert_allclose(fine.coder.decode(fine.rows), entered(wanted, metric), rtol=0.01, atol=0.01)
    rows, _ = GraphSearch(content.graph, content.coded, content.fine).search(
        wanted[BLOCK - 50 : BLOCK + 50], 5, 80, candidates=64
    )
    truth, _ = nearest(wanted[BLOCK - 50 : BLOCK + 50], wanted, 5, metric)
    assert recall(rows, truth) > 0.95


def bytes_of(content: SegmentContent) -> int:
    """Of all arrays that are written."""
    return sum(array.nbytes for array in content.arrays().values())


def test_a_join_holds_its_new_arrays_and_few_vectors_beside(tmp_path: Path) -> None:
    """Decoded to float32, divided as float64 and float32 again, all rows at once would be several times the rest."""
    schema = Schema(128)
    taken, wanted = every_other(tmp_path, clustered(12 * BLOCK, 128), schema)
    plan = GraphPlan(m=4, ef_construction=8)

    tracemalloc.start()
    content = joined(taken, schema, plan)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    all_at_once = len(wanted) * 128 * (4 + 8 + 4)
    assert peak - bytes_of(content) < all_at_once / 2
