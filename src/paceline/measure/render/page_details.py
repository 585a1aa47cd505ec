"""The folded part of the page: everything the verdict rests on."""

from __future__ import annotations

from html import escape
from urllib.parse import urlsplit

import msgspec

from paceline.base.figures import (
    chosen,
    clock,
    count,
    estimate,
    interval,
    latency,
    level,
    number,
    percent,
    rate,
    size,
)
from paceline.base.page.marks import facts, folded, state_cell, table, typeset
from paceline.base.page.svg import tag
from paceline.base.slo import State
from paceline.measure.credentials import concealed
from paceline.measure.plan import ClosedLoop, Plan
from paceline.measure.report import Distribution, LoadReport

_CHECK_STATES: dict[str, State] = {"VALID": "ok", "INCONCLUSIVE": "warning", "INVALID": "critical"}
LONGEST_BODY = 2_000

COUNTED = """
Latency is counted from the moment a request was due by the schedule to the last byte of its answer. A server that
stalls therefore pays for every request that had to wait meanwhile, also for those that could not be sent yet. Service
time, from the actual send, stands beside it.

Intervals cover the true value in 95 of 100 runs. They are made from batches of neighbouring answers, because neighbours
wait in the same queue and are not independent of each other.

The warm-up is cut where the mean of what remains is surest (MSER-5), unless the plan names its length. Percentiles are
of good answers only; failures are counted apart and lower the goodput.
""".strip().split("\n\n")


def details(report: LoadReport) -> str:
    """Folded sections; of an invalid run those that hold no measured time."""
    valid = report.validity.state != "INVALID"
    return "".join(
        (
            folded("Validity checks", checks(report), open_=not valid),
            folded("Percentiles", _percentiles(report), *_counts(report)) if valid else "",
            folded("Stages", _stages(report)) if valid and len(report.stages) > 1 else "",
            folded("Rates tried", _probes(report)) if valid else "",
            folded("Answers by status", _statuses(report)),
            folded("Load generator and host", _generator(report), open_=not valid),
            folded("How latency was counted", *(tag("p", escape(words)) for words in COUNTED)),
            folded("The whole plan", tag("pre", escape(plan_text(report.plan)), tabindex="0")),
        )
    )


def checks(report: LoadReport) -> str:
    """What was checked, what was found, and the limit; the worst first."""
    order = {"INVALID": 0, "INCONCLUSIVE": 1, "VALID": 2}
    rows = [
        [
            escape(check.name.replace("_", " ")),
            state_cell(_CHECK_STATES[check.state], check.state),
            typeset(number(check.value)),
            typeset("-" if check.limit is None else level(check.limit)),
            typeset(check.message),
        ]
        for check in sorted(report.validity.checks, key=lambda check: order[check.state])
    ]
    head = ["check", "state", "measured", "limit", "meaning"]
    return table("Validity checks", head, rows, numbers=(2, 3)) if rows else ""


def plan_text(plan: Plan) -> str:
    """The plan as indented JSON without what it leaves at its default; secrets hidden, a long body cut."""
    shown = concealed(plan)
    target = msgspec.structs.replace(shown.target, url=without_password(shown.target.url))
    shown = msgspec.structs.replace(shown, target=target)
    body = shown.payload.body
    if body is not None and len(body) > LONGEST_BODY:
        cut = f"{body[:LONGEST_BODY]}... ({len(body):,} characters)"
        shown = msgspec.structs.replace(shown, payload=msgspec.structs.replace(shown.payload, body=cut))
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


