"""Tables of the page that everybody sees: key figures, objectives, failures."""

from __future__ import annotations

from html import escape
from typing import cast

from paceline.base.figures import against, count, estimate, number, percent
from paceline.base.page.marks import facts, section, state_cell, table, typeset
from paceline.base.page.svg import drawing, tag
from paceline.base.slo import State
from paceline.measure.render.chart.bullet import bullet
from paceline.measure.render.wording import NOT_JUDGED, bound
from paceline.measure.render.wording import state as in_words
from paceline.measure.report import Estimate, LoadReport, SloRow

FAILURES = {
    "refused": "nobody listened at the address",
    "unreachable": "no route, no such name, or no connection in time",
    "reset": "the server reset the connection",
    "closed": "the server closed before the answer was whole",
    "timeout": "no whole answer within the request's time",
    "malformed": "what came back is not HTTP",
    "too_large": "a head or body above the limit",
    "status": "a whole answer with a status that was not expected",
    "not_json": "a good status, but the body is not the JSON it should be",
    "stream": "a stream that broke off or told of an error",
    "tls": "the TLS handshake failed",
    "unsent": "due, but the run ended before the generator could send it",
}
"""What each kind of failure means (`measure.failure`)."""


def key_figures(report: LoadReport) -> str:
    """The numbers to remember, each with its interval."""
    shown = report.latency_ms.quantiles
    tiles = [_tile("throughput", report.done_per_s, "req/s", _offered(report))]
    tiles += [_tile(f"{name} latency", shown[name], "ms") for name in ("p50", "p95", "p99") if name in shown]
    share = 100 * report.failed / report.sent if report.sent else None
    tiles.append(_plain("failed", percent(share), f"{count(report.failed)} of {count(report.sent)} requests"))
    if report.goodput_percent is not None:
        tiles.append(_plain("goodput", percent(report.goodput_percent), "within every latency objective"))
    return tag("div", *tiles, class_="tiles") + _streaming(report)


def _state(row: SloRow) -> str:
    """In a word; a reason goes below it, where it may wrap."""
    word, _, reason = in_words(row).partition(": ")
    return state_cell(row.state, word) + (tag("small", escape(reason), class_="why") if reason else "")


def objectives(report: LoadReport) -> str:
    """Target, critical level and what was measured; without a value for an invalid run."""
    withheld = report.validity.state == "INVALID"
    rows = []
    for row in report.slo:
        state = state_cell("unknown", NOT_JUDGED) if withheld else _state(row)
        limit = row.critical if row.state == "critical" else row.target
        cells = [escape(row.label), state]
        if not withheld:
            cells += [typeset(against(row.value, row.low, row.high, limit, row.unit)), bullet(row)]
        rows.append([*cells, typeset(bound(row, row.target)), typeset(bound(row, row.critical))])
    head = ["objective", "state", *(() if withheld else ("measured", "")), "target", "critical"]
    numbers = (2, 3) if withheld else (2, 4, 5)
    return section(
        "Objectives",
        table("Service-level objectives", head, rows, numbers=numbers) if rows else "",
        kind="objectives",
    )


def failures(report: LoadReport) -> str:
    """Failures by kind with a bar each; nothing when there were none."""
    if not report.failures:
        return ""
    total = sum(report.failures.values())
    kinds = sorted(report.failures.items(), key=lambda pair: (-pair[1], pair[0]))
    most = kinds[0][1]
    rows = [
        [
            escape(kind.replace("_", " ")),
            escape(FAILURES.get(kind, "")),
            count(seen),
            typeset(percent(100 * seen / total)),
            _bar(seen / most if most else 0.0),
        ]
        for kind, seen in kinds
    ]
    return section(
        "Failures", table("Failures by kind", ["kind", "meaning", "count", "share", ""], rows, numbers=(2, 3))
    )


def about(report: LoadReport, load: str, measured: str) -> str:
    """Where, when and how, for the head of the page."""
    plan, host = report.plan, report.host
    asked = plan.payload.task + (f", model {plan.payload.model}" if plan.payload.model else "")
    pairs = [
        ("load", load),
        ("asked", asked + (", streamed" if plan.payload.stream else "")),
        ("measured", measured),
        ("began", report.made_at.replace("T", " ").replace("Z", " UTC")),
        ("from", f"{host.hostname}: {host.cores} x {host.cpu}, {host.system}"),
        ("with", f"paceline {report.paceline}, Python {host.python}, seed {plan.seed}"),
    ]
    return facts(pairs)


def _offered(report: LoadReport) -> str:
    return "" if report.offered_per_s is None else f"{number(report.offered_per_s)} req/s offered"


def _streaming(report: LoadReport) -> str:
    told = report.streaming
    if told is None:
        return ""
    tiles = [
        _tile(f"{label}, {name}", found.quantiles[name], "ms")
        for label, found, names in (
            ("first token", told.ttft_ms, ("p50", "p95")),
            ("per token", told.tpot_ms, ("p95",)),
            ("between tokens", told.itl_ms, ("p95", "p99")),
        )
        for name in names
        if name in found.quantiles
    ]
    if told.completion_tokens_per_s is not None:
        said = "by the server's own usage" if told.completion_tokens is not None else "events counted here"
        tiles.append(_plain("tokens", f"{number(told.completion_tokens_per_s)} tokens/s", said))
    return tag("div", *tiles, class_="tiles stream")


def _tile(label: str, found: Estimate, unit: str, below: str = "") -> str:
    """Value large, interval under it; or why there is none."""
    value, bracket, bounds = estimate(Estimate(found.value, found.low, found.high), unit).partition(" [")
    if found.value is None:
        return _plain(label, "-", found.reason or "not measured")
    told = f"[{bounds}" if bracket else f"no interval: {found.reason or 'too few samples'}"
    return _plain(label, value, told, below)


def _plain(label: str, value: str, *below: str) -> str:
    return tag(
        "div",
        tag("p", escape(label), class_="label"),
        tag("p", _value(value), class_="value"),
        *(tag("p", typeset(words), class_="below") for words in below if words),
        class_="tile",
    )


def _value(words: str) -> str:
    """`123 ms` with its unit small."""
    digits, _, unit = words.partition(" ")
    if not unit:
        return typeset(words)
    return f"{typeset(digits)}{tag('small', typeset(f'0 {unit}')[1:])}"


def _bar(share: float) -> str:
    inside = tag("rect", x=0, y=3, width=max(2.0, 120 * share), height=8, class_="failed-bar")
    return tag(
        "span", drawing(120, 14, f"{100 * share:.0f} % of the most frequent kind", inside), class_="bars"
    )


def state_of(words: str) -> State:
    """Of the words for a verdict (`wording.Word`)."""
    states = {"PASS": "ok", "MISSED": "warning", "INCONCLUSIVE": "warning", "NOT JUDGED": "unknown"}
    return cast("State", states.get(words, "critical"))
