"""The page of an A/B on its own: the verdict, both sides beside their objectives, and the change block by block."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from paceline.base.figures import duration, measured
from paceline.base.page.figure import WIDE, figure
from paceline.base.page.frame import frame
from paceline.base.page.marks import facts, icon, section, table, typeset
from paceline.base.page.svg import tag
from paceline.tune.ab import Segment
from paceline.tune.ab_report import AbReport
from paceline.tune.render.ab_words import STATE, WORDS, because, difference, failures, headline, load, side
from paceline.tune.render.chart.ab_blocks import ab_blocks
from paceline.tune.render.decision import slo_cell
from paceline.tune.render.proof import ab_sides, ab_told
from paceline.tune.render.wording import bound, metric, relative
from paceline.tune.report import Range


def render(report: AbReport) -> str:
    """The whole page."""
    return frame(
        f"A/B of {report.a.name} and {report.b.name}: {WORDS[report.outcome].lower()}",
        head=_head(report),
        main=filter(None, (_verdict(report), _objectives(report), _proof(report), _blocks(report))),
        foot=f"paceline {report.paceline}, A/B {report.run_id}, {report.schema}",
        style=files("paceline.tune.render").joinpath("style.css").read_text("utf-8"),
    )


def _head(report: AbReport) -> str:
    pairs = [
        ("load", load(report)),
        ("took", duration(report.seconds)),
        ("began", report.made_at.replace("T", " ").replace("Z", " UTC")),
        ("on", report.machine),
        ("with", f"paceline {report.paceline}, seed {report.seed}"),
    ]
    return tag(
        "header",
        tag("p", "A/B report", class_="over"),
        tag("h1", f"B against A for {escape(report.aim)}"),
        *(
            tag("p", escape(side(which, contender)), class_="target")
            for which, contender in (("A", report.a), ("B", report.b))
        ),
        facts((label, value) for label, value in pairs if value),
    )


def _verdict(report: AbReport) -> str:
    shown = STATE[report.outcome]
    notices = [
        tag("li", typeset(f"{which} {failures(contender, len(report.blocks))}"))
        for which, contender in (("A", report.a), ("B", report.b))
        if contender.failures
    ]
    return tag(
        "section",
        icon(shown),
        tag(
            "div",
            tag("p", tag("span", WORDS[report.outcome].capitalize()), class_="word"),
            tag("h2", typeset(headline(report)), class_="headline"),
            tag("p", typeset(because(report)), class_="because"),
            tag("ul", *notices) if notices else "",
        ),
        class_=f"verdict {shown}",
        aria_label="Verdict",
    )


def _objectives(report: AbReport) -> str:
    if not (report.blocks and report.objectives):
        return ""
    rows = [
        [
            escape(a.objective.label),
            slo_cell(a),
            slo_cell(b),
            typeset(difference(report, a, b)),
            typeset(bound(a.objective, a.objective.target)),
            typeset(bound(a.objective, a.objective.critical)),
        ]
        for a, b in zip(report.a.slo, report.b.slo, strict=True)
    ]
    head = ["objective", "A", "B", "change", "target", "critical"]
    return section(
        "Objectives", table("Service-level objectives", head, rows, numbers=(3, 4, 5)), kind="sides"
    )


def _proof(report: AbReport) -> str:
    if not report.blocks:
        return ""
    ab = report.ab
    drawn = figure(
        "A/B",
        ab_told(ab, report.objectives),
        lambda width: ab_blocks(ab.points, ab.margin, width),
        WIDE,
    )
    return section("The proof", drawn, ab_sides(ab, report.objectives, ("A", "B")))


def _blocks(report: AbReport) -> str:
    """Every block as it was run."""
    name, unit = metric(report.ab.metric, report.objectives)
    head = ["block", "first", f"{name}, A", f"{name}, B", "change so far"]
    rows = [
        [
            str(block.number),
            block.first.upper(),
            typeset(_value(block.a, unit)),
            typeset(_value(block.b, unit)),
            typeset(relative(Range(value, low, high))),
        ]
        for block, (value, low, high) in zip(report.blocks, report.ab.points, strict=True)
    ]
    return section("Every block", table("Blocks", head, rows, numbers=(0, 2, 3, 4)) if rows else "")


def _value(segment: Segment, unit: str) -> str:
    if segment.score is None:
        return segment.failure or "nothing good"
    return measured(abs(segment.score), unit)
