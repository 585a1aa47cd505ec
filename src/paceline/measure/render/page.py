"""The page of a run: one HTML file that needs nothing from elsewhere, for people who did not see the run.

It is the same text for the same report. An INVALID run gets a page of reasons instead: no latency, throughput or
chart of it is written anywhere on the page.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from paceline.base.figures import duration, estimate, rate
from paceline.base.page.frame import frame
from paceline.base.page.marks import icon, typeset
from paceline.base.page.svg import tag
from paceline.measure.render.page_comparison import against_baseline
from paceline.measure.render.page_details import details, without_password
from paceline.measure.render.page_figures import charts
from paceline.measure.render.page_tables import about, failures, key_figures, objectives, state_of
from paceline.measure.render.wording import Verdict, doubts, load, undecided, verdict
from paceline.measure.report import Estimate, LoadReport

if TYPE_CHECKING:
    from paceline.measure.comparison.compare import Comparison

SHOWN = {
    "PASS": "Objectives met",
    "MISSED": "Target missed",
    "CRITICAL": "Critical level crossed",
    "NOT JUDGED": "Not judged",
    "INCONCLUSIVE": "Not every objective could be judged",
}
STEADY = {
    "rising": "Latency was still rising when the run ended: the numbers are of a server that had not settled.",
    "falling": "Latency was still falling when the run ended: the numbers are of a server that had not settled.",
}
ENDED = {
    "interrupted": "The run was interrupted",
    "stopped": "The run was stopped early",
    "time_limit": "The run reached its time limit",
    "broken_off": "The load generator was killed; this is what its records hold",
}


def render(report: LoadReport, *, comparison: Comparison | None = None) -> str:
    """The whole page; with what changed since an earlier run where there is a comparison."""
    judged = verdict(report)
    body = _withheld(report) if report.validity.state == "INVALID" else _result(report, comparison)
    return frame(
        f"{report.plan.name}: {judged.word}",
        head=_head(report),
        main=(
            f"{_verdict(report, judged)}{body}",
            tag("section", tag("h2", "Details"), details(report), class_="details"),
        ),
        foot=f"paceline {report.paceline}, run {report.run_id}, {report.schema}",
    )


def _result(report: LoadReport, comparison: Comparison | None) -> str:
    """Of a run whose numbers mean something."""
    return (
        key_figures(report)
        + tag(
            "p",
            "Brackets are 95 % intervals. Latency is counted from the moment a request was due, so waiting caused by a "
            "stalled server is in it.",
            class_="reading",
        )
        + objectives(report)
        + (against_baseline(comparison) if comparison is not None else "")
        + charts(report)
        + failures(report)
    )


def _withheld(report: LoadReport) -> str:
    """Of an invalid run: what it cannot say, in place of every number it might be quoted for."""
    return (
        tag(
            "p",
            "Percentiles, throughput and charts are not shown: they would not describe the "
            "server. Put right what is named above and run it again.",
            class_="reading",
        )
        + objectives(report)
        + failures(report)
    )


def _head(report: LoadReport) -> str:
    target = report.plan.target
    method = tag("b", escape(target.method)) + " " if target.method else ""
    cut = f", {duration(report.warmup_s)} of warm-up cut" if report.warmup_s else ""
    measured = f"{duration(report.duration_s - report.warmup_s)} of {duration(report.duration_s)}{cut}"
    return tag(
        "header",
        tag("p", "Load report", class_="over"),
        tag("h1", escape(report.plan.name)),
        tag("p", method + escape(without_password(target.url)), class_="target"),
        about(report, load(report.plan.load), measured),
    )


def _verdict(report: LoadReport, judged: Verdict) -> str:
    """The line to be quoted, and what qualifies it."""
    state = state_of(judged.word)
    validity = report.validity.state
    words = [validity] if judged.word == validity else [SHOWN[judged.word], validity]
    because = "" if validity == "INVALID" else tag("p", typeset(judged.because), class_="because")
    return tag(
        "section",
        icon(state),
        tag(
            "div",
            tag("p", *(tag("span", escape(word)) for word in words), class_="word"),
            tag("h2", typeset(headline(report)), class_="headline"),
            because,
            _notices(report),
        ),
        class_=f"verdict {state}",
        aria_label="Verdict",
    )


def headline(report: LoadReport) -> str:
    """What the run found, in one line for somebody in a hurry."""
    if report.validity.state == "INVALID":
        return "No result: what this run measured is not the server"
    if report.capacity is not None and report.capacity.rate_per_s.value is not None:
        return f"{estimate(report.capacity.rate_per_s, 'req/s')} held {report.capacity.objective}"
    if report.capacity is not None:
        return f"No rate was found that holds {report.capacity.objective}"
    line = f"{_per_second(report)} answered"
    told = report.streaming
    named = [("p95", report.latency_ms)] if told is None else [("first token p95", told.ttft_ms)]
    named += [] if told is None else [("between tokens p95", told.itl_ms)]
    shown = [
        f"{name} {estimate(Estimate(found.value, found.low, found.high), 'ms')}"
        for name, timed in named
        if (found := timed.quantiles.get("p95")) is not None and found.value is not None
    ]
    line += f" with {', '.join(shown)}" if shown else "; no percentile could be had"
    return f"{line}: too few samples to rely on" if report.validity.state == "INCONCLUSIVE" else line


def _per_second(report: LoadReport) -> str:
    return rate(report.done_per_s.value).replace("/s", " req/s")


def _notices(report: LoadReport) -> str:
    """Everything a reader must know before quoting the line above."""
    said = verdict(report)
    told = [
        check.message for check in doubts(report) if check.message != said.because or said.word == "INVALID"
    ]
    if report.ended in ENDED:
        told.append(f"{ENDED[report.ended]}: {report.ended_because}")
    if report.validity.state != "INVALID":
        told += [STEADY[report.steady]] if report.steady in STEADY else []
        told += [
            f"{trend.name.replace('_', ' ')} is growing by {estimate(trend.per_hour, trend.unit)} per hour"
            for trend in report.trends
            if trend.state == "growing"
        ]
        told += [words for row in report.slo if (words := undecided(row))]
    told += report.notes
    return tag("ul", *(tag("li", typeset(words)) for words in told)) if told else ""
