"""A scenario: phases of load one after another, written in a short TOML file in the words of k6.

    name = "shop"
    base_rate = 20                        # --rate 50 makes every rate 2.5 times as large
    thresholds = ["p(95)<300|600", "errors<1%"]

    [[phase]]
    name = "morning"
    executor = "ramping-arrival-rate"
    start_rate = 5
    stages = [{ duration = "30s", target = 20 }, { duration = "2m", target = 20 }]

A stage goes in a straight line from the level before it to its `target`; one of 0 s is a jump.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from paceline.base.errors import ConfigError
from paceline.measure.plan import ClosedLoop, Load, OpenLoop, Plan, Replay, Stage, Task
from paceline.measure.scenarios.duration import duration_s
from paceline.measure.slo import merged, parse

Kind = Literal["run", "saturation", "errors"]
"""`run` follows the load; `saturation` searches the highest rate that holds the thresholds, starting from the load's;
`errors` sends what a server must refuse (`measure.error_conditions`)."""

Executor = Literal[
    "constant-arrival-rate",
    "ramping-arrival-rate",
    "constant-vus",
    "ramping-vus",
    "shared-iterations",
    "trace",
]
Duration = str | float
Number = Annotated[float, Meta(ge=0)]

UNBOUNDED_S = 86_400.0
"""The upper bound of a closed loop that ends by its number of requests."""
DEFAULT_DURATION_S = 30.0
SEARCH_RATE = 10.0
SEARCH_THRESHOLD = "p(95)<300|600"
"""What a search holds when nothing else is asked: the first row of the default table."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of a phase's `stages`."""

    duration: Duration
    target: Number
    name: str = ""


