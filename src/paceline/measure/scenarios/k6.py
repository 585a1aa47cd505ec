"""A plan as a k6 script, for those who have k6 already: the same load, requests, thresholds and checks.

What k6 has no words for (arrivals by chance, traces, searches, times of tokens) is said in the script's first lines.
No header that holds a secret is written; the token comes from the environment, as `API_TOKEN`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from paceline.base.errors import ConfigError
from paceline.base.slo import Objective
from paceline.measure.credentials import is_secret
from paceline.measure.load.address import address
from paceline.measure.plan import ClosedLoop, Load, OpenLoop, Plan, Replay, Stage
from paceline.measure.scenarios.duration import written
from paceline.measure.scenarios.scenario import UNBOUNDED_S, Phase
from paceline.measure.slo import objectives

Bodies = Callable[[Plan], Sequence[bytes | None]]
"""The bodies of a plan, taken in turn."""

MAX_BODIES = 10_000
"""More would make a script that k6 takes seconds to read."""

_STATISTICS = {
    "p50": "p(50)",
    "p90": "p(90)",
    "p95": "p(95)",
    "p99": "p(99)",
    "p99.9": "p(99.9)",
    "mean": "avg",
}


def script(phases: Sequence[Phase], bodies: Bodies) -> str:
    """The script that does what these phases do. Raises ConfigError when k6 can do none of it."""
    runs = [phase.plan for phase in phases if phase.kind == "run" and not isinstance(phase.plan.load, Replay)]
    if not runs:
        raise ConfigError(
            "--export k6: k6 has no recorded traces, no capacity search and no error conditions; use --rate, --stage "
            "or --concurrency",
            param="export",
        )
    plan = runs[0]
    options = {
        "scenarios": _scenarios(runs),
        "thresholds": _thresholds(runs),
        "insecureSkipTLSVerify": plan.target.insecure,
        "noConnectionReuse": not plan.keep_alive,
        "summaryTrendStats": ["avg", "min", "med", "max", "p(50)", "p(90)", "p(95)", "p(99)", "p(99.9)"],
    }
    return "\n".join(
        (
            *_remarks(phases, runs),
            'import http from "k6/http";',
            'import { check, sleep } from "k6";',
            *(('import { SharedArray } from "k6/data";',) if plan.payload.body_file else ()),
            'import exec from "k6/execution";',
            "",
            f"export const options = {_js(options, indent=2)};",
            "",
            *_request(plan, bodies),
            "",
            *_function(plan),
            "",
        )
    )


def _remarks(phases: Sequence[Phase], runs: list[Plan]) -> list[str]:
    plan = runs[0]
    lines = [
        f"{plan.name}: written by paceline measure --export k6.",
        "k6 run script.js --env API_URL=http://localhost:8080 --env API_TOKEN=your-token",
        "",
        "k6 counts latency from the moment a request is sent; paceline from the moment it should have been sent.",
    ]
    lines += [
        f"Left out: {phase.plan.name}, because k6 has no {_missing(phase)}."
        for phase in phases
        if phase.plan not in runs
    ]
    if any(isinstance(run.load, OpenLoop) and run.load.process != "constant" for run in runs):
        lines.append(
            "Arrivals here are evenly spaced: k6 has no random ones, so queues build up less than in life."
        )
    if plan.payload.stream:
        lines.append(
            "k6 cannot measure streams: it waits for the whole answer, so there is no time to first token (TTFT), no "
            "time per token and no inter-token latency."
        )
    for run in runs:
        lines += [
            f"Not checked in {run.name}: {objective.label}, which k6 does not measure."
            for objective in objectives(run.thresholds)
            if run.thresholds and _metric(objective) is None
        ]
    # A comment ends where JavaScript sees a line end, and it sees more of them than \n.
    return [f"// {' '.join(line.splitlines())}".rstrip() for line in lines]


def _missing(phase: Phase) -> str:
    if phase.kind == "saturation":
        return "capacity search"
    return "error conditions" if phase.kind == "errors" else "recorded traces"


def _scenarios(runs: list[Plan]) -> dict[str, object]:
    """One after another, each with time for its last answers."""
    scenarios: dict[str, object] = {}
    start_s = 0.0
    for plan, key in zip(runs, _keys(runs), strict=True):
        scenario, length_s = _executor(plan)
        if start_s:
            scenario["startTime"] = written(start_s)
        scenarios[key] = scenario
        start_s += length_s + (plan.timeout_s if len(runs) > 1 else 0.0)
    return scenarios


def _keys(runs: list[Plan]) -> list[str]:
    """Names as k6 wants them: letters, digits, _ and -."""
    names = [
        "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in plan.name)
        for plan in runs
    ]
    return [name if names.count(name) == 1 else f"{name}_{n}" for n, name in enumerate(names, 1)]


def _executor(plan: Plan) -> tuple[dict[str, object], float]:
    """k6's words for the load, and how many seconds it lasts."""
    load: Load = plan.load
    assert not isinstance(load, Replay)
    length_s = sum(stage.duration_s for stage in load.stages)
    grace = written(plan.timeout_s)
    first = load.stages[0]
    level = len(load.stages) == 1 and first.first == first.target
    if isinstance(load, OpenLoop):
        common = {"preAllocatedVUs": min(plan.max_connections, 50), "maxVUs": plan.max_connections}
        unit_s = _time_unit(load.stages)
        unit = {"timeUnit": written(unit_s), **common, "gracefulStop": grace}
        if level:
            rate = round(first.target * unit_s)
            return {
                "executor": "constant-arrival-rate",
                "rate": rate,
                "duration": written(length_s),
                **unit,
            }, length_s
        return {
            "executor": "ramping-arrival-rate",
            "startRate": round(first.first * unit_s),
            "stages": _stages(load.stages, unit_s),
            **unit,
        }, length_s
    if load.requests is not None:
        users = max(1, round(max(stage.target for stage in load.stages)))
        length_s = min(length_s, UNBOUNDED_S)
        return {
            "executor": "shared-iterations",
            "vus": min(users, load.requests),
            "iterations": load.requests,
            "maxDuration": written(length_s),
        }, length_s
    if level:
        return {
            "executor": "constant-vus",
            "vus": max(1, round(first.target)),
            "duration": written(length_s),
            "gracefulStop": grace,
        }, length_s
    return {
        "executor": "ramping-vus",
        "startVUs": round(first.first),
        "stages": _stages(load.stages, 1.0),
        "gracefulRampDown": grace,
        "gracefulStop": grace,
    }, length_s


