"""From the options of `paceline measure` to the runs they ask for; nothing is sent and no file but theirs is read."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

import msgspec

from paceline.base.errors import ConfigError
from paceline.cli.measure_options import (
    ContentOptions,
    JudgingOptions,
    LoadOptions,
    MeasureOptions,
    TargetOptions,
)
from paceline.measure.load.address import address
from paceline.measure.plan import (
    ClosedLoop,
    Expect,
    Load,
    OpenLoop,
    Payload,
    Plan,
    Replay,
    Stage,
    Stopping,
    Target,
    Task,
)
from paceline.measure.scenarios import presets
from paceline.measure.scenarios.duration import duration_s
from paceline.measure.scenarios.scenario import (
    DEFAULT_DURATION_S,
    SEARCH_RATE,
    SEARCH_THRESHOLD,
    Phase,
    Scale,
    Scenario,
    Step,
    closed_duration_s,
    phases,
    ramp,
)
from paceline.measure.slo import merged, parse, read_slo

DEFAULT_USERS = 10
MAX_CONNECTIONS = 1024
ALL_FAIL_PERCENT = 100.0
"""A server that answers nothing is not asked a million times, unless --keep-going."""

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*([^\r\n\0]*)")
_TASK_OF_PATH: dict[str, Task] = {
    "/embeddings": "embeddings",
    "/chat/completions": "chat",
    "/completions": "completions",
}
_CLASHES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "trace",
        (
            "requests",
            "concurrency",
            "rate",
            "stage",
            "duration",
            "arrivals",
            "burstiness",
            "think_time",
            "capacity",
        ),
        "a trace has its own arrivals; --speed makes it faster",
    ),
    (
        "capacity",
        ("requests", "concurrency", "stage", "think_time"),
        "the search sets the rate; --rate is the first one it tries",
    ),
    (
        "rate",
        ("concurrency", "think_time"),
        "requests per second are an open loop and users a closed one; keep one of them",
    ),
    ("stage", ("requests", "duration"), "the stages have their own durations"),
    ("concurrency", ("arrivals", "burstiness"), "users send when they were answered; use --rate"),
    ("think_time", ("arrivals", "burstiness"), "users send when they were answered; use --rate"),
)
_NOT_IN_A_SCENARIO = (
    "requests",
    "stage",
    "trace",
    "speed",
    "capacity",
    "arrivals",
    "burstiness",
    "think_time",
)


def plan_of(options: MeasureOptions) -> list[Phase]:
    """The runs, one after another. Raises ConfigError for options that are wrong or contradict each other."""
    load = options.load
    scenario = None if load.scenario is None else presets.named(load.scenario)
    thresholds = _thresholds(options.judging)
    base, find_task = _base(options, scenario, thresholds)
    if scenario is None:
        wanted = thresholds or ((SEARCH_THRESHOLD,) if load.capacity else ())
        plan = msgspec.structs.replace(base, load=load_of(load), thresholds=wanted)
        found = [Phase(plan, "saturation" if load.capacity else "run", find_task=find_task)]
    else:
        _refuse("scenario", load, _NOT_IN_A_SCENARIO, "it has its own load; --print it and change the file")
        length_s = None if load.duration is None else duration_s(load.duration, param="--duration")
        scale = Scale(
            rate=_positive(load.rate, "--rate"),
            users=_positive(load.concurrency, "--concurrency"),
            duration_s=length_s,
        )
        found = phases(scenario, base, scale, find_task=find_task, thresholds=thresholds)
    return [
        msgspec.structs.replace(phase, plan=_checked(_connected(phase.plan, options.target)))
        for phase in found
    ]


def load_of(load: LoadOptions) -> Load:
    """The load without a scenario. Raises ConfigError."""
    for option, others, why in _CLASHES:
        if _given(load, option):
            _refuse(option, load, others, why)
    for option in ("rate", "concurrency", "requests", "speed", "burstiness"):
        _positive(getattr(load, option), f"--{option}")
    if load.trace is not None:
        return Replay(str(load.trace), speed=load.speed or 1.0)
    if load.speed is not None:
        raise ConfigError("--speed is of a recorded trace; add --trace FILE", param="speed")
    return _closed(load) if _is_closed(load) else _open(load)


def _is_closed(load: LoadOptions) -> bool:
    return load.rate is None and not load.capacity and (load.concurrency is not None or not _open_words(load))


def _open_words(load: LoadOptions) -> bool:
    return bool(load.stage or load.arrivals or load.burstiness)


def _open(load: LoadOptions) -> OpenLoop:
    process = load.arrivals or ("poisson" if load.burstiness is None else "gamma")
    if load.burstiness is not None and process != "gamma":
        raise ConfigError(
            f"--burstiness is of --arrivals gamma, and --arrivals {process} has none", param="burstiness"
        )
    if load.rate is None and not load.stage and not load.capacity:
        raise ConfigError(f"--arrivals {process}: how many? add --rate 50", param="rate")
    if load.stage:
        stages = _stages(load.stage, load.rate or 0.0)
    else:
        rate = load.rate or SEARCH_RATE
        stages = (Stage(_open_duration_s(load, rate), rate),)
    return OpenLoop(stages, process=process, cv=load.burstiness or 2.0)


def _open_duration_s(load: LoadOptions, rate: float) -> float:
    if load.requests is None:
        return DEFAULT_DURATION_S if load.duration is None else duration_s(load.duration, param="--duration")
    if load.duration is not None:
        raise ConfigError(
            f"--requests {load.requests} with --rate {rate:g} already lasts {load.requests / rate:g} s; leave out "
            "--duration",
            param="duration",
        )
    return load.requests / rate


def _closed(load: LoadOptions) -> ClosedLoop:
    users = load.concurrency or DEFAULT_USERS
    if load.stage:
        stages = _stages(load.stage, float(users))
    else:
        length_s = None if load.duration is None else duration_s(load.duration, param="--duration")
        stages = (Stage(closed_duration_s(length_s, load.requests), float(users)),)
    think_s = 0.0 if load.think_time is None else duration_s(load.think_time, param="--think-time", zero=True)
    return ClosedLoop(stages, requests=load.requests, think_s=think_s)


def _stages(texts: tuple[str, ...], start: float) -> tuple[Stage, ...]:
    steps = []
    for text in texts:
        length, colon, level = text.partition(":")
        try:
            target = float(level)
        except ValueError:
            target = -1.0
        if not colon or not 0 <= target < 1e9:
            raise ConfigError(f"--stage {text}: expected DURATION:TARGET, such as 30s:100", param="stage")
        duration_s(length, param="--stage", zero=True)
        steps.append(Step(length, target))
    return ramp(tuple(steps), start)


def _base(
    options: MeasureOptions, scenario: Scenario | None, thresholds: tuple[str, ...]
) -> tuple[Plan, bool]:
    """Everything but the load, and whether the server has to be asked what it speaks."""
    content, output = options.content, options.output
    given = _content(content, scenario)
    target = _target(options.target, scenario, given.pop("method"))
    statuses = given.pop("expect_status") or ()
    for status in statuses:
        if not 100 <= status <= 599:
            raise ConfigError(f"--expect-status {status}: expected 100 to 599", param="expect_status")
    task, find = _task(target, given)
    payload = Payload(**{name: value for name, value in given.items() if value is not None} | {"task": task})
    if task == "http" and not find:
        for name in ("model", "prompt_words", "max_tokens"):
            if given[name] is not None:
                raise ConfigError(
                    f"--{name.replace('_', '-')} says nothing about a plain HTTP request; add --task",
                    param=name,
                )
    records = scenario.records if scenario else None
    timeout = scenario.timeout if scenario and options.target.timeout == "30s" else None
    warm_up = options.judging.warm_up
    plan = Plan(
        target=target,
        load=ClosedLoop((Stage(1.0, 1.0),)),
        payload=payload,
        name=output.name or (scenario.name if scenario else "run"),
        seed=options.load.seed,
        expect=Expect(status=statuses),
        stopping=_stopping(options.judging, thresholds),
        warmup_s=None if warm_up is None else duration_s(warm_up, param="--warm-up", zero=True),
        timeout_s=duration_s(timeout or options.target.timeout, param="--timeout"),
        workers=options.load.workers,
        keep_alive=not options.target.no_keep_alive,
        records="histogram" if output.histogram else records or "all",
    )
    return plan, find


def _content(content: ContentOptions, scenario: Scenario | None) -> dict[str, Any]:
    """What is asked, by name: the option, else the scenario's word for it, else None."""
    found: dict[str, Any] = {}
    for field in fields(content):
        value = getattr(content, field.name)
        if not _given(content, field.name):
            value = None if scenario is None else getattr(scenario, field.name)
        found[field.name] = value
    # A body of the command line is instead of either of the scenario's.
    if content.body is not None and content.body_file is None:
        found["body_file"] = None
    if content.body_file is not None and content.body is None:
        found["body"] = None
    if found["body"] is not None and found["body_file"] is not None:
        raise ConfigError("give --body or --body-file, not both", param="body")
    if found["body_file"] is not None:
        found["body_file"] = str(found["body_file"])
    return found


