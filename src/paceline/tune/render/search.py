"""The part of the page about the search: all simulated settings, what may change answers, the model, the knobs."""

from __future__ import annotations

from html import escape

from paceline.base.figures import count, duration, estimate, interval, latency, level, percent
from paceline.base.page.figure import WIDE, figure
from paceline.base.page.marks import facts, folded, section, state_cell, table, typeset
from paceline.base.page.svg import tag
from paceline.tune.render.chart.pareto import Kind, Spot, pareto
from paceline.tune.render.proof import P95
from paceline.tune.render.setting_marks import code, setting
from paceline.tune.report import Prediction, TuneReport
from paceline.tune.setting import Value, key, label, spelled

SATURATED = 0.9
"""Utilisation from which no latency is predicted."""


def settings(report: TuneReport) -> str:
    """Latency against cost of everything that was simulated."""
    spots = [spot for row in report.predictions if (spot := _spot(row, report)) is not None]
    limit = next((row.target for row in report.objectives if row.name == P95), None)
    meeting = sum(row.meets_slo for row in report.predictions)
    told = (
        f"{count(len(report.predictions))} simulated, of which {count(meeting)} meet the objectives (filled); the line joins "
        "those that nothing beats in both. Rings were run live. Saturated ones have no latency that could be predicted."
    )
    if limit is not None and spots and limit > 1.5 * max((spot.p95_ms or 0.0) for spot in spots):
        told += f" The target of {level(limit)} ms is above the chart."
    drawn = (
        figure("Latency against cost", told, lambda width: pareto(spots, limit, width), WIDE) if spots else ""
    )
    return section("Every simulated setting", drawn)


def _spot(row: Prediction, report: TuneReport) -> Spot | None:
    """None for a setting whose cost is not known."""
    if row.cost_ms is None:
        return None
    value = row.p95_ms.value if row.utilisation < SATURATED else None
    words = f"{label(row.setting)}: p95 {estimate(row.p95_ms, 'ms') if value is not None else 'saturated'}"
    words += f", {latency(row.cost_ms)} of engine a request, {percent(100 * row.utilisation)} used"
    words += ", meets the objectives" if row.meets_slo else ", misses an objective"
    return Spot(row.cost_ms, value, words, row.meets_slo, _kind(row, report))


def _kind(row: Prediction, report: TuneReport) -> Kind:
    chosen = key(row.setting)
    if report.winner and chosen == key(report.winner):
        return "winner"
    if not row.setting:
        return "baseline"
    live = {key(trial.setting) for trial in report.trials if trial.phase in {"verify", "a/b"}}
    return "candidate" if chosen in live else "plain"


def quality(report: TuneReport) -> str:
    """Settings that change answers, and whether the change is small enough."""
    rows = [
        [
            setting(check.setting),
            escape(check.metric),
            typeset(estimate(check.loss, "")),
            typeset("any" if check.allowed is None else f"<= {level(check.allowed)}"),
            count(check.samples),
            state_cell("ok", "accepted") if check.accepted else state_cell("critical", "refused"),
            typeset(check.because),
        ]
        for check in report.quality
    ]
    head = ["setting", "metric", "loss", "allowed", "samples", "", "because"]
    return section(
        "Quality of answers", table("Quality checks", head, rows, numbers=(2, 3, 4)) if rows else ""
    )


def calibration(report: TuneReport) -> str:
    """The fitted numbers of the service model."""
    model = report.calibration
    if model is None:
        return ""
    rows = [
        [
            escape(each.name.replace("_", " ")),
            typeset(interval(each.value, each.low, each.high, each.unit)),
            typeset(each.meaning),
        ]
        for each in model.coefficients
    ]
    pairs = [
        ("fitted to", f"{count(model.batches)} batches in {duration(model.seconds)}"),
        ("median error of the fit", percent(model.residual_percent)),
        ("particles", f"{count(model.particles)}: a setting is simulated with each, for its interval"),
    ]
    head = ["coefficient", "value", "meaning"]
    return folded(
        "How the simulator was fitted", facts(pairs), table("Coefficients", head, rows, numbers=(1,))
    )


def knobs(report: TuneReport) -> str:
    """The search space."""
    rows = [
        [
            code(knob.name),
            _values(knob.values, knob.baseline),
            escape(knob.unit or ""),
            "live" if knob.live else "after a restart",
            "changes answers" if knob.quality else "",
            "simulated" if knob.modelled else "tried live only",
            typeset(knob.cost),
        ]
        for knob in report.knobs
    ]
    head = ["knob", "values", "unit", "takes effect", "quality", "effect", "cost"]
    shown = table("Knobs searched", head, rows) if rows else ""
    return folded(f"Knobs searched: {count(len(rows))}", shown) if shown else ""


def _values(values: list[Value], baseline: Value) -> str:
    """All of them, the baseline's in bold."""
    return ", ".join(
        tag("b", escape(spelled(value)), title="baseline") if value == baseline else escape(spelled(value))
        for value in values
    )
