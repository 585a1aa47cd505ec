"""When requests start in an open loop: instants whose density follows the stages' rates.

Any renewal process is drawn with a mean gap of one and then stretched by the rates: the k-th arrival is where the
integral of the rate reaches the sum of the first k gaps (time rescaling; Cinlar, "Introduction to Stochastic
Processes", 1975, chapter 4). The rate is a straight line in each stage, so its integral is inverted exactly.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from math import inf, log, sqrt
from random import Random

from paceline.measure.plan import OpenLoop, Stage

_LOST = 1e-9
"""What rounding may add to an integral: a load of 3 requests must not have a fourth at its very end."""


def expected(stages: Iterable[Stage]) -> float:
    """Requests the stages ask for: the integral of their rates."""
    return sum(_area(stage) for stage in stages)


def arrivals(load: OpenLoop, seed: int) -> tuple[array[int], array[int]]:
    """Nanoseconds since the start of the run, ascending (type q), and the stage of each (type H).

    `constant` sends the first at once and the others where the integral is whole; so a steady rate is evenly spaced
    and every load has as many as its integral, rounded up. The others begin with a gap.
    """
    next_gap = gaps(load, seed)
    at_ns, stages = array("q"), array("H")
    constant = load.process == "constant"
    due = 0.0 if constant else next_gap()
    passed, began_s = 0.0, 0.0
    for number, stage in enumerate(load.stages):
        area = _area(stage)
        end = passed + area - (_LOST if constant else 0.0)
        before = len(at_ns)
        due = _fill(at_ns, stage, (passed, began_s, due, end), next_gap)
        stages.extend(array("H", [number]) * (len(at_ns) - before))
        passed += area
        began_s += stage.duration_s
    return at_ns, stages


def gaps(load: OpenLoop, seed: int) -> Callable[[], float]:
    """A source of gaps with mean 1: all 1 (constant), coefficient of variation 1 (poisson) or `cv` (gamma)."""
    random = Random(f"{seed}/arrivals")  # noqa: S311 - repeatable, no secret
    if load.process == "constant":
        return lambda: 1.0
    if load.process == "poisson":
        uniform = random.random
        return lambda: -log(1.0 - uniform())
    scale = load.cv * load.cv
    return lambda: random.gammavariate(1 / scale, scale)


def _area(stage: Stage) -> float:
    return (stage.first + stage.target) / 2 * stage.duration_s


def _fill(
    at_ns: array[int],
    stage: Stage,
    span: tuple[float, float, float, float],
    next_gap: Callable[[], float],
) -> float:
    """Append the arrivals of one stage; `span` is (integral and seconds before it, next due, integral at its end).

    Returns the integral at which the first arrival after the stage is due.
    """
    passed, began_s, due, end = span
    first = stage.first
    slope = (stage.target - first) / stage.duration_s
    append = at_ns.append
    last_ns = round((began_s + stage.duration_s) * 1e9)
    if slope == 0:
        gap_s = 1 / first if first else inf
        while due < end:
            append(min(last_ns, round((began_s + (due - passed) * gap_s) * 1e9)))
            due += next_gap()
        return due
    # first * t + slope / 2 * t**2 = x, solved in the form that does not cancel and holds for a falling rate too.
    square, double = first * first, 2 * slope
    while due < end:
        x = due - passed
        root = first + sqrt(max(0.0, square + double * x))
        append(min(last_ns, round((began_s + (2 * x / root if x > 0 else 0.0)) * 1e9)))
        due += next_gap()
    return due