def _time_unit(stages: Sequence[Stage]) -> float:
    """Seconds in which every rate is a whole number, which is all that k6 takes; 1,000 s if none is found."""
    rates = [rate for stage in stages for rate in (stage.first, stage.target)]
    for unit_s in (1.0, 2.0, 5.0, 10.0, 60.0, 100.0):
        if all(math.isclose(rate * unit_s, round(rate * unit_s), abs_tol=1e-9) for rate in rates):
            return unit_s
    return 1000.0


def _stages(stages: Sequence[Stage], unit_s: float) -> list[dict[str, object]]:
    """k6's stages begin where the last one ended, so a step is a stage of 0 s."""
    steps: list[dict[str, object]] = []
    level = stages[0].first
    for stage in stages:
        if stage.first != level:
            steps.append({"duration": "0s", "target": round(stage.first * unit_s)})
        steps.append({"duration": written(stage.duration_s), "target": round(stage.target * unit_s)})
        level = stage.target
    return steps


def _thresholds(runs: list[Plan]) -> dict[str, list[object]]:
    """The targets; k6 has no second, critical level. Several scenarios have theirs apart, by tag."""
    found: dict[str, list[object]] = {}
    for plan, key in zip(runs, _keys(runs), strict=True):
        tag = f"{{scenario:{key}}}" if len(runs) > 1 else ""
        for objective in objectives(plan.thresholds):
            metric = _metric(objective)
            if metric is not None:
                found.setdefault(metric + tag, []).append(_condition(objective))
        if plan.stopping.failures_percent is not None:
            found.setdefault(f"http_req_failed{tag}", []).append(
                {
                    "threshold": f"rate<{plan.stopping.failures_percent / 100:.10g}",
                    "abortOnFail": True,
                    "delayAbortEval": "10s",
                }
            )
    return found


