"""Costs are those of a segment that is in use, not those of reading it for the first time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from clustered import clustered

from paceline.vectors.codes import Coded, Coder
from paceline.vectors.costs import Costs

COUNT = 6000
ROW_S, STEP_S = 1e-7, 1e-6
FIRST_READ_S = 1e-5
"""Of a row of a memory map: a page of it is fetched."""


class Mapped:
    """The searches of a segment that nobody has read yet; they take time, and find nothing."""

    def __init__(self) -> None:
        vectors = clustered(COUNT)
        self.coded = Coded.of(Coder.learn(vectors, "int8"), vectors)
        self.exact = self
        self.unread = np.ones(COUNT, np.bool_)

    def search(self, _queries: Any, _k: int, steps: int = 0, *, rows: Any = (), plan: str = "scan") -> None:
        assert plan == ("walk" if steps else "scan")
        listed = np.asarray(rows, np.int32)
        fetched = int(self.unread[listed].sum())  # of rows that are drawn twice, twice
        self.unread[listed] = False
        until = time.perf_counter() + STEP_S * steps + ROW_S * len(listed) + FIRST_READ_S * fetched
        while time.perf_counter() < until:
            pass


def test_a_segment_is_read_before_it_is_measured() -> None:
    """Small scans come first: of rows that are not there yet they would seem to cost as much as large ones."""
    segment = Mapped()

    costs = Costs.measured(segment)

    assert segment.unread.mean() < 0.01
    assert costs.scan_row_s > ROW_S / 2
    assert costs.walk_step_s > STEP_S / 2
