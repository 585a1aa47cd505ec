"""Walks of one call in turns, of several queries or in several graphs: while one awaits rows others compute.

A walk waits for memory two thirds of its time, and a core can wait for more than the neighbours of one row. The results
are those of one walk after another.
"""

from __future__ import annotations

from typing import Any

from paceline.vectors.compiled.compiler import called, compiled
from paceline.vectors.compiled.instructions import read_i64
from paceline.vectors.compiled.records import (
    CODE,
    EXACT_CODE,
    FINAL,
    FOUND,
    GRAPH,
    GRAPH_AT,
    HELD,
    JOB,
    LEVEL,
    LEVELS,
    NEED,
    POOL,
    QUERIES_AT,
    ROOM,
    ROW,
    SIDE,
    SIDES_AT,
    STAGE,
    WISHES,
)
from paceline.vectors.compiled.results import gather, write_gathered
from paceline.vectors.compiled.rows import prepare
from paceline.vectors.compiled.walk import (
    enter,
    expand,
    forget,
    go_down,
    look_down,
    seek,
    start,
    take_in,
)

_FREE, _DOWN, _OVER_ROWS, _RESCORED = range(4)
"""What a turn does next: begins a query; scores neighbours on an upper level, or on the base; scores candidates again."""


@compiled
def _begin(graph: Any, side: Any, request: Any, state: Any, query: int) -> None:
    prepare(side, query, request[CODE], state)
    enter(graph, request, graph[LEVELS])
    request[STAGE] = _DOWN
    if request[LEVEL] > 0:
        look_down(graph, side, request)


@called
def _advance(graph: Any, sides: Any, request: Any, states: Any) -> None:
    """Score the rows that came, and ask for those to be scored next."""
    if request[STAGE] == _DOWN:
        if request[LEVEL] > 0:
            go_down(sides[0], request, states[0])
        if request[LEVEL] > 0:
            look_down(graph, sides[0], request)
            return
        start(sides[0], request, states[0], request[ROW])
        request[STAGE] = _OVER_ROWS
    else:
        take_in(graph, sides[0], request, states[0], 0)
    if seek(sides[0], request, states[0]):
        expand(graph, sides[0], request, 0)
        return
    forget(request)
    request[HELD] = gather(sides[1], request, request[POOL], request[HELD])
    request[STAGE] = _RESCORED


@compiled
def take_up(step: Any, request: Any, graph: Any, sides: Any) -> None:
    """Copy what a step wants, and the records it names."""
    for i in range(WISHES):
        request[i] = step[i]
    for i in range(SIDE):
        sides[0, i] = read_i64(step[SIDES_AT] + 8 * i)
        sides[1, i] = read_i64(step[SIDES_AT] + 8 * (SIDE + i))
    if step[GRAPH_AT] != 0:
        for i in range(GRAPH):
            graph[i] = read_i64(step[GRAPH_AT] + 8 * i)


@compiled
def query_of(step: Any, plain: Any, i: int) -> int:
    """Where the query `i` is, as the step's codes want it."""
    return (plain.ctypes.data if step[QUERIES_AT] == 0 else step[QUERIES_AT]) + 4 * plain.shape[1] * i


@called
def walk_in_turns(
    table: Any,
    query: int,
    requests: Any,
    graphs: Any,
    sides: Any,
    states: Any,
    plain: Any,
    begin: int,
    end: int,
    ids: Any,
    scores: Any,
    short: Any,
) -> None:
    """Results of walks `begin` to `end`: of queries of `plain` (q, d), all by the first step; or of one `query` by steps.

    `query` is -1, or the place of the one. Results are written to `ids` and `scores` at the place of the query, or step.
    `short` becomes 1 at the query's where fewer than NEED rows were found. Each turn has a request, graph, sides and
    states. Steps that are no walks are left out.
    """
    room = 0
    for s in range(table.shape[0]):
        room = max(room, table[s, ROOM])
    for w in range(requests.shape[0]):
        requests[w, POOL] = requests[0, POOL] + 8 * room * w
        requests[w, STAGE] = _FREE
    begun, busy = begin, 0
    while begun < end or busy > 0:
        for w in range(requests.shape[0]):
            request = requests[w]
            if request[STAGE] == _RESCORED:
                job = request[JOB]
                i = job if query < 0 else query
                short[i] |= 0 if request[FOUND] >= request[NEED] else 1
                if request[FINAL] != 0:
                    at = plain.ctypes.data + 4 * plain.shape[1] * i
                    prepare(sides[w, 1], at, request[EXACT_CODE], states[w, 1])
                pool, good = request[POOL], request[HELD]
                write_gathered(sides[w], request, pool, good, states[w], ids[job], scores[job])
                request[STAGE] = _FREE
                busy -= 1
            elif request[STAGE] != _FREE:
                _advance(graphs[w], sides[w], request, states[w])
            while request[STAGE] == _FREE and begun < end:
                step = table[0 if query < 0 else begun]
                if step[GRAPH_AT] != 0:
                    request[JOB] = begun
                    take_up(step, request, graphs[w], sides[w])
                    at = query_of(step, plain, begun if query < 0 else query)
                    _begin(graphs[w], sides[w, 0], request, states[w, 0], at)
                    busy += 1
                begun += 1
