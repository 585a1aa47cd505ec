"""Contestants measured in turns, so that what else the machine does meanwhile touches all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import numpy as np

from paceline.vectors.bench.measure_search import Pass, fewer
from paceline.vectors.bench.report import Held


def in_turns(
    target: float, efforts: Mapping[str, int], search: Callable[[str, int], Pass], rounds: int, queries: int
) -> dict[str, Held]:
    """Rounds over all contestants, each at its effort, the order reversed every other time; the first only warms.

    `queries` are those of a whole pass.
    """
    passes: dict[str, list[Pass]] = {name: [] for name in efforts}
    for number in range(rounds + 1):
        for name in sorted(efforts, reverse=number % 2 == 1):
            found = search(name, efforts[name])
            if number:
                passes[name].append(found)
    return {name: _held(target, efforts[name], found, queries) for name, found in passes.items()}


def _held(target: float, effort: int, found: list[Pass], queries: int) -> Held:
    rates = [one.queries / one.batch_s for one in found]
    p50, p99 = np.percentile([ms for one in found for ms in one.single_ms], (50, 99)).tolist()
    recall = min(one.recall for one in found)
    return Held(
        target,
        effort,
        recall,
        statistics.median(rates),
        min(rates),
        max(rates),
        p50,
        p99,
        len(rates),
        fewer(min(one.queries for one in found), queries),
        fewer(min(len(one.single_ms) for one in found), queries),
    )
