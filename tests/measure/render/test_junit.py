"""The report as a pipeline reads it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec
import pytest
import reports

from paceline.measure.render import junit
from paceline.measure.report import SloRow

# The order in which the schemas of Ant and of Jenkins want the children of a suite.
ORDER = ["properties", "testcase", "system-out", "system-err"]


def suite(report):
    return ET.fromstring(junit.render(report).encode()).find("testsuite")


def case(report, name):
    return next(found for found in suite(report).iter("testcase") if found.get("name").startswith(name))


@pytest.mark.parametrize("name", reports.VARIANTS)
def test_the_counts_are_those_of_the_cases(name):
    found = suite(reports.VARIANTS[name]())
    cases = found.findall("testcase")

    assert {tag: int(found.get(tag)) for tag in ("tests", "failures", "errors", "skipped")} == {
        "tests": len(cases),
        **{
            f"{tag}s".replace("skippeds", "skipped"): sum(each.find(tag) is not None for each in cases)
            for tag in ("failure", "error", "skipped")
        },
    }


@pytest.mark.parametrize("name", reports.VARIANTS)
def test_the_form_is_what_the_common_schemas_ask_for(name):
    found = suite(reports.VARIANTS[name]())

    assert ORDER == list(dict.fromkeys(child.tag for child in found))
    assert {"name", "timestamp", "hostname", "tests", "failures", "errors", "time", "id", "package"} <= {
        *found.attrib
    }
    assert "2026-03-14T10:15:00" == found.get("timestamp")
    assert all({"classname", "name", "time"} == {*each.attrib} for each in found.iter("testcase"))
    assert float(found.get("time")) == pytest.approx(
        sum(float(each.get("time")) for each in found.iter("testcase"))
    )


def test_a_run_that_met_everything_is_green():
    found = suite(reports.met())

    assert ("4", "0", "0", "0") == tuple(
        found.get(name) for name in ("tests", "failures", "errors", "skipped")
    )


def test_a_missed_target_and_a_crossed_level_fail_with_what_was_measured():
    rows = [
        SloRow("p95_ms", "p95 latency", "ms", 300, 600, False, 342.0, 328.0, 360.0, "warning"),
        SloRow("p99_ms", "p99 latency", "ms", 500, 1000, False, 1240.0, 1116.0, 1401.0, "critical"),
    ]
    missed, crossed = (case(reports.sample(slo=rows), name).find("failure") for name in ("p95", "p99"))

    assert ("target", "p95 latency 342 ms [328, 360], target < 300 ms") == (
        missed.get("type"),
        missed.get("message"),
    )
    assert ("critical", "p99 latency 1,240 ms [1,120, 1,400], critical level < 1,000 ms") == (
        crossed.get("type"),
        crossed.get("message"),
    )


def test_what_was_not_measured_is_skipped():
    assert "not measured" == case(reports.valid(), "cache hit rate > 50 %").find("skipped").get("message")


def test_an_invalid_run_is_an_error_and_judges_nothing():
    found = suite(reports.invalid())
    error = case(reports.invalid(), "validity").find("error")

    assert "INVALID" == error.get("type")
    assert "requests left 34.2 ms late" in error.get("message")
    assert ("0", "1", "7") == tuple(found.get(name) for name in ("failures", "errors", "skipped"))
    assert "p95" not in found.find("system-out").text


def test_an_inconclusive_run_is_an_error_too():
    assert "INCONCLUSIVE" == case(reports.inconclusive(), "validity").find("error").get("type")


def test_a_near_miss_is_a_warning_in_the_output():
    near = SloRow("p95_ms", "p95 latency", "ms", 300, 600, False, 290.0, 280.0, 310.0, "ok")
    report = reports.sample(slo=[near])

    assert (
        "warning: p95 latency 290 ms [280, 310]: the interval reaches across"
        in suite(report).find("system-out").text
    )


def test_no_name_can_break_the_document():
    plan = msgspec.structs.replace(reports.PLAN, name='<a> & "b" \x00\x1b\ud800')

    assert '<a> & "b" ???' == suite(reports.sample(plan=plan)).get("name")
