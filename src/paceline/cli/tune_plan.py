"""From the options of `paceline tune` to the load it replays; asks the server what it speaks, and how much it can."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import msgspec

from paceline.app.tuning.load import lengths, with_texts
from paceline.base.errors import ConfigError, PacelineError
from paceline.cli.compare import share
from paceline.cli.console import say_note
from paceline.cli.measure_options import (
    ContentOptions,
    JudgingOptions,
    LoadOptions,
    MeasureOptions,
    TargetOptions,
)
from paceline.cli.measure_plan import plan_of
from paceline.cli.measure_run import with_task
from paceline.cli.tune_options import AskedOptions, ContestOptions, GoalOptions, ReplayOptions
from paceline.measure.load.trace_file import read_trace
from paceline.measure.plan import ClosedLoop, OpenLoop, Plan, Stage
from paceline.measure.scenarios.duration import duration_s
from paceline.measure.scenarios.scenario import Phase
from paceline.measure.slo import merged, parse, read_slo
from paceline.tune.goal import AIMS, Goal

REQUESTS: Final = 600
"""Of one trial, where rate and duration leave it open: p95 of fewer is luck."""
SHORTEST_S: Final = 3.0
LONGEST_S: Final = 15.0
USERS: Final = 32
FILL_S: Final = 3.0
OFFERED: Final = 0.6
"""Of what the server does when it is kept busy: a load worth tuning for, below saturation."""
DEFAULT_THRESHOLDS: Final = ("p(95)<300", "errors<0.5%")
PLAIN_RATE: Final = 1.0


def goal_of(options: ContestOptions) -> Goal:
    """Raises ConfigError for thresholds and objectives that do not exist."""
    of_file = () if options.slo is None else read_slo(options.slo)
    written = merged(of_file, options.threshold) or DEFAULT_THRESHOLDS
    if options.objective not in AIMS:
        raise ConfigError(
            f"--objective {options.objective}: expected {', '.join(AIMS[:-1])} or {AIMS[-1]}",
            param="objective",
        )
    return Goal(parse(written), next(aim for aim in AIMS if aim == options.objective))


def margin_of(options: ContestOptions) -> float:
    """The margin as a share. Raises ConfigError."""
    return share(options.margin)


def allowed_loss_of(options: GoalOptions) -> float | None:
    """Nothing may be lost where nothing is said; who says what must be held has said enough."""
    if options.allowed_loss is None and options.least_quality is None:
        return 0.0
    return options.allowed_loss


def checked_plan(target: TargetOptions, load: ReplayOptions, asked: AskedOptions) -> Phase:
    """The plan as far as it can be made without the server. Raises ConfigError."""
    lengths(asked.prompt_words)
    if asked.distinct is not None and asked.distinct < 1:
        raise ConfigError(f"--distinct {asked.distinct}: expected 1 or more texts", param="distinct")
    if load.trace is not None and asked.distinct is not None:
        raise ConfigError(
            "--distinct is of made-up texts, a trace has its own; leave one out", param="distinct"
        )
    rate = load.rate if load.trace is None else None
    options = MeasureOptions(
        target=target,
        load=LoadOptions(
            rate=rate or (PLAIN_RATE if load.trace is None else None),
            duration=load.duration,
            arrivals=load.arrivals,
            burstiness=load.burstiness,
            trace=load.trace,
            speed=load.speed,
            seed=load.seed,
        ),
        content=ContentOptions(
            task=asked.task,
            model=asked.model,
            max_tokens=asked.max_tokens,
            body=asked.body,
            body_file=asked.body_file,
        ),
        judging=JudgingOptions(keep_going=True),
    )
    if load.trace is not None:
        read_trace(str(load.trace))  # one that cannot be read is said before the server is asked
    return plan_of(options)[0]


def load_plan(phase: Phase, load: ReplayOptions, asked: AskedOptions, folder: Path) -> tuple[Plan, str]:
    """The load as every trial replays it, and where it comes from in words. Asks the server. Raises Unreachable."""
    plan = with_task([phase])[0].plan
    words = lengths(asked.prompt_words)
    if load.trace is not None:
        return plan, f"trace {load.trace.name}" + (
            "" if load.speed is None else f" at {load.speed:g} times its speed"
        )
    rate = load.rate or _offered(most_per_s(plan, folder, words))
    wanted_s = (
        min(LONGEST_S, max(SHORTEST_S, REQUESTS / rate))
        if load.duration is None
        else duration_s(load.duration, param="--duration")
    )
    assert isinstance(plan.load, OpenLoop)
    plan = msgspec.structs.replace(
        plan, load=msgspec.structs.replace(plan.load, stages=(Stage(wanted_s, rate),))
    )
    made = plan.payload.body is None and plan.payload.body_file is None
    plan = with_texts(plan, folder, words, asked.distinct)
    shape = f"{plan.load.process} arrivals at {rate:.4g}/s"  # type: ignore[union-attr]  # made above
    if made and plan.payload.task != "http":
        kinds = (
            "all different" if asked.distinct is None else f"{asked.distinct} different ones by popularity"
        )
        shape += f", texts of {asked.prompt_words} words, {kinds}"
    return plan, shape


def with_texts_of_closed(plan: Plan, folder: Path, words: tuple[int, int]) -> Plan:
    """A closed loop of as many users as keep the server busy, with texts as the trials will have."""
    filled = msgspec.structs.replace(plan, load=OpenLoop((Stage(FILL_S, 2_000.0),)))
    filled = with_texts(filled, folder, words, None)
    return msgspec.structs.replace(
        filled, load=ClosedLoop((Stage(FILL_S, float(USERS)),)), seed=plan.seed + 1
    )


def most_per_s(plan: Plan, folder: Path, words: tuple[int, int]) -> float:
    """What the server answers when `USERS` ask without a pause. Raises PacelineError when that is nothing."""
    from paceline.measure.session import carry_out, prepare  # noqa: PLC0415 - `--help` does without

    busy = with_texts_of_closed(plan, folder, words)
    with tempfile.TemporaryDirectory(prefix="paceline-tune-") as records:
        run = carry_out(prepare(busy), Path(records) / "fill.records")
    good = sum(not failure for failure in run.columns.failure)
    if not good:
        raise PacelineError(
            f"{busy.target.url} gave no good answer in {FILL_S:g} s; check it with `paceline measure`"
        )
    return good / FILL_S


def _offered(most: float) -> float:
    """A rate worth tuning for."""
    rate = float(f"{OFFERED * most:.2g}")
    say_note(
        f"the server answers {most:.0f} requests/s to {USERS} users; tuning for {rate:g}/s (--rate chooses another)"
    )
    return rate
