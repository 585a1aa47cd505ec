"""How much a graph finds by how far a search looks, measured while it is built: `measured_build`.

Some records are left out at first and searched for the nearest of all others; then they come in, too. They are queries
like those of anybody who asks with what is like the records; for others, `paceline vectors tune` measures.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from paceline.vectors.bitmap import bitmap_of_rows
from paceline.vectors.codes import Coded
from paceline.vectors.exact import ExactSearch, recall
from paceline.vectors.graph import Graph, Ints
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.growing import GrowingGraph
from paceline.vectors.metric import Floats

K: Final = 10
EFS: Final = (50, 100, 150, 200, 300, 400, 600, 800, 1200)
_LEFT_OUT: Final = 256
"""Records: of 0.98 the standard error is 0.004."""
_SHARE: Final = 50
"""Records for each that is left out, at least."""
_ENOUGH: Final = 0.999


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an ef found of the ten nearest."""

    ef: int
    recall: float


def least_ef(findings: list[Finding], wanted: float) -> int:
    """The smallest ef that found so much, the largest measured if none did; 0 if nothing was measured."""
    if not findings:
        return 0
    return next((one.ef for one in findings if one.recall >= wanted), findings[-1].ef)


def measured_build(coded: Coded, fine: Coded, plan: GraphPlan) -> tuple[Graph, list[Finding]]:
    """The graph of the rows of `coded`, none of them binary, and what it finds; `fine` is their finest copy."""
    rows = np.arange(len(coded), dtype=np.int32)
    drawn = np.random.default_rng(len(rows)).permutation(rows)
    left_out = np.sort(drawn[: min(_LEFT_OUT, len(rows) // _SHARE)])
    growing = GrowingGraph(coded, m=plan.m, ef_construction=plan.ef_construction)

    def vectors_of(some: Ints) -> Floats:
        return fine.coder.decode(fine.rows[some])

    growing.grow_in_order(np.delete(rows, left_out), vectors_of, plan.threads)
    findings = _findings(growing.graph(), coded, fine, vectors_of(left_out), left_out)
    growing.grow_in_order(left_out, vectors_of, plan.threads)
    return growing.graph(), findings


def _findings(graph: Graph, coded: Coded, fine: Coded, queries: Floats, left_out: Ints) -> list[Finding]:
    if len(queries) == 0:
        return []
    absent = bitmap_of_rows(left_out, len(coded))
    truth, _ = ExactSearch(fine).search(queries, K, deleted=absent)
    search = GraphSearch(graph, coded, fine)
    findings = []
    for ef in EFS:
        found, _ = search.search(queries, K, ef)
        findings.append(Finding(ef, round(recall(found, truth), 4)))
        if findings[-1].recall >= _ENOUGH:
            break
    return findings
