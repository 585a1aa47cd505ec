"""Walks of several queries of one call, in turns: the rows that one has asked the memory for come while others compute.

A walk waits for memory two thirds of its time, and a core can wait for more than the neighbours of one row. The results
are those of one walk after another.
"""

from __future__ import annotations

from typing import Any

from paceline.vectors.compiled.compiler import called, compiled
from paceline.vectors.compiled.records import (
    CODE,
    EXACT_CODE,
    FINAL,
    FOUND,
    HELD,
    LEVEL,
    LEVELS,
    NEED,
    POOL,
    QUERY,
    ROOM,
    ROW,
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
def _share(requests: Any, width: int) -> None:
    """Copy what is wanted from the first request to the others, give each a pool; none of them has a query yet."""
    for w in range(width):
        for i in range(WISHES):
            requests[w, i] = requests[0, i]
        requests[w, POOL] = requests[0, POOL] + 8 * requests[0, ROOM] * w
        requests[w, STAGE] = _FREE


@called
def walk_in_turns(
    graph: Any,
    sides: Any,
    requests: Any,
    states: Any,
    queries: int,
    plain: Any,
    begin: int,
    end: int,
    ids: Any,
    scores: Any,
    short: Any,
) -> None:
    """Results of the queries `begin` to `end` of `plain` (q, d), which are at `queries` as the codes want them.

    Of `requests`, one for each walk that takes turns, the first says what is wanted. `short[i]` becomes 1 where fewer
    than NEED rows were found.
    """
    begun, left, width, size = begin, end - begin, requests.shape[0], 4 * plain.shape[1]
    _share(requests, width)
    while left > 0:
        for w in range(width):
            request = requests[w]
            if request[STAGE] == _RESCORED:
                i = request[QUERY]
                short[i] = 0 if request[FOUND] >= request[NEED] else 1
                if request[FINAL] != 0:
                    prepare(sides[1], plain.ctypes.data + size * i, request[EXACT_CODE], states[w, 1])
                pool, good = request[POOL], request[HELD]
                write_gathered(sides, request, pool, good, states[w], ids[i], scores[i])
                request[STAGE] = _FREE
                left -= 1
            elif request[STAGE] != _FREE:
                _advance(graph, sides, request, states[w])
            if request[STAGE] == _FREE and begun < end:
                request[QUERY] = begun
                _begin(graph, sides[0], request, states[w, 0], queries + size * begun)
                begun += 1