def without_password(url: str) -> str:
    """The address with user and password left out."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url


def _percentiles(report: LoadReport) -> str:
    told: list[tuple[str, Distribution]] = [
        ("latency, from the intended start", report.latency_ms),
        ("service time, from the actual send", report.service_ms),
    ]
    if report.streaming:
        told += [
            ("time to first token", report.streaming.ttft_ms),
            ("time per output token", report.streaming.tpot_ms),
            ("between tokens", report.streaming.itl_ms),
        ]
    names = list(dict.fromkeys(name for _, found in told for name in found.quantiles))
    timed = [found for _, found in told]
    rows = [
        *([name, *(_quantile(found, name) for found in timed)] for name in names),
        ["mean", *(typeset(estimate(found.mean, "ms")) for found in timed)],
        ["std. deviation", *(typeset(latency(found.stddev)) for found in timed)],
        ["smallest", *(typeset(latency(found.min)) for found in timed)],
        ["largest", *(typeset(latency(found.max)) for found in timed)],
        ["samples", *(count(found.count) for found in timed)],
        ["worth, independent", *(count(found.effective) for found in timed)],
    ]
    head = ["of good answers", *(label for label, _ in told)]
    return table("Percentiles with 95 % intervals", head, rows, numbers=range(1, len(head)))


def _quantile(found: Distribution, name: str) -> str:
    return typeset(estimate(found.quantiles[name], "ms") if name in found.quantiles else "-")


def _counts(report: LoadReport) -> list[str]:
    told = report.streaming
    pairs = [("received", size(report.received_bytes))]
    if told is not None:
        pairs += [
            ("tokens generated", count(told.completion_tokens)),
            ("tokens of prompts", count(told.prompt_tokens)),
            ("events with text", count(told.token_events)),
        ]
    if report.server is not None and report.server.hit_percent is not None:
        pairs.append(("cache hits", percent(report.server.hit_percent)))
    return [facts(pairs)]


def _stages(report: LoadReport) -> str:
    unit = "users" if isinstance(report.plan.load, ClosedLoop) else "/s"
    rows = [
        [
            escape(stage.name or f"stage {index}"),
            f"{clock(stage.start_s)} to {clock(stage.end_s)}",
            typeset(chosen(stage.level, unit)),
            count(stage.sent),
            count(stage.done),
            count(stage.failed),
            typeset(rate(stage.done_per_s)),
            *(typeset(latency(value)) for value in (stage.p50_ms, stage.p95_ms, stage.p99_ms)),
        ]
        for index, stage in enumerate(report.stages, 1)
    ]
    head = ["stage", "time", "level", "sent", "done", "failed", "rate", "p50", "p95", "p99"]
    return table("Stages of the load", head, rows, numbers=range(2, 10))


def _probes(report: LoadReport) -> str:
    if report.capacity is None:
        return ""
    unit = "%" if "%" in report.capacity.objective else "ms"
    rows = [
        [
            typeset(rate(probe.rate_per_s)),
            typeset(rate(probe.done_per_s)),
            typeset("-" if probe.value is None else interval(probe.value, probe.low, probe.high, unit)),
            state_cell("ok" if probe.held else "warning", "held" if probe.held else "not held"),
            typeset(f"{level(round(probe.seconds, 1))} s"),
        ]
        for probe in sorted(report.capacity.probes, key=lambda probe: probe.rate_per_s)
    ]
    head = ["offered", "done", f"measured, for {report.capacity.objective}", "objective", "for"]
    return table("Rates tried", head, rows, numbers=(0, 1, 2, 4))


def _statuses(report: LoadReport) -> str:
    total = sum(report.statuses.values())
    rows = [
        [escape(status), count(seen), typeset(percent(100 * seen / total))]
        for status, seen in sorted(report.statuses.items())
        if total
    ]
    return table("Answers by status", ["status", "answers", "share"], rows, numbers=(1, 2)) if rows else ""


def _generator(report: LoadReport) -> str:
    by, host = report.generator, report.host
    return facts(
        [
            ("lag, median", latency(by.lag_p50_ms)),
            ("lag, 99th percentile", latency(by.lag_p99_ms)),
            ("CPU of the busiest worker", percent(by.cpu_percent)),
            ("workers", count(by.workers)),
            ("connections", count(by.connections)),
            ("timestamps", f"of the {'kernel' if by.timestamps == 'kernel' else 'generator'}"),
            ("requests", f"{count(report.sent)} sent of {count(report.scheduled)} scheduled"),
            ("good answers", count(report.done)),
            ("failed", count(report.failed)),
            ("host", f"{host.hostname}, {host.cores} x {host.cpu}, {size(host.memory_bytes)}"),
            ("system", f"{host.system}, Python {host.python}"),
            ("fingerprint", host.fingerprint),
            ("run", report.run_id),
        ]
    )