class PhaseText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[phase]]` as the file has it; what is missing comes from the scenario, then from the command line."""

    name: str
    kind: Kind = "run"
    executor: Executor | None = None
    rate: Number | None = None
    start_rate: Number | None = None
    vus: Number | None = None
    start_vus: Number | None = None
    iterations: Annotated[int, Meta(ge=1)] | None = None
    duration: Duration | None = None
    stages: tuple[Step, ...] = ()
    arrivals: Literal["constant", "poisson", "gamma"] = "poisson"
    burstiness: Annotated[float, Meta(gt=0)] = 2.0
    think_time: Duration = 0.0
    think: Literal["constant", "exponential"] = "constant"
    trace: str | None = None
    speed: Annotated[float, Meta(gt=0)] = 1.0
    thresholds: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    warm_up: Duration | None = None
    time_limit: Duration | None = None


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `base_rate` and `base_users` are what `--rate` and `--concurrency` replace."""

    name: str
    phases: Annotated[tuple[PhaseText, ...], Meta(min_length=1)] = msgspec.field(name="phase")
    description: str = ""
    base_rate: Annotated[float, Meta(gt=0)] | None = None
    base_users: Annotated[float, Meta(gt=0)] | None = None
    thresholds: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    url: str | None = None
    method: str | None = None
    headers: dict[str, str] = {}
    task: Task | None = None
    model: str | None = None
    body: str | None = None
    body_file: str | None = None
    stream: bool | None = None
    prompt_words: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    distinct: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    expect_status: tuple[int, ...] | None = None
    timeout: Duration | None = None
    records: Literal["all", "histogram"] | None = None


class Scale(msgspec.Struct, frozen=True):
    """What the command line changes of a scenario's load."""

    rate: float | None = None
    users: float | None = None
    duration_s: float | None = None
    """Of all phases together."""


class Phase(msgspec.Struct, frozen=True):
    """One run, ready to go."""

    plan: Plan
    kind: Kind = "run"
    part: str = ""
    """Its name within a scenario of several; the plan's name has the scenario's before it."""
    find_task: bool = False
    """Neither the task nor a path was given: ask the server what it speaks (`measure.probe.discover`)."""


def read(text: str, *, source: str) -> Scenario:
    """Read a scenario. Raises ConfigError with `source` and where in it something is wrong."""
    try:
        scenario = msgspec.convert(tomllib.loads(text), Scenario)
        for phase in scenario.phases:
            parse(threshold_list(phase.thresholds))
            load_of(phase)
        parse(threshold_list(scenario.thresholds))
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(f"scenario {source}: {error}", param="scenario") from error
    names = [phase.name for phase in scenario.phases]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"scenario {source}: two phases have the same name; there are {', '.join(names)}",
            param="scenario",
        )
    return scenario


def read_file(path: Path) -> Scenario:
    """Read a scenario's file. Raises ConfigError."""
    try:
        return read(path.read_text(), source=str(path))
    except OSError as error:
        raise ConfigError(f"scenario {path}: {error.strerror or error}", param="scenario") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"scenario {path}: not UTF-8 at byte {error.start}", param="scenario") from error


def phases(
    scenario: Scenario, base: Plan, scale: Scale, *, find_task: bool = False, thresholds: tuple[str, ...] = ()
) -> list[Phase]:
    """The scenario on a server: `base` holds everything but load, thresholds and name.

    `thresholds` of the command line replace those of the scenario about the same quantity, and in a search all of
    them. Raises ConfigError when the load cannot be scaled as asked.
    """
    _must_matter(scenario, scale)
    stretch = _stretch(scenario, scale)
    ready = []
    for text in scenario.phases:
        part = text.name if len(scenario.phases) > 1 else ""
        own = merged(threshold_list(scenario.thresholds), threshold_list(text.thresholds), thresholds)
        if text.kind == "saturation":
            own = thresholds or own or (SEARCH_THRESHOLD,)
        stopping = base.stopping
        if stopping.time_limit_s is None and text.time_limit is not None:
            stopping = msgspec.structs.replace(
                stopping, time_limit_s=duration_s(text.time_limit, param="time_limit")
            )
        warm_up = base.warmup_s
        if warm_up is None and text.warm_up is not None:
            warm_up = duration_s(text.warm_up, param="warm_up", zero=True)
        plan = msgspec.structs.replace(
            base,
            load=load_of(text) if text.kind == "errors" else _scaled(scenario, load_of(text), scale, stretch),
            name=f"{base.name} {part}" if part else base.name,
            thresholds=own,
            stopping=stopping,
            warmup_s=warm_up,
        )
        ready.append(Phase(plan, text.kind, part, find_task))
    return ready


def load_of(phase: PhaseText) -> Load:
    """The load that a phase describes. Raises ConfigError for words that are missing or do not belong together."""
    if phase.kind == "errors":
        _only(phase, "kind errors", ())
        return ClosedLoop((Stage(DEFAULT_DURATION_S, 1.0),), requests=1)
    if phase.kind == "saturation":
        _only(phase, "kind saturation", ("rate", "duration"))
        return constant_rate(phase, SEARCH_RATE if phase.rate is None else phase.rate)
    match phase.executor:
        case "constant-arrival-rate":
            _only(phase, phase.executor, ("rate", "duration"), needed=("rate",))
            return constant_rate(phase, phase.rate or 0.0)
        case "ramping-arrival-rate":
            _only(phase, phase.executor, ("start_rate", "stages"), needed=("stages",))
            return OpenLoop(
                ramp(phase.stages, phase.start_rate or 0.0), process=phase.arrivals, cv=phase.burstiness
            )
        case "constant-vus":
            _only(phase, phase.executor, ("vus", "duration", "iterations"), needed=("vus",))
        case "shared-iterations":
            _only(phase, phase.executor, ("vus", "duration", "iterations"), needed=("vus", "iterations"))
        case "ramping-vus":
            _only(phase, phase.executor, ("start_vus", "stages", "iterations"), needed=("stages",))
            # As in k6, the first stage begins with one user.
            return _closed(phase, ramp(phase.stages, 1.0 if phase.start_vus is None else phase.start_vus))
        case "trace":
            _only(phase, phase.executor, ("trace",), needed=("trace",))
            return Replay(str(phase.trace), speed=phase.speed)
        case None:
            raise ConfigError(
                f'phase {phase.name}: which executor? such as executor = "constant-arrival-rate", with rate and '
                "duration",
                param="executor",
            )
    return _closed(phase, (Stage(closed_duration_s(phase.duration, phase.iterations), phase.vus or 0.0),))


def constant_rate(phase: PhaseText, rate: float) -> OpenLoop:
    """One stage at `rate` requests per second."""
    duration = duration_s(phase.duration or DEFAULT_DURATION_S, param="duration")
    return OpenLoop((Stage(duration, rate),), process=phase.arrivals, cv=phase.burstiness)


def ramp(steps: tuple[Step, ...], start: float) -> tuple[Stage, ...]:
    """Straight lines from level to level; a step of 0 s only moves the level. Raises ConfigError when none is left."""
    stages = []
    level = start
    for step in steps:
        length = duration_s(step.duration, param="duration", zero=True)
        if length > 0:
            stages.append(Stage(length, step.target, start=level, name=step.name))
        level = step.target
    if not any(max(stage.first, stage.target) > 0 for stage in stages):
        raise ConfigError("stages: no load in them; give one a duration and a target above 0", param="stages")
    return tuple(stages)


def closed_duration_s(duration: Duration | None, requests: int | None) -> float:
    """How long users go on: the duration given, else until their requests are done."""
    if duration is not None:
        return duration_s(duration, param="duration")
    return DEFAULT_DURATION_S if requests is None else UNBOUNDED_S


def threshold_list(given: tuple[str, ...] | dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """k6's table `http_req_duration = ["p(95)<300"]` as expressions with their metric before them."""
    if isinstance(given, dict):
        return tuple(f"{metric}: {text}" for metric, texts in given.items() for text in texts)
    return given


def _closed(phase: PhaseText, stages: tuple[Stage, ...]) -> ClosedLoop:
    think_s = duration_s(phase.think_time, param="think_time", zero=True)
    return ClosedLoop(stages, requests=phase.iterations, think_s=think_s, think=phase.think)


def _only(phase: PhaseText, what: str, allowed: tuple[str, ...], needed: tuple[str, ...] = ()) -> None:
    """Refuse a phase that has other words about its load, which would be silently without effect."""
    words = ("rate", "start_rate", "vus", "start_vus", "iterations", "duration", "stages", "trace")
    there = [word for word in words if getattr(phase, word) not in {None, ()}]
    for word in there:
        if word not in allowed:
            raise ConfigError(
                f"phase {phase.name}: {word} does not belong to {what}, which takes {', '.join(allowed) or 'none'}",
                param=word,
            )
    for word in needed:
        if word not in there:
            raise ConfigError(f"phase {phase.name}: {what} needs {word}", param=word)
    if any(getattr(phase, word) == 0 for word in ("rate", "vus")):
        raise ConfigError(f"phase {phase.name}: rate and vus must be above 0", param="rate")


def _must_matter(scenario: Scenario, scale: Scale) -> None:
    """Refuse to scale what the scenario does not have."""
    kinds = {type(load_of(phase)) for phase in scenario.phases if phase.kind != "errors"}
    for option, level, kind, has in (
        ("--rate", scale.rate, OpenLoop, "users only; use --concurrency"),
        ("--concurrency", scale.users, ClosedLoop, "rates only; use --rate"),
    ):
        if level is not None and kind not in kinds:
            raise ConfigError(f"{option} {level:g}: scenario {scenario.name} has {has}", param=option[2:])


def _stretch(scenario: Scenario, scale: Scale) -> float:
    """The factor of all durations that makes the scenario as long as asked."""
    if scale.duration_s is None:
        return 1.0
    lengths = [_length_s(load_of(phase)) for phase in scenario.phases if phase.kind == "run"]
    total = sum(length for length in lengths if length is not None)
    if not total:
        raise ConfigError(
            f"--duration: scenario {scenario.name} has no durations to stretch; leave it out",
            param="duration",
        )
    return scale.duration_s / total


def _length_s(load: Load) -> float | None:
    """Seconds the load's stages take; None where something else ends it."""
    if isinstance(load, Replay) or (isinstance(load, ClosedLoop) and load.requests is not None):
        return None
    return sum(stage.duration_s for stage in load.stages)


def _scaled(scenario: Scenario, load: Load, scale: Scale, stretch: float) -> Load:
    if isinstance(load, Replay):
        return load
    if isinstance(load, OpenLoop):
        factor = _factor(scenario, "--rate", scale.rate, "base_rate", scenario.base_rate)
    else:
        factor = _factor(scenario, "--concurrency", scale.users, "base_users", scenario.base_users)
    if _length_s(load) is None:
        stretch = 1.0
    stages = tuple(
        msgspec.structs.replace(
            stage,
            duration_s=stage.duration_s * stretch,
            target=_level(load, stage.target, factor),
            start=None if stage.start is None else _level(load, stage.start, factor),
        )
        for stage in load.stages
    )
    return msgspec.structs.replace(load, stages=stages)


def _level(load: Load, level: float, factor: float) -> float:
    """Scaled; users are whole, and somebody stays where somebody was."""
    if isinstance(load, OpenLoop) or level == 0:
        return level * factor
    return float(max(round(level * factor), 1))


def _factor(scenario: Scenario, option: str, asked: float | None, key: str, base: float | None) -> float:
    if asked is None:
        return 1.0
    if base is None:
        raise ConfigError(
            f"{option} {asked:g}: scenario {scenario.name} has no {key} to put it in place of; add {key} to its file",
            param=key,
        )
    return asked / base
