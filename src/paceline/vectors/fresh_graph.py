"""The graph of a tail, which grows behind the writes: `FreshGraph`."""

from __future__ import annotations

from typing import Self

from paceline.vectors.codes import Coded, Coder, Rows
from paceline.vectors.courtesy import give_way
from paceline.vectors.graph import Graph
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.growing import GrowingGraph


class FreshGraph:
    """Over rows with room for more. One caller of `grow` at a time, any number of searches beside it."""

    def __init__(self, growing: GrowingGraph) -> None:
        self._growing = growing
        self.search: GraphSearch | None = None
        """Of the rows that `grow` has come to."""

    @classmethod
    def of(cls, rows: Coded, plan: GraphPlan) -> Self:
        """Of no rows yet."""
        return cls(GrowingGraph(rows, m=plan.m, ef_construction=plan.ef_construction))

    def moved(self, rows: Coded, fine: Coded) -> FreshGraph:
        """The same over other codes of the same rows, with more room."""
        moved = FreshGraph(self._growing.moved(rows))
        if self.count:
            moved._publish(fine)
        return moved

    @property
    def count(self) -> int:
        """Rows that are in it."""
        return self._growing.count

    def graph(self) -> Graph:
        """Of the rows that are in it."""
        return self._growing.graph()

    def grow(self, coder: Coder, rows: Rows, end: int) -> None:
        """Link the rows up to `end`, whose codes are written, and which `rows` holds as float32."""
        self._growing.grow(coder.decode(rows[self.count : end]))
        give_way()
        self._publish(Coded(coder, rows))

    def _publish(self, fine: Coded) -> None:
        rows, count = self._growing.coded, self.count
        self.search = GraphSearch(
            self._growing.graph(),
            Coded(rows.coder, rows.rows[:count]),
            Coded(fine.coder, fine.rows[:count]),
            memories=None if self.search is None else self.search.memories,
        )
