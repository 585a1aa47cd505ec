"""What every search of a segment's rows shares: its input checked, its results, its threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import InvalidRequest
from paceline.vectors.bitmap import Bitmap, words_for
from paceline.vectors.codes import Coded
from paceline.vectors.memory import ORDERS_AT_ONCE
from paceline.vectors.metric import Floats, checked, is_one_sound

How = TypeVar("How")
Results = tuple[NDArray[np.int32], Floats]
"""Rows (q, k), best first, -1 where there are no more; their scores (q, k), minus infinity there."""

MOST_RESULTS: Final = 10_000
CANDIDATES: Final = 32
"""Rows re-scored on the finer copy, unless said otherwise."""
MOST_CANDIDATES: Final = ORDERS_AT_ONCE


def checked_counts(k: int, candidates: int) -> None:
    """InvalidRequest unless 1 <= k <= MOST_RESULTS and 0 <= candidates <= MOST_CANDIDATES."""
    if not 1 <= k <= MOST_RESULTS:
        raise InvalidRequest(f"k is {k}; ask for 1 to {MOST_RESULTS} results", param="k")
    if not 0 <= candidates <= MOST_CANDIDATES:
        raise InvalidRequest(
            f"candidates is {candidates}; re-score 0 to {MOST_CANDIDATES}", param="candidates"
        )


def checked_queries(queries: Any, coded: Coded) -> Floats:
    """Finite queries (q, d) with a direction if the metric is cosine; one query may be (d,)."""
    shape = coded.coder.shape
    if is_one_sound(queries, shape.dimensions):
        one: Floats = queries.reshape(1, -1)
        return one
    rows = checked(queries, shape.dimensions)
    if shape.metric == "cosine" and not rows.any(axis=1).all():
        row = int(np.flatnonzero(~rows.any(axis=1))[0])
        raise InvalidRequest(f"query {row} is all zeros, which has no cosine")
    return rows if rows.flags.writeable else rows.copy()  # read-only arrays would be compiled for anew


def check_masks(allowed: Bitmap | None, deleted: Bitmap | None, rows: int) -> None:
    """InvalidRequest unless both are bitmaps of so many rows, or not there."""
    for name, bitmap in (("allowed", allowed), ("deleted", deleted)):
        if bitmap is None:
            continue
        if bitmap.dtype != np.uint64 or bitmap.shape != (words_for(rows),) or not bitmap.flags.c_contiguous:
            raise InvalidRequest(
                f"`{name}` has shape {bitmap.shape} of {bitmap.dtype}; "
                f"a bitmap of {rows} rows is ({words_for(rows)},) of uint64 (bitmap_of)"
            )


def better(one: Results, other: Results, k: int) -> Results:
    """The best `k` of two parts' results; of equal scores the first part's."""
    rows = np.concatenate([one[0], other[0]], axis=1)
    scores = np.concatenate([one[1], other[1]], axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rows, best, 1), np.take_along_axis(scores, best, 1)


def empty_results(queries: int, k: int) -> Results:
    """Results of nothing found."""
    return np.full((queries, k), -1, np.int32), np.full((queries, k), -np.inf, np.float32)


@lru_cache(maxsize=4)
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="vectors")


def in_parts(search: Callable[[How, int, int], None], how: How, queries: int, threads: int) -> None:
    """Call `search` with `how` for each range of `queries` on `threads` threads; they are small: none is waited for long."""
    if threads <= 1 or queries <= 1:
        search(how, 0, queries)
        return
    size = max(1, queries // (4 * threads))
    begins = range(0, queries, size)
    ends = (min(begin + size, queries) for begin in begins)
    for _ in _threads(threads).map(partial(search, how), begins, ends):
        pass
