"""Vectors replaced and deleted in a copy of an index, and whether searches then find what is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from paceline.vectors.bench.contestant import WRITTEN_AT_ONCE, Contestant, Ints
from paceline.vectors.bench.corpus import Corpus
from paceline.vectors.bench.measure_search import affordable, fewer
from paceline.vectors.bench.report import Changes
from paceline.vectors.exact import nearest, recall
from paceline.vectors.metric import normalised

_MOST: Final = 2_000
_SHARE: Final = 0.1
_MOVED: Final = 0.5
"""Length of what is added to a unit vector to make another."""


def measure_changes(contestant: Contestant, corpus: Corpus, effort: int, most_s: float) -> Changes:
    """Replace some vectors by others near them, delete as many more, and search, in about `most_s` seconds at most."""
    count = int(min(_MOST, _SHARE * len(corpus.vectors))) // WRITTEN_AT_ONCE * WRITTEN_AT_ONCE
    if contestant.unchangeable:
        return Changes(0, None, None, None, None, contestant.unchangeable)
    draw = np.random.default_rng(corpus.shape.seed)
    drawn = draw.permutation(len(corpus.vectors))[: 2 * count].astype(np.int32)
    replaced, deleted = drawn[:count], drawn[count:]
    moves = draw.standard_normal((count, corpus.shape.dimensions)).astype(np.float32)
    others = normalised(corpus.vectors[replaced] + _MOVED * normalised(moves))
    updates_s = _timed(replaced, lambda rows, part: contestant.replace(rows, others[part]))
    deletes_s = _timed(deleted, lambda rows, _: contestant.delete(rows))
    contestant.set_effort(effort)
    k, queries = corpus.shape.k, np.array(corpus.queries)
    queries = queries[: affordable(contestant, queries, k, most_s)]
    found = contestant.rows(contestant.search(queries, k), k)
    now = np.array(corpus.vectors)
    now[replaced] = others
    left = np.delete(np.arange(len(now), dtype=np.int32), deleted)
    truth = left[nearest(queries, now[left], k, "dot")[0]]
    rests_on = fewer(len(queries), corpus.shape.queries)
    return Changes(
        count, count / updates_s, count / deletes_s, recall(found, truth), effort, queries=rests_on
    )


def _timed(rows: Ints, change: Callable[[Ints, slice], None]) -> float:
    """Seconds of all calls."""
    started_at = time.perf_counter()
    for start in range(0, len(rows), WRITTEN_AT_ONCE):
        part = slice(start, start + WRITTEN_AT_ONCE)
        change(rows[part], part)
    return time.perf_counter() - started_at
