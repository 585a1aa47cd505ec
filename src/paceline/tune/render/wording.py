"""What a tune report says, in a sentence: the same words on the page and on the terminal."""

from __future__ import annotations

from typing import NamedTuple

from paceline.base.figures import NONE, against, chosen, duration, measured, number
from paceline.base.slo import DEFAULT_OBJECTIVES, Objective, State
from paceline.tune.report import AbResult, Outcome, Range, SloValue, Trial, TuneReport
from paceline.tune.setting import Value, label, spelled

WORDS: dict[Outcome, str] = {
    "applied": "APPLIED",
    "written": "WRITTEN",
    "kept": "KEPT",
    "rolled back": "ROLLED BACK",
    "infeasible": "INFEASIBLE",
    "interrupted": "INTERRUPTED",
    "failed": "FAILED",
}

COLOURS: dict[str, str] = {
    "APPLIED": "bold green",
    "WRITTEN": "bold green",
    "KEPT": "bold",
    "ROLLED BACK": "bold yellow",
    "INFEASIBLE": "bold red",
    "INTERRUPTED": "bold yellow",
    "FAILED": "bold red",
    "met": "green",
    "missed": "yellow",
    "critical": "red",
    "better": "green",
    "worse": "red",
    "failed": "red",
}
"""Of verdicts and states where there is colour; the word alone says it too."""

STATE: dict[Outcome, State] = {
    "applied": "ok",
    "written": "ok",
    "kept": "unknown",
    "rolled back": "warning",
    "infeasible": "critical",
    "interrupted": "warning",
    "failed": "critical",
}

NO_GAIN = {
    "better": "the best candidate's gain is smaller than the margin",
    "worse": "the best candidate is worse",
    "equivalent": "the best candidate makes no difference that matters",
    "undecided": "the best candidate is not better for sure",
}
"""Why the baseline stays, by the verdict of the A/B."""

AFTER: dict[Outcome, str] = {
    "applied": "after",
    "written": "after",
    "rolled back": "in the A/B",
    "infeasible": "closest",
}
"""What `after` is of; otherwise it says nothing that the baseline does not."""

_METRICS = {"cpu_s": ("CPU time a good request", "s"), "good_per_s": ("good requests", "/s")}
_UNITS = (("_ms", "ms"), ("_percent", "%"), ("_per_s", "/s"), ("_gb", "GB"), ("_s", "s"))


class Metric(NamedTuple):
    """How a measured quantity is called, and its unit."""

    label: str
    unit: str


def metric(name: str, objectives: list[Objective]) -> Metric:
    """Of the objective of that name, asked for or of the default table; else as the name has it: `cpu_ms` is cpu, ms."""
    for objective in (*objectives, *DEFAULT_OBJECTIVES):
        if objective.name == name:
            return Metric(objective.label, objective.unit)
    if name in _METRICS:
        return Metric(*_METRICS[name])
    ending, unit = next(((end, unit) for end, unit in _UNITS if name.endswith(end)), ("", ""))
    return Metric(name.removesuffix(ending).replace("_", " "), unit)


def state(report: TuneReport) -> State:
    """Of the verdict: a setting that is in force and misses a target is no success."""
    shown = report.after if report.outcome in {"applied", "written"} else report.baseline
    missed = any(row.state in {"warning", "critical"} for row in shown)
    return "warning" if missed and STATE[report.outcome] in {"ok", "unknown"} else STATE[report.outcome]


def headline(report: TuneReport) -> str:
    """What came out, for somebody who reads nothing else."""
    match report.outcome:
        case "applied":
            return f"{gain(report) or 'A new setting'}, applied"
        case "written":
            return f"{gain(report) or 'A new setting'}, written to {report.written_to or 'a file'}"
        case "kept":
            return f"The settings stay as they are: {_no_gain(report)}"
        case "rolled back":
            return f"The new settings were taken back: {_rolled_back(report)}"
        case "infeasible":
            return f"No setting meets the objectives{_closest(report)}"
        case "interrupted":
            return f"Interrupted after {duration(report.seconds)}, before a decision"
        case "failed":
            return _first(report.why) or "No result, and no reason given"


def because(report: TuneReport) -> str:
    """What the line above rests on: the objectives, and the size of the proof."""
    parts = []
    held, before = _held(report.after), _held(report.baseline)
    if report.after and report.outcome in {"applied", "written"}:
        parts.append(f"{held} objectives met with it, {before} before")
    elif _known(report.baseline):
        parts.append(f"{before} objectives met by the settings as they are")
    if report.ab is not None and report.outcome in {"applied", "written", "kept"}:
        parts.append(f"A/B of {report.ab.blocks} blocks: {report.ab.verdict}")
    return "; ".join(parts)


def gain(report: TuneReport) -> str:
    """`p95 latency 41.2 ms -> 29.8 ms (-28 % [-33, -22])`; empty where nothing was compared."""
    if report.ab is not None:
        return ab_line(report.ab, report.objectives)
    for before, after in pairs(report):
        if before is not None and after is not None and before.value and after.value is not None:
            change = Range(after.value / before.value - 1)
            unit = before.objective.unit
            return (
                f"{before.objective.label} {measured(before.value, unit)} -> {measured(after.value, unit)} "
                f"({relative(change)})"
            )
    return ""


def ab_line(ab: AbResult, objectives: list[Objective]) -> str:
    """Both values and the change between them."""
    name, unit = metric(ab.metric, objectives)
    values = (each.get(ab.metric) for each in (ab.baseline_values, ab.candidate_values))
    before, after = (measured(value, unit) for value in values)
    both = "" if NONE in {before, after} else f"{before} -> {after} "
    return f"{name} {both}({relative(ab.change)})"


