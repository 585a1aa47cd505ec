"""An A/B joined together: two settings of one running Paceline, or two servers, under the same load in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Final

from msgspec.structs import replace

from paceline import __version__
from paceline.app.tuning.admin import Admin
from paceline.app.tuning.as_it_is import AsItIs
from paceline.app.tuning.bench import LoadBench, prefixes
from paceline.base.errors import ConfigError, PacelineError, TrialFailed
from paceline.base.figures import measured
from paceline.measure.exchange import exchange
from paceline.measure.plan import Plan
from paceline.measure.records.host import this_host
from paceline.measure.session import prepare
from paceline.tune.ab import AbResult, AbStopped, Block, Segment, Side, run_ab
from paceline.tune.ab_report import AbOutcome, AbReport, Contender
from paceline.tune.ab_summary import change_of, metric_of, summary
from paceline.tune.goal import Goal
from paceline.tune.journal import slo_values
from paceline.tune.observation import Observation
from paceline.tune.render.wording import metric, relative
from paceline.tune.setting import Setting
from paceline.tune.watcher import Watcher

FEWEST_REQUESTS: Final = 20
"""Of a side in a block: a percentile of fewer is one request's luck."""


@dataclass(frozen=True, slots=True)
class Named:
    """One side as the user gave it."""

    name: str
    setting: Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Who meets whom, and on which load."""

    a: Named
    b: Named
    bench_a: LoadBench
    bench_b: LoadBench
    plan_a: Plan
    plan_b: Plan
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the user wants to know, and how hard it is tried."""

    goal: Goal
    blocks: int
    margin: float
    block_s: float | None = None
    """Of one side; None is half of the load."""
    seed: int = 1


@contextmanager
def on_one_server(
    plan: Plan, source: str, admin: Admin, sides: tuple[Named, Named], interrupted: Callable[[], bool]
) -> Iterator[Contest]:
    """Both settings on the same server, which is back on its own afterwards.

    Raises PacelineError when it does not answer, or does not take one of them, before any load is sent.
    """
    a, b = sides
    _check_answer(plan)
    try:
        for side in sides:
            try:
                admin.try_out(side.setting)
            except TrialFailed as failure:
                raise PacelineError(f"{side.name}: {failure.message}") from None
        bench = LoadBench(plan, admin, interrupted=interrupted)
        yield Contest(a=a, b=b, bench_a=bench, bench_b=bench, plan_a=plan, plan_b=plan, source=source)
    finally:
        admin.revert()


def on_two_servers(plan_a: Plan, plan_b: Plan, source: str, interrupted: Callable[[], bool]) -> Contest:
    """The same requests to both, as they are.

    Raises ConfigError when the two do not speak alike, and PacelineError when one does not answer the first request.
    """
    if plan_a.payload.task != plan_b.payload.task:
        raise ConfigError(
            f"{plan_a.target.url} answers {plan_a.payload.task} and {plan_b.target.url} {plan_b.payload.task}; "
            "--task says what to ask of both",
            param="task",
        )
    for plan in (plan_a, plan_b):
        _check_answer(plan)
    # One supply for both: they may share a cache, or be the same server.
    supply = prefixes()
    benches = [LoadBench(plan, AsItIs(), interrupted=interrupted, supply=supply) for plan in (plan_a, plan_b)]
    return Contest(
        a=Named(plan_a.target.url, {}),
        b=Named(plan_b.target.url, {}),
        bench_a=benches[0],
        bench_b=benches[1],
        plan_a=plan_a,
        plan_b=plan_b,
        source=source,
    )


def _check_answer(plan: Plan) -> None:
    """One request of the load ahead of it. Raises Unreachable, and PacelineError for an answer that is a failure."""
    answer = exchange(plan.target, prepare(plan).payloads[0], plan.timeout_s)
    if answer.status >= 400:
        raise PacelineError(
            f"{plan.target.url} answers {answer.status} to the first request ({answer.excerpt()}); check it with "
            "`paceline measure`"
        )


