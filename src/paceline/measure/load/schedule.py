"""The schedule of a run, whole before it begins: when requests start, or when users come and go.

Made from the plan and its seed alone, so however many workers read it, they send the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil, inf
from random import Random

from paceline.base.errors import ConfigError
from paceline.measure.load.arrival import arrivals, expected
from paceline.measure.load.trace import Trace
from paceline.measure.plan import ClosedLoop, OpenLoop, Plan, Replay, Stage

MAX_ARRIVALS = 100_000_000
"""18 bytes each, and about a microsecond to make."""
MAX_USERS = 60_000
"""Each has a connection, and a port of this machine to each address."""
MAX_STAGES = 65_535
MAX_DURATION_S = 31 * 86_400.0
THINK_TIMES = 65_536
"""Exponential think times drawn before the run; users take them in turn."""


@dataclass(frozen=True)
class User:
    """One span of one user of a closed loop, nanoseconds since the start of the run."""

    start_ns: int
    stop_ns: int


@dataclass(frozen=True)
class Schedule:
    """Everything the generator needs to know about time. Instants are nanoseconds since the start of the run."""

    duration_ns: int
    at_ns: array[int]
    """Type q, ascending: intended starts of an open loop or a trace; empty in a closed loop."""
    stage: array[int]
    """Type H: the stage of each arrival."""
    request: array[int]
    """Type L: which of the serialised requests each arrival sends."""
    users: tuple[User, ...] = ()
    """Closed loop: by start; a user who leaves and comes back has an entry for each span."""
    requests: int | None = None
    """Closed loop: the run is over after so many."""
    think_ns: array[int] = field(default_factory=lambda: array("q"))
    """Type q, closed loop: think times, taken by index modulo length; empty is none."""
    stage_ends_ns: tuple[int, ...] = ()
    stage_names: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    """Rate per second, or users, at the end of each stage."""


def make_schedule(plan: Plan, trace: Trace | None, distinct: int) -> Schedule:
    """The schedule of `plan`; `distinct` is how many serialised requests there are to choose from.

    Raises ConfigError for a load that cannot be: without requests, too long, too many.
    """
    if distinct < 1:
        raise ConfigError("there is no request to send; give a body, a body file or a task", param="payload")
    load = plan.load
    if isinstance(load, Replay):
        if trace is None:
            raise ConfigError("the load is a trace that was not read; give its path", param="load.path")
        return _of_trace(load, trace, distinct)
    _check(load.stages)
    return _open(load, plan.seed, distinct) if isinstance(load, OpenLoop) else _closed(load, plan.seed)


# -- open loop --------------------------------------------------------------------------------------------------------


def _open(load: OpenLoop, seed: int, distinct: int) -> Schedule:
    asked = expected(load.stages)
    if asked == 0:
        raise ConfigError("every stage has a rate of 0; give at least one a target", param="load.stages")
    if asked > MAX_ARRIVALS:
        raise ConfigError(
            f"the stages ask for {asked:.3g} requests, {MAX_ARRIVALS:,} are possible; "
            "shorten a stage or lower its rate",
            param="load.stages",
        )
    at_ns, stage = arrivals(load, seed)
    ends, names, levels = _stages(load.stages)
    return Schedule(
        ends[-1],
        at_ns,
        stage,
        _in_turn(len(at_ns), distinct),
        stage_ends_ns=ends,
        stage_names=names,
        levels=levels,
    )


def _in_turn(count: int, distinct: int) -> array[int]:
    """0, 1, ... distinct - 1, 0, 1, ... of length `count`."""
    whole, rest = divmod(count, distinct)
    turn = array("L", range(min(distinct, count)))
    return turn * whole + turn[:rest] if whole else turn


def _of_trace(load: Replay, trace: Trace, distinct: int) -> Schedule:
    """One stage that lasts a mean gap longer than the last arrival, so that its level is its mean rate."""
    speed = load.speed
    at_ns = trace.at_ns if speed == 1 else array("q", (round(at / speed) for at in trace.at_ns))
    count = len(at_ns)
    assert max(trace.request) < distinct
    duration_ns = round(at_ns[-1] * count / (count - 1)) if count > 1 and at_ns[-1] else 1_000_000_000
    _check_duration(duration_ns / 1e9, "load.speed", "raise the speed or cut the trace")
    return Schedule(
        duration_ns,
        at_ns,
        array("H", bytes(2 * count)),
        trace.request,
        stage_ends_ns=(duration_ns,),
        stage_names=("trace",),
        levels=(count / duration_ns * 1e9,),
    )


# -- closed loop ------------------------------------------------------------------------------------------------------


def _closed(load: ClosedLoop, seed: int) -> Schedule:
    most = 0.0
    for number, stage in enumerate(load.stages):
        for level in (stage.first, stage.target):
            if level != int(level):
                raise ConfigError(
                    f"stage {number + 1} has {level:g} users; write a whole number", param="load.stages"
                )
            most = max(most, level)
    if not 1 <= most <= MAX_USERS:
        raise ConfigError(
            f"the stages have {most:g} users at most; give 1 to {MAX_USERS:,}", param="load.stages"
        )
    ends, names, levels = _stages(load.stages)
    spans = [(start, number, stop) for number in range(int(most)) for start, stop in _spans(load, number)]
    return Schedule(
        ends[-1],
        array("q"),
        array("H"),
        array("L"),
        users=tuple(User(start, stop) for start, _, stop in sorted(spans)),
        requests=load.requests,
        think_ns=_think(load, seed),
        stage_ends_ns=ends,
        stage_names=names,
        levels=levels,
    )


def _spans(load: ClosedLoop, number: int) -> Iterator[tuple[int, int]]:
    """When user `number` (from 0) is there: while the level is above `number`."""
    start_ns = stop_ns = -1
    began_s = 0.0
    for stage in load.stages:
        span = _above(stage, number)
        if span is not None:
            from_ns, to_ns = (round((began_s + at_s) * 1e9) for at_s in span)
            if from_ns != stop_ns:
                if start_ns < stop_ns:
                    yield start_ns, stop_ns
                start_ns = from_ns
            stop_ns = to_ns
        began_s += stage.duration_s
    if start_ns < stop_ns:
        yield start_ns, stop_ns


def _above(stage: Stage, number: int) -> tuple[float, float] | None:
    """The part of a stage, in seconds since its start, in which its level is above `number`."""
    first, last = stage.first, stage.target
    if max(first, last) <= number:
        return None
    if min(first, last) >= number:
        return 0.0, stage.duration_s
    crossing_s = (number - first) / (last - first) * stage.duration_s
    return (crossing_s, stage.duration_s) if last > first else (0.0, crossing_s)


def _think(load: ClosedLoop, seed: int) -> array[int]:
    if load.think_s == 0:
        return array("q")
    if load.think_s > MAX_DURATION_S:
        raise ConfigError(
            f"users think for {load.think_s:g} s; {MAX_DURATION_S:.0f} s is the most", param="load.think_s"
        )
    if load.think == "constant":
        return array("q", [round(load.think_s * 1e9)])
    draw = Random(f"{seed}/think").expovariate  # noqa: S311 - repeatable, no secret
    return array("q", (round(draw(1 / load.think_s) * 1e9) for _ in range(THINK_TIMES)))


# -- both -------------------------------------------------------------------------------------------------------------


def _check(stages: tuple[Stage, ...]) -> None:
    if not 1 <= len(stages) <= MAX_STAGES:
        raise ConfigError(f"the load has {len(stages)} stages; give 1 to {MAX_STAGES:,}", param="load.stages")
    for number, stage in enumerate(stages):
        if inf in (stage.first, stage.target):
            raise ConfigError(f"stage {number + 1} has an infinite level; give a number", param="load.stages")
    _check_duration(sum(stage.duration_s for stage in stages), "load.stages", "shorten the stages")


def _check_duration(duration_s: float, param: str, way_out: str) -> None:
    if duration_s > MAX_DURATION_S:
        raise ConfigError(
            f"the load lasts {duration_s / 86_400:.4g} days, {ceil(MAX_DURATION_S / 86_400)} are possible; {way_out}",
            param=param,
        )


def _stages(stages: tuple[Stage, ...]) -> tuple[tuple[int, ...], tuple[str, ...], tuple[float, ...]]:
    """Ends in nanoseconds, names, levels."""
    return (
        tuple(round(end_s * 1e9) for end_s in accumulate(stage.duration_s for stage in stages)),
        tuple(stage.name or f"stage {number + 1}" for number, stage in enumerate(stages)),
        tuple(stage.target for stage in stages),
    )
