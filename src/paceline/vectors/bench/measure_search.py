"""Searches timed: all queries in one call, and one query a call. Set-up is outside of the clock, and so is reading ids."""

from __future__ import annotations

import gc
import time
from typing import Any

import msgspec
import numpy as np

from paceline.vectors.bench.contestant import Contestant
from paceline.vectors.bench.corpus import Corpus
from paceline.vectors.bench.one_core import one_core
from paceline.vectors.exact import recall


class Pass(msgspec.Struct, frozen=True):
    """Every query searched once."""

    recall: float
    batch_s: float
    """All in one call."""
    single_ms: list[float] = []
    """Each alone; empty if that was not asked for."""


def search_pass(contestant: Contestant, corpus: Corpus, effort: int, *, singles: bool) -> Pass:
    """Search all queries at an effort, on one core; `singles`: also one by one."""
    k, queries = corpus.shape.k, np.ascontiguousarray(corpus.queries)
    contestant.set_effort(effort)
    with one_core():
        contestant.search(queries[:1], k)  # what is made by the first search of an effort
        gc.collect()
        started_at = time.perf_counter()
        found = contestant.search(queries, k)
        batch_s = time.perf_counter() - started_at
        single_ms = _singles(contestant, queries, k) if singles else []
    return Pass(recall(contestant.rows(found, k), np.asarray(corpus.truth)), batch_s, single_ms)


def _singles(contestant: Contestant, queries: Any, k: int) -> list[float]:
    times = []
    for row in range(len(queries)):
        query = queries[row : row + 1]
        started_at = time.perf_counter()
        contestant.search(query, k)
        times.append((time.perf_counter() - started_at) * 1e3)
    return times
