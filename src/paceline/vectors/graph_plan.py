"""How a graph is built: `GraphPlan`."""

from __future__ import annotations

from typing import Final, Self

import msgspec

from paceline.vectors.policy import VectorsPolicy

_QUICK_EF: Final = 64
"""ef_construction of a graph over fresh records: of 16,384 a row takes 20 us, a third of 200's, and 0.985 is found with
ef 48 instead of 0.989."""


class GraphPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a graph is built."""

    m: int
    ef_construction: int
    threads: int = 1
    quick: bool = False
    """Until another is built: see `GraphShape`."""
    least_rows: int = 0
    """Fewer are scanned."""

    @classmethod
    def careful(cls, policy: VectorsPolicy, threads: int) -> Self:
        """As the policy wants it."""
        search = policy.search
        return cls(search.m, search.ef_construction, threads, least_rows=policy.upkeep.graph_rows)

    @classmethod
    def of_fresh(cls, policy: VectorsPolicy, threads: int = 1) -> Self:
        """While records come in."""
        search, least = policy.search, policy.upkeep.quick_rows
        return cls(search.m, min(search.ef_construction, _QUICK_EF), threads, quick=True, least_rows=least)
