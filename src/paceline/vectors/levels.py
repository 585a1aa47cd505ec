"""What each precision would give a collection: recall and bytes a vector, measured on its own vectors: `measured_levels`.

A sample is taken out of the collection, a part of it as queries; one graph is built over the rest, and searched in each
precision, with the copy for re-scoring that the collection has. The truth is that of the vectors as they are held.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from paceline.base.errors import InvalidRequest
from paceline.vectors.codes import PRECISIONS, Coded, Coder, Precision
from paceline.vectors.exact import ExactSearch
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.growing import build_graph
from paceline.vectors.metric import Floats
from paceline.vectors.policy import Schema, VectorsPolicy
from paceline.vectors.reencode import checked_change

SAMPLE: Final = 20_000
QUERIES: Final = 200
FEWEST: Final = 1_000
"""Records below which all of them are scanned, and no precision loses anything worth measuring."""
_MOST_SHARE: Final = 0.1
"""Of the sample, as queries."""


class Sampled(Protocol):
    """What is measured: a `Collection`."""

    policy: VectorsPolicy

    @property
    def schema(self) -> Schema:
        """See `Collection.schema`."""
        ...

    def sample(self, count: int, *, seed: int = 1) -> Floats:
        """See `Collection.sample`."""
        ...


class PrecisionLevel(msgspec.Struct, frozen=True):
    """One precision, measured."""

    precision: Precision
    recall: float
    """Share of the `k` nearest that a search of the graph finds."""
    code_bytes: int
    """Of a vector, in memory."""
    graph_bytes: int
    """Of its neighbours, in memory."""
    fine_bytes: int
    """Of its copy for re-scoring, of which the best candidates are read; 0 if there is none."""
    qps: float
    """Queries a second on one thread, on the sample."""
    refused: str
    """Why `reencode` to it is refused; empty if it is not."""

    @property
    def held_bytes(self) -> int:
        """Of a vector, that searches go through."""
        return self.code_bytes + self.graph_bytes


class PrecisionTable(msgspec.Struct, frozen=True):
    """All precisions, the largest first."""

    k: int
    ef: int
    candidates: int
    rows: int
    """Vectors that were searched."""
    queries: int
    current: Precision
    rescore: str
    levels: list[PrecisionLevel]

    def text(self) -> str:
        """As lines of a terminal."""
        head = (
            f"{'precision':>9} {f'recall@{self.k}':>10} {'bytes held':>10} {'codes':>7} {'graph':>6} {'fine':>6} "
            f"{'QPS':>9}"
        )
        lines = [
            f"{one.precision:>9} {one.recall:>10.4f} {one.held_bytes:>10,} {one.code_bytes:>7,} {one.graph_bytes:>6,} "
            f"{one.fine_bytes:>6,} {one.qps:>9,.0f}"
            f"{'  <- now' if one.precision == self.current else '  refused' if one.refused else ''}"
            for one in self.levels
        ]
        rescored = (
            "none re-scored" if self.rescore == "none" else f"{self.candidates} re-scored on {self.rescore}"
        )
        said = (
            f"bytes of a vector; {self.queries:,} queries among {self.rows:,} vectors of the collection, ef {self.ef}, "
            f"{rescored}; among more vectors recall is lower"
        )
        why = [f"{one.precision}: {one.refused}" for one in self.levels if one.refused]
        return "\n".join([head, *lines, said, *why])


def measured_levels(  # noqa: PLR0913 - keywords, each with a default
    collection: Sampled,
    *,
    k: int = 10,
    ef: int | None = None,
    candidates: int | None = None,
    precisions: Sequence[Precision] = PRECISIONS,
    sample: int = SAMPLE,
    queries: int = QUERIES,
    seed: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> PrecisionTable:
    """Measure; some seconds, and memory for `sample` vectors and their graph. `ef`, `candidates`: not the policy's.

    InvalidRequest if there are fewer than FEWEST records.
    """
    drawn = collection.sample(sample, seed=seed)
    if len(drawn) < FEWEST:
        raise InvalidRequest(
            f"the collection holds {len(drawn)} records; {FEWEST} are the fewest of which precisions can be compared",
            param="precision",
        )
    schema, search = collection.schema, collection.policy.search
    drawn = drawn[np.random.default_rng(seed).permutation(len(drawn))]
    held_out = min(queries, int(len(drawn) * _MOST_SHARE))
    asked, rows = drawn[:held_out], drawn[held_out:]
    graph = build_graph(rows, schema.metric, m=search.m, ef_construction=search.ef_construction, threads=1)
    exact = _coded(rows, "fp32", schema)
    truth, _ = ExactSearch(exact).search(asked, k)
    fine = None if schema.rescore == "none" else _coded(rows, schema.rescore, schema)
    wide = search.usual_ef if ef is None else ef
    rescored = search.candidates if candidates is None else candidates
    levels = []
    for precision in precisions:
        coded = exact if precision == "fp32" else _coded(rows, precision, schema)
        searched = GraphSearch(graph, coded, fine)
        searched.search(asked[:1], k, wide, candidates=rescored)  # compiles what is not
        started = clock()
        found = [searched.search(query, k, wide, candidates=rescored)[0][0] for query in asked]
        seconds = clock() - started
        shares = [len(np.intersect1d(one, near)) / len(near) for one, near in zip(found, truth, strict=True)]
        levels.append(
            PrecisionLevel(
                precision,
                float(np.mean(shares)),
                coded.coder.row_bytes,
                round(graph.held_bytes / len(rows)),
                0 if fine is None else fine.coder.row_bytes,
                len(asked) / max(seconds, 1e-9),
                _refusal(schema, precision),
            )
        )
    return PrecisionTable(k, wide, rescored, len(rows), len(asked), schema.precision, schema.rescore, levels)


def _coded(rows: Floats, precision: Precision, schema: Schema) -> Coded:
    return Coded.of(Coder.learn(rows[:: max(1, len(rows) // 16_384)], precision, schema.metric), rows)


def _refusal(schema: Schema, precision: Precision) -> str:
    try:
        checked_change(schema, precision)
    except InvalidRequest as error:
        return error.message
    return ""