def _metric(objective: Objective) -> str | None:
    """k6's name of what the objective is about; None where k6 does not measure it."""
    if objective.name == "error_percent":
        return "http_req_failed"
    if objective.name == "rate_per_s":
        return "http_reqs"
    short = objective.name.removesuffix("_ms")
    return "http_req_duration" if short in _STATISTICS or short == "max" else None


def _condition(objective: Objective) -> str:
    if objective.name == "error_percent":
        # 1e-9 is how `errors<=0%` is kept; k6 would print it so.
        return "rate<=0" if objective.target < 1e-6 else f"rate<{objective.target / 100:.10g}"
    if objective.name == "rate_per_s":
        return f"rate>{objective.target:.10g}"
    short = objective.name.removesuffix("_ms")
    return f"{_STATISTICS.get(short, short)}<{objective.target:.10g}"


def _request(plan: Plan, bodies: Bodies) -> list[str]:
    split = urlsplit(plan.target.url)
    path = address(plan.target, plan.payload.task).path
    headers = {name: value for name, value in plan.target.headers.items() if not is_secret(name)}
    hidden = [name for name in plan.target.headers if is_secret(name) and name.lower() != "authorization"]
    lines = [
        f"const server = (__ENV.API_URL || {_js(f'{split.scheme}://{split.netloc}')}).replace(/\\/+$/, '');",
        f"const url = server + {_js(path)};",
    ]
    made: Sequence[bytes | None] = []
    if plan.payload.body_file:
        file = str(Path(plan.payload.body_file).resolve())
        lines.append(
            f'const bodies = new SharedArray("bodies", () => open(__ENV.BODY_FILE || {_js(file)})'
            '.split("\\n").filter((line) => line.trim() !== ""));'
        )
    else:
        made = bodies(plan)
        if len(made) > MAX_BODIES:
            raise ConfigError(
                f"--export k6: {len(made)} different bodies are too many for a script (at most {MAX_BODIES}); lower "
                "--distinct or use --body-file",
                param="distinct",
            )
        texts = (f"  {_js(None if body is None else body.decode())}," for body in made)
        lines += ["const bodies = [", *texts, "];"]
    with_body = plan.payload.body_file is not None or any(body is not None for body in made)
    if with_body and "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = "application/json"
    lines.append(f"const headers = {_js(headers, indent=2)};")
    lines.append('if (__ENV.API_TOKEN) headers["Authorization"] = `Bearer ${__ENV.API_TOKEN}`;')
    lines += [
        f"if (__ENV.{_variable(name)}) headers[{_js(name)}] = __ENV.{_variable(name)};" for name in hidden
    ]
    if plan.expect.status:
        lines.append(
            f"http.setResponseCallback(http.expectedStatuses({', '.join(map(str, plan.expect.status))}));"
        )
    else:
        lines.append("http.setResponseCallback(http.expectedStatuses({ min: 200, max: 299 }));")
    method = plan.target.method or ("POST" if with_body else "GET")
    lines.append(f"const method = {_js(method)};")
    return lines


def _variable(header: str) -> str:
    return "".join(letter.upper() if letter.isascii() and letter.isalnum() else "_" for letter in header)


def _function(plan: Plan) -> list[str]:
    expected = (
        f"{_js(list(plan.expect.status))}.includes(answer.status)"
        if plan.expect.status
        else "answer.status >= 200 && answer.status <= 299"
    )
    checks = [f'    "status is expected": (answer) => {expected},']
    if plan.expect.json or (plan.payload.task != "http" and not plan.payload.stream):
        checks.append(
            '    "body is JSON": (answer) => { try { answer.json(); return true; } catch (_) { return false; } },'
        )
    load = plan.load
    pause = ""
    if isinstance(load, ClosedLoop) and load.think_s:
        exponential = "-Math.log(1 - Math.random()) * " if load.think == "exponential" else ""
        pause = f"  sleep({exponential}{load.think_s:.10g});"
    return [
        "export default function () {",
        "  const body = bodies[exec.scenario.iterationInTest % bodies.length];",
        f"  const answer = http.request(method, url, body, {{ headers, timeout: {_js(written(plan.timeout_s))} }});",
        "  check(answer, {",
        *checks,
        "  });",
        *([pause] if pause else []),
        "}",
    ]


def _js(value: object, indent: int | None = None) -> str:
    """JSON in ASCII is JavaScript."""
    return json.dumps(value, indent=indent)
