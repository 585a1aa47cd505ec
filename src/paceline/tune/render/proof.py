"""The part of the page with what was run live: the A/B, every trial beside its prediction, standings and steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from statistics import median

from paceline.base.figures import NONE, clock, count, duration, estimate, latency, measured, number, percent
from paceline.base.page.figure import HALF, WIDE, figure
from paceline.base.page.marks import folded, section, state_cell, table, typeset
from paceline.base.page.svg import tag
from paceline.base.slo import Objective
from paceline.tune.render.chart.ab_blocks import ab_blocks
from paceline.tune.render.chart.predicted import Pair, against_measured
from paceline.tune.render.setting_marks import setting
from paceline.tune.render.wording import ab_line, changed, metric, relative
from paceline.tune.render.wording import trials as whole_runs
from paceline.tune.report import AbResult, Range, Trial, TuneReport
from paceline.tune.setting import label

P95 = "p95_ms"
UNSEEN = frozenset({"verify", "a/b", "apply"})
"""Phases whose runs the simulator was not fitted to."""


def comparison(report: TuneReport) -> str:
    """The A/B block by block, and how well the simulator had foreseen the trials."""
    pairs = _pairs(report)
    looks = report.ab.points if report.ab else []
    drawings: list[tuple[str, str, Callable[[float], str]]] = []
    if report.ab is not None and looks:
        margin = report.ab.margin
        drawings.append(
            ("A/B", ab_told(report.ab, report.objectives), lambda width: ab_blocks(looks, margin, width))
        )
    if pairs:
        drawings.append(
            ("Predicted against measured", accuracy(pairs), lambda width: against_measured(pairs, width))
        )
    widths = HALF if len(drawings) == 2 else WIDE
    figures = [figure(title, told, draw, widths) for title, told, draw in drawings]
    shown = tag("div", *figures, class_="pair") if len(figures) == 2 else "".join(figures)
    return section("The proof" if report.ab is not None else "The predictions", shown, _sides(report))


def ab_told(ab: AbResult, objectives: list[Objective]) -> str:
    """What the drawing of the blocks shows."""
    said = f"{ab_line(ab, objectives)}: {ab.verdict} after {ab.blocks} blocks. "
    return said + "The band is the interval; it holds at every look, so stopping early does not bias it."


def _sides(report: TuneReport) -> str:
    return "" if report.ab is None else ab_sides(report.ab, report.objectives, ("baseline", "candidate"))


def ab_sides(ab: AbResult, objectives: list[Objective], names: tuple[str, str]) -> str:
    """All that the A/B measured on both sides, which are called `names`."""
    measures = [name for name in {**ab.baseline_values, **ab.candidate_values} if name != ab.metric]
    rows = [_side(ab, name, objectives) for name in (ab.metric, *measures)]
    return table("Both sides of the A/B", ["measured in the A/B", *names, "change"], rows, numbers=(1, 2, 3))


def _side(ab: AbResult, name: str, objectives: list[Objective]) -> list[str]:
    words, unit = metric(name, objectives)
    before, after = ab.baseline_values.get(name), ab.candidate_values.get(name)
    change = relative(ab.change) if name == ab.metric else changed(before, after)
    return [escape(words), typeset(measured(before, unit)), typeset(measured(after, unit)), typeset(change)]


def accuracy(pairs: list[Pair]) -> str:
    """How far off the predictions were, of the runs that the simulator had not seen."""
    unseen = [pair for pair in pairs if pair.unseen]
    if not unseen:
        return "Rings are runs that the simulator was fitted to."
    error = median(abs(pair.predicted / pair.measured - 1) for pair in unseen if pair.measured)
    bounded = [(pair.low, pair.measured, pair.high) for pair in unseen if pair.low is not None]
    held = sum(low <= value <= high for low, value, high in bounded if low is not None and high is not None)
    said = f"Median error {100 * error:.1f} % in the {len(unseen)} runs that the simulator was not fitted to"
    said += f"; the interval held {held} of {len(bounded)}" if bounded else ""
    return f"{said}. Rings are runs that it was fitted to."


def _pairs(report: TuneReport) -> list[Pair]:
    rows = []
    for trial in report.trials:
        told, value = trial.predicted_p95_ms, trial.values.get(P95)
        if told is not None and told.value is not None and value is not None:
            words = f"{trial.number}, {label(trial.setting)}: predicted {estimate(told, 'ms')}, measured {latency(value)}"
            rows.append(Pair(told.value, value, words, told.low, told.high, trial.phase in UNSEEN))
    return rows


def trials(report: TuneReport) -> str:
    """Every whole run with what was predicted of it."""
    return section("Every live run", _runs("Live runs", whole_runs(report), report), kind="runs")


def parts(report: TuneReport) -> str:
    """The runs that the A/B is made of, each over a part of the load."""
    runs = [trial for trial in report.trials if trial.phase == "a/b"]
    shown = tag("div", _runs("Parts of the A/B", runs, report), class_="runs") if runs else ""
    return folded(f"Parts of the A/B: {count(len(runs))}", shown)


def _runs(caption: str, runs: list[Trial], report: TuneReport) -> str:
    """One row a run; nothing where there is none."""
    if not runs:
        return ""
    foreseen = any(trial.predicted_p95_ms is not None for trial in runs)
    names = [row.name for row in report.objectives if row.name != P95]
    shown = [name for name in names if any(name in trial.values for trial in runs)]
    head = ["run", "phase", "setting", *(("predicted p95",) if foreseen else ()), "measured p95"]
    head += ["error"] if foreseen else []
    head += [metric(name, report.objectives).label for name in shown]
    numbers = (0, *range(3, len(head)), *range(len(head) + 1, len(head) + 4))
    head += ["objectives", "score", "at", "for"]
    rows = [_trial(trial, shown, report.objectives, foreseen=foreseen) for trial in runs]
    return table(caption, head, rows, numbers=numbers)


def _trial(trial: Trial, names: list[str], objectives: list[Objective], *, foreseen: bool) -> list[str]:
    told, value = trial.predicted_p95_ms, trial.values.get(P95)
    error = changed(value, told.value if told else None)
    return [
        str(trial.number),
        escape(trial.phase),
        setting(trial.setting),
        *((typeset(NONE if told is None else _predicted(told)),) if foreseen else ()),
        typeset(latency(value)),
        *((typeset(error),) if foreseen else ()),
        *(typeset(measured(trial.values.get(name), metric(name, objectives).unit)) for name in names),
        _outcome(trial),
        typeset(number(trial.score)),
        clock(trial.at_s),
        typeset(duration(trial.seconds)),
    ]


def _predicted(told: Range) -> str:
    return estimate(told, "ms") if told.value is not None else told.reason or NONE


def _outcome(trial: Trial) -> str:
    """Met, or by how much the worst objective was missed; or why there is no measurement."""
    if trial.failed:
        return state_cell("critical", "no measurement") + tag("small", typeset(trial.failed), class_="why")
    if trial.violation is None:
        return state_cell("unknown", "not measured")
    if trial.violation <= 0:
        return state_cell("ok", "met")
    return state_cell("warning", "missed") + tag(
        "small",
        typeset(f"by {percent(100 * trial.violation)}").replace(" ", "\N{NO-BREAK SPACE}"),
        class_="why",
    )


def standings(report: TuneReport) -> str:
    """The candidates after verification, the best first."""
    rows = [
        [
            setting(each.setting),
            count(each.runs),
            typeset(number(each.mean_score)),
            "" if each.eliminated_after is None else f"after run {each.eliminated_after}",
            typeset(each.because),
        ]
        for each in report.standings
    ]
    head = ["candidate", "runs", "mean score", "dropped", "because"]
    return section("Candidates", table("Candidates", head, rows, numbers=(1, 2)) if rows else "")


def steps(report: TuneReport) -> str:
    """How the winner was applied, and whether each step held."""
    names = list(dict.fromkeys(name for step in report.steps for name in step.values))
    asked = [row.name for row in report.objectives if row.name in names]
    rows = [
        [
            str(index),
            setting(step.setting),
            typeset(duration(step.window_s)),
            *(_measured(step.values, name, report) for name in asked),
            state_cell("ok", "held") if step.held else state_cell("critical", "taken back"),
            typeset(step.because),
        ]
        for index, step in enumerate(report.steps, 1)
    ]
    head = [
        "step",
        "setting",
        "watched",
        *(metric(name, report.objectives).label for name in asked),
        "",
        "because",
    ]
    numbers = (0, 2, *range(3, 3 + len(asked)))
    return section("Applied in steps", table("Steps", head, rows, numbers=numbers) if rows else "")


def _measured(values: Mapping[str, float], name: str, report: TuneReport) -> str:
    return typeset(measured(values.get(name), metric(name, report.objectives).unit))
