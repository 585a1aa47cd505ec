"""A search of several parts in one call, compiled: walks of graphs and scans of rows, and the best of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.vectors.compiled.compiler import called, compiled, kept, sources_digest
from paceline.vectors.compiled.records import (
    CODE,
    COUNT,
    EXACT_CODE,
    FINAL,
    FIRST,
    GRAPH_AT,
    LISTED,
    ORDERS,
    POOL,
)
from paceline.vectors.compiled.results import write_results
from paceline.vectors.compiled.rows import orders_of, prepare
from paceline.vectors.compiled.scan import TILE, collect, orders_fetching
from paceline.vectors.compiled.turns import query_of, take_up, walk_in_turns
from paceline.vectors.compiled.walk import walk


@compiled
def _scan(side: Any, request: Any, state: Any, step: Any) -> int:
    """Fill the pool with the best of the step's rows; returns their count."""
    count = 0
    for start in range(0, step[COUNT], TILE):
        size, first, listed = min(TILE, step[COUNT] - start), step[FIRST] + start, step[LISTED]
        if listed != 0:
            listed += 4 * start
            orders_fetching(side, listed, size, request[CODE], state, request[ORDERS])
        else:
            orders_of(side, 0, first, size, request[CODE], state, request[ORDERS])
        count = collect(request, request[POOL], count, listed, first, size)
    return count


@compiled
def _merge(near: Any, near_scores: Any, rows: Any, scores: Any, places: Any) -> None:
    """The best of all steps' results; of equal scores the first step's. After its results a step has those merged."""
    steps, top = near_scores.shape
    for s in range(steps):
        near[s, top] = 0
    for i in range(top):
        best, score = -1, np.float32(-np.inf)
        for s in range(steps):
            at = near[s, top]
            if at < top and near[s, at] >= 0 and (best < 0 or near_scores[s, at] > score):
                best, score = s, near_scores[s, at]
        rows[i], scores[i], places[i] = -1, score, max(best, 0)
        if best >= 0:
            rows[i] = near[best, near[best, top]]
            near[best, top] += 1


@called
def _search_step(
    step: Any,
    request: Any,
    graph: Any,
    sides: Any,
    state: Any,
    plain: Any,
    i: int,
    ids: Any,
    scores: Any,
    short: Any,
) -> None:
    """Results (k,) of the query `i` in one step."""
    take_up(step, request, graph, sides)
    prepare(sides[0], query_of(step, plain, i), request[CODE], state[0])
    if request[FINAL] != 0:
        prepare(sides[1], plain.ctypes.data + 4 * plain.shape[1] * i, request[EXACT_CODE], state[1])
    if step[GRAPH_AT] != 0:
        count, enough = walk(graph, sides[0], request, state[0])
        short[i] |= 0 if enough else 1
    else:
        count = _scan(sides[0], request, state[0], step)
    write_results(sides, request, request[POOL], count, state, ids, scores)


def _searcher() -> Any:
    digest = sources_digest()

    @kept
    def search_steps(
        table: Any,
        requests: Any,
        graphs: Any,
        sides: Any,
        states: Any,
        near: Any,
        near_scores: Any,
        plain: Any,
        begin: int,
        end: int,
        rows: Any,
        scores: Any,
        places: Any,
        short: Any,
    ) -> int:
        """Results (q, k) of queries `begin` to `end` of `plain` (q, d) in all steps of `table`, and of which step each is.

        `requests`, `graphs`, `sides`, `states`, `near` (steps, k + 1) and `near_scores` (steps, k) are working memory; the
        latter two and `places` are not touched by a single step. `short[i]` becomes 1 where a walk found fewer rows than
        its NEED. Walks take turns: of many queries in one graph, or of a query in many.
        """
        steps = table.shape[0]
        for i in range(begin, end):
            short[i] = 0
        if steps == 1 and end - begin > 1 and table[0, GRAPH_AT] != 0:
            walk_in_turns(table, -1, requests, graphs, sides, states, plain, begin, end, rows, scores, short)
            return digest
        for i in range(begin, end):
            if steps == 1:
                _search_step(
                    table[0], requests[0], graphs[0], sides[0], states[0], plain, i, rows[i], scores[i], short
                )
                continue
            walk_in_turns(
                table, i, requests, graphs, sides, states, plain, 0, steps, near, near_scores, short
            )
            for s in range(steps):
                if table[s, GRAPH_AT] == 0:
                    _search_step(
                        table[s],
                        requests[0],
                        graphs[0],
                        sides[0],
                        states[0],
                        plain,
                        i,
                        near[s],
                        near_scores[s],
                        short,
                    )
            _merge(near, near_scores, rows[i], scores[i], places[i])
        return digest

    return search_steps


search_steps = _searcher()
