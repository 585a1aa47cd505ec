"""Where a run's warm-up ends, found from the samples themselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

BATCH = 5
LEAST_SAMPLES = 10 * BATCH


def mser5(values: Sequence[float]) -> int:
    """How many leading values (in time order) to cut so that the mean of the rest is known best.

    MSER-5 (White 1997; White, Cobb and Spratt 2000): of the means of batches of 5, cut those whose removal makes the
    standard error of the remaining mean least. At most the first half is cut; when the least lies there, the
    warm-up is longer than that, which `trend` tells of the rest. Fewer than 50 values are left as they are.
    It sees a shift of the level, not one of the spread alone, and may cut some steady samples when they are strongly
    autocorrelated; that costs samples, not truth. One pass: a million values take a fraction of a second.
    """
    batches = len(values) // BATCH
    if batches * BATCH < LEAST_SAMPLES:
        return 0
    centre = sum(values) / len(values)
    parts = [iter(values)] * BATCH
    # A common shift keeps the sums of squares small, so that they do not cancel.
    sums = [sum(group) / BATCH - centre for group in zip(*parts, strict=False)]
    total, squares = sum(sums), sum(value * value for value in sums)
    running = accumulate(sums, initial=0.0)
    running_squares = accumulate((value * value for value in sums), initial=0.0)
    best, cut = float("inf"), 0
    for index, (gone, gone_squares) in enumerate(zip(running, running_squares, strict=True)):
        if index > batches // 2:
            break
        left = batches - index
        rest = total - gone
        error = (squares - gone_squares - rest * rest / left) / (left * left)
        if error < best:
            best, cut = error, index
    return cut * BATCH
