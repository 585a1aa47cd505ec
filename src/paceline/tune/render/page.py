"""The page of a tune: one HTML file that needs nothing from elsewhere, for people who did not see the tune.

The decision comes first, then what it rests on. It is the same text for the same report; what the report says nothing
of is left out.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files

from paceline.base.figures import duration
from paceline.base.page.frame import frame
from paceline.base.page.marks import facts, icon, typeset
from paceline.base.page.svg import tag
from paceline.tune.render import decision, proof, search
from paceline.tune.render.wording import WORDS, because, headline, searched, state, workload
from paceline.tune.report import TuneReport


def render(report: TuneReport) -> str:
    """The whole page."""
    return frame(
        f"Tune of {report.url}: {WORDS[report.outcome].lower()}",
        head=_head(report),
        main=filter(
            None,
            (
                _verdict(report),
                decision.before_and_after(report),
                decision.changes(report),
                decision.reasons(report),
                proof.comparison(report),
                proof.steps(report),
                search.settings(report),
                proof.trials(report),
                proof.standings(report),
                search.quality(report),
                _details(report),
            ),
        ),
        foot=f"paceline {report.paceline}, tune {report.run_id}, {report.schema}",
        style=files("paceline.tune.render").joinpath("style.css").read_text("utf-8"),
    )


def _head(report: TuneReport) -> str:
    pairs = [
        ("load", workload(report)),
        ("searched", searched(report)),
        ("took", f"{duration(report.seconds)} of {duration(report.budget_s)}"),
        ("began", report.made_at.replace("T", " ").replace("Z", " UTC")),
        ("on", report.machine),
        ("with", f"paceline {report.paceline}, seed {report.seed}"),
    ]
    return tag(
        "header",
        tag("p", "Tune report", class_="over"),
        tag("h1", f"Tuned for {escape(report.aim)}"),
        tag("p", escape(report.url), class_="target"),
        facts((label, value) for label, value in pairs if value),
    )


def _verdict(report: TuneReport) -> str:
    """The line to be quoted, and what qualifies it."""
    shown = state(report)
    because_ = because(report)
    notices = tag("ul", *(tag("li", typeset(words)) for words in report.warnings)) if report.warnings else ""
    return tag(
        "section",
        icon(shown),
        tag(
            "div",
            tag("p", tag("span", WORDS[report.outcome].capitalize()), class_="word"),
            tag("h2", typeset(headline(report)), class_="headline"),
            tag("p", typeset(because_), class_="because") if because_ else "",
            notices,
        ),
        class_=f"verdict {shown}",
        aria_label="Verdict",
    )


def _details(report: TuneReport) -> str:
    inside = search.calibration(report) + search.knobs(report) + proof.parts(report)
    return tag("section", tag("h2", "Details"), inside, class_="details") if inside else ""
