"""Searches timed: all queries in one call, and one query a call. Set-up is outside of the clock, and so is reading ids."""

from __future__ import annotations

import gc
import time
from typing import Any, Final

import msgspec
import numpy as np

from paceline.vectors.bench.contestant import Contestant
from paceline.vectors.bench.corpus import Corpus
from paceline.vectors.bench.one_core import one_core
from paceline.vectors.exact import recall
from paceline.vectors.metric import Floats

FEWEST_QUERIES: Final = 32
"""Of a pass, however long they take: fewer would tell neither a recall nor a rate."""


class Pass(msgspec.Struct, frozen=True):
    """The queries searched once: every one, or the first of them, as far as the time went."""

    recall: float
    """Of those in one call."""
    queries: int
    """In one call."""
    batch_s: float
    """Of that call."""
    single_ms: list[float] = []
    """Each alone; empty if that was not asked for."""


def search_pass(contestant: Contestant, corpus: Corpus, effort: int, most_s: float, *, singles: bool) -> Pass:
    """Search at an effort, on one core, in about `most_s` seconds at most; `singles`: also one by one."""
    k, queries = corpus.shape.k, np.ascontiguousarray(corpus.queries)
    contestant.set_effort(effort)
    with one_core():
        contestant.search(queries[:1], k)  # what is made by the first search of an effort
        asked = queries[: affordable(contestant, queries, k, most_s / 2)]
        gc.collect()
        started_at = time.perf_counter()
        found = contestant.search(asked, k)
        batch_s = time.perf_counter() - started_at
        single_ms = _singles(contestant, queries, k, most_s / 2) if singles else []
    truth = np.asarray(corpus.truth[: len(asked)])
    return Pass(recall(contestant.rows(found, k), truth), len(asked), batch_s, single_ms)


def affordable(contestant: Contestant, queries: Floats, k: int, most_s: float) -> int:
    """How many of `queries` (q, d) one call takes in about `most_s` seconds, judged by a call of a few."""
    few = min(FEWEST_QUERIES, len(queries))
    started_at = time.perf_counter()
    contestant.search(queries[:few], k)
    took_s = time.perf_counter() - started_at
    return max(few, int(min(len(queries), few * most_s / took_s)))


def _singles(contestant: Contestant, queries: Any, k: int, most_s: float) -> list[float]:
    times: list[float] = []
    ends_at = time.perf_counter() + most_s
    for row in range(len(queries)):
        query = queries[row : row + 1]
        started_at = time.perf_counter()
        if started_at > ends_at and row >= FEWEST_QUERIES:
            break
        contestant.search(query, k)
        times.append((time.perf_counter() - started_at) * 1e3)
    return times


def fewer(done: int, whole: int) -> int | None:
    """How many queries a figure rests on, where it is not the `whole`."""
    return None if done >= whole else done