def _task(target: Target, given: dict[str, Any]) -> tuple[Task, bool]:
    """The task, and whether the server is to be asked about it."""
    asked: Task | None = given.pop("task")
    if asked is not None:
        return asked, False
    own = given["body"] is not None or given["body_file"] is not None or target.method is not None
    path = urlsplit(target.url).path.rstrip("/")
    if own:
        return "http", False
    task: Task = next((of_path for end, of_path in _TASK_OF_PATH.items() if path.endswith(end)), "http")
    # http://host:8000/v1 is the base address that OpenAI's clients are given.
    return task, path in {"", "/v1"}


def _target(options: TargetOptions, scenario: Scenario | None, method: object) -> Target:
    url = options.url or (scenario.url if scenario else None)
    if url is None:
        raise ConfigError("--url is missing, such as --url http://localhost:8080", param="url")
    headers = dict(scenario.headers) if scenario else {}
    for text in options.headers:
        match = _HEADER.fullmatch(text.strip())
        if match is None:
            raise ConfigError(f"--header {text!r}: expected 'Name: value'", param="headers")
        headers = {name: value for name, value in headers.items() if name.lower() != match[1].lower()}
        headers[match[1]] = match[2].strip()
    if options.token and not any(name.lower() == "authorization" for name in headers):
        if not (options.token.isascii() and options.token.isprintable()):
            raise ConfigError("--token: has characters that no header can carry", param="token")
        headers["Authorization"] = f"Bearer {options.token}"
    target = Target(
        url=url,
        method=None if method is None else str(method).upper(),
        headers=headers,
        insecure=options.insecure,
        ca_file=None if options.ca_file is None else str(options.ca_file),
    )
    address(target)
    return target


