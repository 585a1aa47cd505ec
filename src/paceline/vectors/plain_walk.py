"""Best-first search of a graph in plain Python: the twin that tests the compiled walk, and says what it does."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable

from paceline.vectors.graph import Graph

Order = Callable[[int], int]
"""What orders a row: higher is better."""


def plain_walk(  # noqa: PLR0913 - keywords, each with a default
    graph: Graph,
    order: Order,
    ef: int,
    *,
    room: int = 0,
    need: int = 0,
    may_return: Callable[[int], bool] | None = None,
) -> list[int]:
    """The rows of the pool that may be returned, best first.

    The pool holds `room` rows (0: `ef`). Its best row not yet expanded is expanded until `ef` rows at its head were,
    and `need` of these may be returned.
    """
    good = may_return or (lambda _: True)
    start = _descend(graph, order)
    pool = [(-order(start), start)]
    seen, expanded = {start}, set[int]()
    while True:
        head = next((i for i, (_, row) in enumerate(pool) if row not in expanded), len(pool))
        if head == len(pool) or (head >= ef and sum(good(row) for _, row in pool[:head]) >= need):
            return [row for _, row in pool if good(row)]
        row = pool[head][1]
        expanded.add(row)
        for other in _links(graph.base[row]):
            if other not in seen:
                seen.add(other)
                insort(pool, (-order(other), other))
                del pool[room or ef :]


def _descend(graph: Graph, order: Order) -> int:
    row, best = graph.entry, -(1 << 31)
    for level in range(graph.levels - 1, -1, -1):
        better = True
        while better:
            better = False
            for other in _links(graph.upper[graph.upper_at[row] + level]):
                if order(other) > best:
                    best, row, better = order(other), other, True
    return row


def _links(row: Iterable[int]) -> list[int]:
    links = []
    for other in row:
        if other < 0:
            break
        links.append(int(other))
    return links
