"""The report as JUnit XML, for a pipeline that shows tests: one case for the validity of the run, one an objective.

What fails here is what makes the exit status other than 0: a missed target and a crossed critical level are failures
(`type` says which), a run that is INVALID or INCONCLUSIVE is an error, an objective that could not be judged is skipped.
The form is the part that the schemas of Jenkins (junit-10.xsd) and of Ant have in common.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from paceline.base.figures import against, latency, rate
from paceline.base.slo import STATES
from paceline.measure.render import wording
from paceline.measure.report import LoadReport, SloRow

SUITE = "paceline.measure"


def render(report: LoadReport) -> str:
    """One `testsuites` document with one `testsuite`."""
    invalid = report.validity.state == "INVALID"
    cases = [_validity(report), *(_objective(row, report, judged=not invalid) for row in report.slo)]
    suite = Element(
        "testsuite",
        name=_clean(report.plan.name),
        id="0",
        package=SUITE,
        hostname=_clean(report.host.hostname),
        # The schemas know no zone; the moment is in UTC.
        timestamp=report.made_at[:19],
        time=f"{report.duration_s:.3f}",
        tests=str(len(cases)),
        failures=str(_count(cases, "failure")),
        errors=str(_count(cases, "error")),
        skipped=str(_count(cases, "skipped")),
    )
    properties = SubElement(suite, "properties")
    for name, value in _properties(report).items():
        SubElement(properties, "property", name=name, value=_clean(value))
    suite.extend(cases)
    SubElement(suite, "system-out").text = _clean("\n".join(_remarks(report)))
    SubElement(suite, "system-err")
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _validity(report: LoadReport) -> Element:
    """It took the time of the run, so that the cases add up to it."""
    case = _case("validity", report, report.duration_s)
    if report.validity.state != "VALID":
        doubts = wording.doubts(report)
        said = "; ".join(check.message for check in doubts) or "no reason given"
        error = SubElement(
            case, "error", type=report.validity.state, message=_clean(f"{report.validity.state}: {said}")
        )
        error.text = _clean("\n".join(f"{check.name}: {check.message}" for check in doubts))
    return case


def _objective(row: SloRow, report: LoadReport, *, judged: bool) -> Element:
    case = _case(f"{row.label} {wording.bound(row, row.target)}", report, 0.0)
    if not judged:
        SubElement(case, "skipped", message="not judged: the run is INVALID")
    elif row.state == "unknown":
        SubElement(case, "skipped", message=_clean(wording.state(row)))
    elif row.state != "ok":
        failure = SubElement(
            case,
            "failure",
            type="critical" if row.state == "critical" else "target",
            message=_clean(wording.breach(row)),
        )
        levels = f"target {wording.bound(row, row.target)}, critical level {wording.bound(row, row.critical)}"
        failure.text = _clean(f"{wording.breach(row)}\n{levels}")
    return case


def _case(name: str, report: LoadReport, seconds: float) -> Element:
    return Element(
        "testcase", classname=_clean(f"{SUITE}.{report.plan.name}"), name=_clean(name), time=f"{seconds:.3f}"
    )


def _properties(report: LoadReport) -> dict[str, str]:
    return {
        "run_id": report.run_id,
        "url": report.plan.target.url,
        "load": wording.load(report.plan.load),
        "validity": report.validity.state,
        "ended": f"{report.ended}: {report.ended_because}",
        "requests": f"{report.sent} sent, {report.done} good, {report.failed} failed",
        "paceline": report.paceline,
        "host": f"{report.host.hostname} ({report.host.fingerprint})",
    }


def _remarks(report: LoadReport) -> list[str]:
    """What a reader of a green pipeline should still see: the figures, near misses, notes."""
    if report.validity.state == "INVALID":
        return [*report.notes]
    figures = ", ".join(
        f"{name} {latency(found.value)}"
        for name, found in report.latency_ms.quantiles.items()
        if found.value is not None
    )
    measured = [
        f"{row.label} {against(row.value, row.low, row.high, row.target, row.unit)}: {STATES[row.state]}"
        for row in report.slo
    ]
    near = [f"warning: {said}" for said in map(wording.undecided, report.slo) if said]
    capacity = [wording.capacity(report.capacity)] if report.capacity else []
    return [*capacity, f"rate {rate(report.done_per_s.value)}, {figures}", *measured, *near, *report.notes]


def _count(cases: list[Element], tag: str) -> int:
    return sum(case.find(tag) is not None for case in cases)


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold even escaped."""
    return "".join(character if _allowed(ord(character)) else "?" for character in text)


def _allowed(code: int) -> bool:
    return code in {0x9, 0xA, 0xD} or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