def _thresholds(judging: JudgingOptions) -> tuple[str, ...]:
    of_file = () if judging.slo is None else read_slo(judging.slo)
    return merged(of_file, judging.threshold)


def _stopping(judging: JudgingOptions, thresholds: tuple[str, ...]) -> Stopping:
    failures = ALL_FAIL_PERCENT
    if judging.abort_on_failures is not None:
        if judging.keep_going:
            raise ConfigError("give --abort-on-failures or --keep-going, not both", param="abort_on_failures")
        failures = 100 * _share(judging.abort_on_failures, "--abort-on-failures", "50%")
    asked = [float(match[1]) for o in parse(thresholds) if (match := re.fullmatch(r"p([\d.]+)_ms", o.name))]
    return Stopping(
        precision=None if judging.precision is None else _share(judging.precision, "--precision", "5%"),
        quantile=max(asked, default=95.0) / 100,
        failures_percent=None if judging.keep_going else failures,
        time_limit_s=None
        if judging.time_limit is None
        else duration_s(judging.time_limit, param="--time-limit"),
    )


def _share(text: str, option: str, example: str) -> float:
    """A percentage as a share, above 0 and at most 1."""
    number, sign, rest = text.strip().partition("%")
    try:
        share = float(number) / 100 if sign and not rest else -1.0
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise ConfigError(f"{option} {text}: expected a percentage above 0%, such as {example}", param=option)
    return share


def _connected(plan: Plan, options: TargetOptions) -> Plan:
    """As many connections as users, and at least the default."""
    users = 0
    if isinstance(plan.load, ClosedLoop):
        users = int(max(max(stage.first, stage.target) for stage in plan.load.stages))
    limit = max(MAX_CONNECTIONS, users) if options.max_connections is None else options.max_connections
    if limit < users:
        raise ConfigError(
            f"--max-connections {limit} is fewer than {users} users, who need one each; raise it",
            param="max_connections",
        )
    return msgspec.structs.replace(plan, max_connections=limit)


def _checked(plan: Plan) -> Plan:
    """Ranges that the plan's fields declare."""
    try:
        return msgspec.convert(msgspec.to_builtins(plan), Plan)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        name = path.rstrip("`").rpartition(".")[2]
        raise ConfigError(f"--{name.replace('_', '-')}: {what[:1].lower()}{what[1:]}", param=name) from error


def _given(options: object, name: str) -> bool:
    value = getattr(options, name)
    return value is not None and value is not False and value != ()


def _refuse(option: str, options: object, others: tuple[str, ...], why: str) -> None:
    for other in others:
        if _given(options, other):
            raise ConfigError(
                f"--{option.replace('_', '-')} and --{other.replace('_', '-')} do not go together: {why}",
                param=other,
            )


def _positive(value: float | None, option: str) -> float | None:
    if value is not None and not 0 < value < 1e9:
        raise ConfigError(f"{option} {value:g}: must be above 0", param=option)
    return value