def carry_out(contest: Contest, rules: Rules, watcher: Watcher) -> AbReport:
    """Block by block until it is known; Ctrl-C ends it with the blocks so far.

    Raises ConfigError for blocks that are too small, and for an aim that these servers do not tell.
    """
    began, made_at = time.monotonic(), datetime.now(UTC)
    parts, size = _parts(contest.bench_a, rules.block_s)
    turn = {"a": 0, "b": 0}

    def runner(side: str, bench: LoadBench, setting: Setting) -> Observation:
        number = turn[side] % parts
        turn[side] += 1
        try:
            return bench.run(setting, part=(number * size, (number + 1) * size)).observation
        finally:
            watcher.advance()

    watcher.phase("A/B", 2 * rules.blocks)
    stopped = False
    try:
        tested = run_ab(
            lambda: runner("a", contest.bench_a, contest.a.setting),
            lambda: runner("b", contest.bench_b, contest.b.setting),
            rules.goal,
            max_blocks=rules.blocks,
            margin=rules.margin,
            seed=rules.seed,
            on_block=lambda block: watcher.step(told(block, rules.goal)),
        )
    except AbStopped as early:
        tested, stopped = early.result, True
    host = this_host()
    return AbReport(
        run_id=f"{made_at:%Y%m%d-%H%M%S}-{token_hex(3)}",
        made_at=made_at.isoformat(timespec="seconds"),
        paceline=__version__,
        aim=rules.goal.aim,
        objectives=list(rules.goal.objectives),
        source=contest.source,
        requests=size,
        block_s=contest.bench_a.duration_s / parts,
        outcome="interrupted" if stopped else _outcome(tested),
        a=_contender(contest.a, contest.plan_a, tested.a, rules.goal),
        b=_contender(contest.b, contest.plan_b, tested.b, rules.goal),
        ab=summary(tested, rules.goal, rules.margin),
        blocks=tested.blocks,
        ended=tested.ended,
        seconds=time.monotonic() - began,
        machine=f"{host.hostname}: {host.cpu}, {host.cores} cores, {host.system}, Python {host.python}",
        seed=rules.seed,
    )


def told(block: Block, goal: Goal) -> str:
    """`block 3: p95 latency 41.2 ms, 29.8 ms; so far -28 % [-33, -22]`."""
    name, unit = metric(metric_of(goal), list(goal.objectives))

    def shown(segment: Segment) -> str:
        if segment.score is None:
            return segment.failure or "nothing good"
        return measured(abs(segment.score), unit)

    change = change_of(block.so_far, goal)
    return f"block {block.number}: {name} {shown(block.a)}, {shown(block.b)}; so far {relative(change)}"


def _parts(bench: LoadBench, block_s: float | None) -> tuple[int, int]:
    """How many parts the load has, and the requests of one. Raises ConfigError."""
    parts = 2 if block_s is None else round(bench.duration_s / block_s)
    if parts < 1:
        raise ConfigError(
            f"--block-duration {block_s:g}s: the load lasts {bench.duration_s:.3g} s; give a longer --duration, or trace",
            param="block_duration",
        )
    size = bench.requests // parts
    if size < FEWEST_REQUESTS:
        raise ConfigError(
            f"{size} requests for each side of a block tell little, {FEWEST_REQUESTS} or more are needed; give a longer "
            "--block-duration, or a higher --rate",
            param="block_duration",
        )
    return parts, size


def _outcome(tested: AbResult) -> AbOutcome:
    nothing = tested.a.score is None and tested.b.score is None
    return "failed" if nothing else tested.change.outcome


def _contender(named: Named, plan: Plan, side: Side, goal: Goal) -> Contender:
    return Contender(
        name=named.name,
        url=plan.target.url,
        setting=dict(named.setting),
        slo=slo_values(goal, side.values),
        error_percent=side.error_percent,
        failures=side.failures,
    )


def with_target(plan: Plan, found: Plan) -> Plan:
    """The load of `plan` for the server that `found` was made for."""
    payload = replace(plan.payload, model=found.payload.model, task=found.payload.task)
    return replace(plan, target=found.target, payload=payload)
