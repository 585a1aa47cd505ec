"""What an A/B on its own says, in a sentence: the same words on the page and on the terminal."""

from __future__ import annotations

from typing import Final

from paceline.base.figures import duration, level
from paceline.base.slo import State
from paceline.tune.ab_report import AbOutcome, AbReport, Contender
from paceline.tune.render.wording import ab_line, changed, relative
from paceline.tune.report import SloValue
from paceline.tune.setting import label

WORDS: Final[dict[AbOutcome, str]] = {
    "better": "BETTER",
    "worse": "WORSE",
    "equivalent": "EQUIVALENT",
    "undecided": "UNDECIDED",
    "failed": "FAILED",
    "interrupted": "INTERRUPTED",
}

COLOURS: Final = {
    "BETTER": "bold green",
    "WORSE": "bold red",
    "EQUIVALENT": "bold",
    "UNDECIDED": "bold yellow",
    "FAILED": "bold red",
    "INTERRUPTED": "bold yellow",
}

STATE: Final[dict[AbOutcome, State]] = {
    "better": "ok",
    "worse": "critical",
    "equivalent": "ok",
    "undecided": "unknown",
    "failed": "critical",
    "interrupted": "warning",
}


def headline(report: AbReport) -> str:
    """The verdict in a sentence, with both values and the change between them."""
    change = report.ab.change.reason or ab_line(report.ab, report.objectives)
    within = f"{level(100 * (report.ab.margin or 0.0))} %"
    match report.outcome:
        case "better" | "worse":
            return f"B is {report.outcome} than A: {change}"
        case "equivalent":
            return f"A and B are within {within} of each other: {change}"
        case "undecided":
            return f"Neither is better for sure: {change}"
        case "failed":
            return "Neither side could be measured"
        case "interrupted":
            return f"Stopped by hand before it was decided: {change}" if report.blocks else "Stopped by hand"


def because(report: AbReport) -> str:
    """What the sentence rests on, and what would tell more."""
    rest = f"{report.ended}, an interval that holds at every look"
    if report.outcome in {"failed", "interrupted"}:
        return report.ended
    if report.outcome == "undecided":
        return f"{report.ended}; more --blocks or longer ones narrow the interval"
    return rest


def side(which: str, contender: Contender) -> str:
    """`B  settings-b.toml: max_size=8 max_wait_ms=2.0`."""
    setting = f": {label(contender.setting)}" if contender.setting else ""
    return f"{which} is {contender.name}{setting}"


def load(report: AbReport) -> str:
    """`trace day.csv; 300 requests in about 5 s for each side of a block`."""
    return (
        f"{report.source}; {report.requests:,} requests in about {duration(report.block_s)} "
        "for each side of a block"
    )


def failures(contender: Contender, blocks: int) -> str:
    """How many blocks a side failed in, and why at last; empty for none."""
    if not contender.failures:
        return ""
    return f"failed in {len(contender.failures)} of {blocks} blocks: {contender.failures[-1]}"


def difference(report: AbReport, a: SloValue, b: SloValue) -> str:
    """From A to B: with its interval for what was compared, of the medians for the other objectives."""
    compared = a.objective.name == report.ab.metric
    return relative(report.ab.change) if compared else changed(a.value, b.value)
