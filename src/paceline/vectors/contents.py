"""What a new segment is made of: a tail as it is, or the live rows of several segments, under a graph if they are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from paceline.vectors.codes import Coded, Coder, aligned_rows
from paceline.vectors.columns import Columns
from paceline.vectors.courtesy import courteously
from paceline.vectors.finding import Finding, measured_build
from paceline.vectors.graph import Graph
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.growing import GrowingGraph
from paceline.vectors.metric import entered
from paceline.vectors.packed import Packed
from paceline.vectors.policy import Schema
from paceline.vectors.record import unpacked_metadata
from paceline.vectors.reencode import encoded
from paceline.vectors.segment import Segment, SegmentContent
from paceline.vectors.tail import TailRows

_AT_ONCE: Final = 8_192
"""Rows whose vectors are in memory as float32 at the same time."""
Taken = tuple[Segment, NDArray[np.int32]]
"""A segment and its rows that are wanted."""


def sealed(rows: TailRows, schema: Schema) -> SegmentContent:
    """All rows of a tail, deleted ones too, so that a row keeps its number; under the tail's graph if it is whole."""
    keys = rows.tail.keys[: rows.count]
    spaces = {space: i for i, space in enumerate(dict.fromkeys(space for space, _ in keys))}
    packed = rows.tail.metadata[: rows.count]
    graph = rows.graph()
    return SegmentContent(
        ids=Packed.of([name.encode() for _, name in courteously(keys)]),
        metadata=Packed.of(packed),
        hashes=rows.hashes,
        namespace_of=np.fromiter((spaces[space] for space, _ in courteously(keys)), np.uint32, len(keys)),
        namespaces=list(spaces),
        lengths=rows.lengths if schema.metric == "cosine" else rows.lengths[:0],
        coded=encoded(rows.fine, schema.precision, schema.metric),
        fine=None if schema.rescore == "none" else encoded(rows.fine, schema.rescore, schema.metric),
        graph=graph,
        columns=Columns.build(unpacked_metadata(metadata) for metadata in packed),
        quick=graph is not None,
    )


def joined(taken: Sequence[Taken], schema: Schema, plan: GraphPlan | None) -> SegmentContent:
    """The wanted rows, one segment's after another's; with a graph over them if there is a `plan`.

    In memory are the new segment's arrays and `_AT_ONCE` vectors; `capacity` plans for it.
    """
    fine = _fine_rows(taken, schema)
    coded = fine if schema.rescore == "none" else encoded(fine, schema.precision, schema.metric)
    metadata = Packed.joined([segment.packed_metadata.taken(rows) for segment, rows in taken])
    graph, findings = (None, []) if plan is None else _built(fine, coded, plan)
    namespaces = list(dict.fromkeys(space for segment, _ in taken for space in segment.head.namespaces))
    place = {space: i for i, space in enumerate(namespaces)}
    return SegmentContent(
        ids=Packed.joined([segment.ids.taken(rows) for segment, rows in taken]),
        metadata=metadata,
        hashes=np.concatenate([segment.hashes()[rows] for segment, rows in taken]),
        namespace_of=np.concatenate(
            [
                np.array([place[space] for space in segment.head.namespaces], np.uint32)[
                    segment.namespace_of[rows]
                ]
                for segment, rows in taken
            ]
        ),
        namespaces=namespaces,
        lengths=np.concatenate(
            [segment.lengths[rows] if len(segment.lengths) else segment.lengths for segment, rows in taken]
        ),
        coded=coded,
        fine=None if schema.rescore == "none" else fine,
        graph=graph,
        findings=findings,
        columns=Columns.build(unpacked_metadata(packed) for packed in metadata),
        quick=plan is not None and plan.quick,
    )


def _fine_rows(taken: Sequence[Taken], schema: Schema) -> Coded:
    """The finest copies, byte for byte: their coders have no parameters, and rounding twice is once too often.

    Without a copy for re-scoring these are the codes, and those of before `reencode` have fewer bits.
    """
    wanted = schema.precision if schema.rescore == "none" else schema.rescore
    assert wanted not in {"int8", "binary"}
    coder = Coder.learn(np.ones((1, schema.stored), np.float32), wanted, schema.metric)
    joint, end = aligned_rows(sum(len(rows) for _, rows in taken), coder.row_bytes), 0
    for segment, rows in taken:
        own = segment.fine.coder
        for start in range(0, len(rows), _AT_ONCE):
            held = segment.fine.rows[rows[start : start + _AT_ONCE]]
            first, end = end, end + len(held)
            joint[first:end] = held if own.shape == coder.shape else coder.encode(own.decode(held))
    return Coded(coder, joint)


def _built(fine: Coded, coded: Coded, plan: GraphPlan) -> tuple[Graph, list[Finding]]:
    """On codes that are not binary, and with what it finds there, if it is built with care."""
    metric = fine.coder.shape.metric
    if not plan.quick and coded.coder.shape.precision != "binary":
        return measured_build(coded, fine, plan)
    walked = encoded(fine, "int8", metric) if coded.coder.shape.precision == "binary" else coded
    growing = GrowingGraph(walked, m=plan.m, ef_construction=plan.ef_construction)
    for start in range(0, len(fine), _AT_ONCE):
        vectors = fine.coder.decode(fine.rows[start : start + _AT_ONCE])
        growing.grow(entered(vectors, metric), plan.threads)
    return growing.graph(), []
