"""Insertion into a graph in plain Python: the twin that tests the compiled one, and says what it does."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

import numpy as np

from paceline.vectors.codes import Coded
from paceline.vectors.graph import Graph
from paceline.vectors.growing import drawn_levels, shifts_of
from paceline.vectors.metric import Floats

Links = list[dict[int, list[int]]]
"""Of each level, the neighbours of each row on it."""


class PlainGraph:
    """Rows of int8 codes, of which some are linked."""

    def __init__(self, coded: Coded, vectors: Floats, *, m: int, ef_construction: int, seed: int = 1) -> None:
        self._codes = coded.rows[:, : coded.coder.shape.dimensions].astype(np.int64)
        self._shifts = shifts_of(coded, 0, len(coded))
        near = np.asarray(coded.coder.scores(vectors, coded.rows), np.float64)
        self._order = np.round((near - near.min()) / (np.ptp(near) or 1) * 2**30).astype(np.int64)
        self._m, self._ef = m, ef_construction
        self._own = [int(level) for level in drawn_levels(len(coded), m, seed)]
        self._links: Links = []
        self._entry = -1

    def insert(self, row: int) -> None:
        """Link the next row."""
        own, top = self._own[row], len(self._links) - 1
        while len(self._links) <= own:
            self._links.append({})
        for level in range(own + 1):
            self._links[level][row] = []
        start = self._descended(row, top, min(own, top))
        for level in range(min(own, top), -1, -1):
            near = self._near(row, start, level)
            start = near[0]
            self._links[level][row] = self._chosen(row, near, level)
        for level in range(min(own, top) + 1):
            for other in list(self._links[level][row]):
                self._link_back(other, row, level)
        if own > top:
            self._entry = row

    def graph(self) -> Graph:
        """As plain arrays."""
        rows = len(self._own)
        base = np.full((rows, 2 * self._m), -1, np.int32)
        above = np.array(self._own, np.int64)
        upper_at = np.cumsum(above) - above
        upper = np.full((int(above.sum()), self._m), -1, np.int32)
        for level, links in enumerate(self._links):
            for row, others in links.items():
                target = base[row] if level == 0 else upper[upper_at[row] + level - 1]
                target[: len(others)] = others
        return Graph(base, upper, upper_at.astype(np.int32), self._entry, len(self._links) - 1)

    def _nearness(self, row: int, centre: int) -> float:
        dot = int(self._codes[row] @ (self._codes[centre] - 128))
        return float(np.float32(dot) + self._shifts[row])

    def _descended(self, row: int, top: int, floor: int) -> int:
        """Where the level `floor` is entered."""
        start, best = self._entry, -(1 << 31)
        for level in range(top, floor, -1):
            better = True
            while better:
                better = False
                for other in self._links[level][start]:
                    if self._order[row, other] > best:
                        best, start, better = int(self._order[row, other]), other, True
        return start

    def _near(self, row: int, start: int, level: int) -> list[int]:
        """The best rows that a search of one level meets, best first."""
        pool, seen, expanded = [(-self._order[row, start], start)], {start}, set[int]()
        while True:
            head = next((other for _, other in pool if other not in expanded), -1)
            if head < 0:
                return [other for _, other in pool]
            expanded.add(head)
            for other in self._links[level][head]:
                if other not in seen:
                    seen.add(other)
                    insort(pool, (-self._order[row, other], other))
                    del pool[self._ef :]

    def _chosen(self, centre: int, near: Sequence[int], level: int) -> list[int]:
        """Of rows, best first, those nearer to `centre` than to one another."""
        chosen: list[int] = []
        for row in near:
            own = self._nearness(centre, row)
            if all(self._nearness(other, row) <= own for other in chosen):
                chosen.append(row)
        return chosen[: self._width(level)]

    def _link_back(self, centre: int, row: int, level: int) -> None:
        links = self._links[level][centre]
        links.append(row)
        if len(links) > self._width(level):
            near = sorted(links, key=lambda other: (-self._nearness(other, centre), other))
            self._links[level][centre] = self._chosen(centre, near, level)

    def _width(self, level: int) -> int:
        return 2 * self._m if level == 0 else self._m