def relative(found: Range) -> str:
    """A relative change in percent, with its sign: `-28 % [-33, -22]`, `+0.4 % [-2.1, +3.0]`.

    `-28 % [?, -22]` is bounded on one side only, as an A/B may be that ends early.
    """
    if found.value is None:
        return f"no value: {found.reason or 'not measured'}"
    parts = (found.value, found.low, found.high)
    places = 0 if max(abs(100 * part) for part in parts if part is not None) >= 10 else 1
    value, low, high = (
        "?" if part is None else f"{round(100 * part, places) + 0.0:+.{places}f}" for part in parts
    )
    return f"{value} %" if found.low is None and found.high is None else f"{value} % [{low}, {high}]"


def other_side(report: TuneReport) -> str:
    """What stands beside the baseline; empty where nothing does."""
    return AFTER.get(report.outcome, "") if report.after else ""


def trials(report: TuneReport) -> list[Trial]:
    """Whole runs, without the parts of the A/B."""
    return [trial for trial in report.trials if trial.phase != "a/b"]


def changed(before: float | None, after: float | None) -> str:
    """From one value to the other."""
    return NONE if not before or after is None else relative(Range(after / before - 1))


def bound(objective: Objective, limit: float) -> str:
    """`< 300 ms`, or `> 50 %` where more is better."""
    return f"{'>' if objective.higher_is_better else '<'} {chosen(limit, objective.unit)}"


def found(row: SloValue | None) -> str:
    """A measured value beside its target, or the critical level that it crossed."""
    if row is None:
        return NONE
    limit = row.objective.critical if row.state == "critical" else row.objective.target
    return against(row.value, None, None, limit, row.objective.unit)


def pairs(report: TuneReport) -> list[tuple[SloValue | None, SloValue | None]]:
    """Every objective before and after, in the order in which they were asked for."""
    before = {row.objective.name: row for row in report.baseline}
    after = {row.objective.name: row for row in report.after}
    return [(before.get(name), after.get(name)) for name in {**before, **after}]


def changes(report: TuneReport, setting: dict[str, Value]) -> list[tuple[str, str, str, str]]:
    """Knob, old value, new value, and how it takes effect."""
    known = {knob.name: knob for knob in report.knobs}
    rows = []
    for name, value in sorted(setting.items()):
        knob = known.get(name)
        old = report.baseline_setting.get(name, knob.baseline if knob else None)
        unit = f" {knob.unit}" if knob and knob.unit else ""
        takes = NONE if knob is None else "live" if knob.live else "after a restart"
        rows.append(
            (name, NONE if old is None else f"{spelled(old)}{unit}", f"{spelled(value)}{unit}", takes)
        )
    return rows


def searched(report: TuneReport) -> str:
    """`400 of 1,200 settings simulated, 1,870 a second; 9 live runs and 18 parts of an A/B`."""
    whole = len(trials(report))
    live = f"{whole:,} live run{'' if whole == 1 else 's'}"
    parts = len(report.trials) - whole
    live += f" and {parts:,} parts of an A/B" if parts else ""
    space = f"{report.settings_total:,}" if report.settings_total is not None else "any number of"
    if not report.predictions:
        return f"{space} settings; {live}"
    speed = f", {number(report.simulated_per_s)} a second" if report.simulated_per_s else ""
    simulated = report.settings_simulated or len(report.predictions)
    return f"{simulated:,} of {space} settings simulated{speed}; {live}"


def workload(report: TuneReport) -> str:
    """`trace day.csv: 600 requests in 5 s, 120/s, 61.3 % distinct, 24 tokens (p95 71)`."""
    load = report.workload
    words = f"{load.source}: {load.requests:,} requests in {duration(load.duration_s)}"
    words += f", {number(load.rate_per_s)}/s, {number(load.distinct_percent)} % distinct"
    if load.tokens_p50 is not None:
        words += f", {number(load.tokens_p50, 2)} tokens"
        words += "" if load.tokens_p95 is None else f" (p95 {number(load.tokens_p95, 2)})"
    return words


def _no_gain(report: TuneReport) -> str:
    if report.ab is None:
        return "no candidate was better than them"
    name, _ = metric(report.ab.metric, report.objectives)
    return f"{NO_GAIN[report.ab.verdict]}, {name} {relative(report.ab.change)}"


def _rolled_back(report: TuneReport) -> str:
    broken = [step.because for step in report.steps if not step.held]
    return _first(broken) or _first(report.why) or "no reason given"


def _closest(report: TuneReport) -> str:
    """The objective that is missed by most, under the setting that comes nearest."""
    if report.closest is None:
        return ""
    missed = [row for row in report.after if row.state in {"warning", "critical"} and row.value is not None]
    nearest = f"; {label(report.closest)} comes closest"
    if not missed:
        return nearest
    worst = max(missed, key=_excess)
    return f"{nearest}, {worst.objective.label} {found(worst)} where {bound(worst.objective, worst.objective.target)} was asked"


def _excess(row: SloValue) -> float:
    assert row.value is not None
    target = row.objective.target
    return abs(row.value - target) / abs(target) if target else abs(row.value)


def _held(rows: list[SloValue]) -> str:
    return f"{sum(row.state == 'ok' for row in rows)} of {len(rows)}"


def _known(rows: list[SloValue]) -> bool:
    return any(row.value is not None for row in rows)


def _first(words: list[str]) -> str:
    return words[0].rstrip(".") if words else ""
