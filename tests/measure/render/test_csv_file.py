"""The report as CSV."""

from __future__ import annotations

import csv
import io
import re

import pytest
import reports

from paceline.base.errors import ConfigError
from paceline.measure.render import csv_file
from paceline.measure.report import Series


def rows(report, which="series"):
    return list(csv.DictReader(io.StringIO(csv_file.render(report, which))))


def test_the_series_has_a_row_for_each_step_of_the_run():
    found = rows(reports.valid())
    series = reports.valid().series

    assert len(series.at_s) == len(found)
    assert [float(row["p95_ms"]) for row in found] == pytest.approx(series.p95_ms)
    assert ("ramp", "normal", "peak") == (found[0]["stage"], found[20]["stage"], found[-1]["stage"])


def test_what_was_seen_of_the_server_stands_in_the_step_in_which_it_was_seen():
    found = rows(reports.valid())

    assert float(found[2]["server_cpu_percent"]) == pytest.approx(reports.valid().server.cpu_percent[1])
    assert "" == found[3]["server_cpu_percent"]


def test_what_was_not_measured_is_empty_and_not_zero():
    nothing = Series(1.0, [0.0], [0.0], [0.0], [0.0], [0.0], [None], [None], [None])
    row = rows(reports.sample(series=nothing, server=None, stages=[]))[0]

    assert ("", "", "", "0.0") == (row["p50_ms"], row["stage"], row["server_open_files"], row["done_per_s"])


def test_a_run_that_ended_before_its_first_step_still_has_a_head():
    nothing = Series(1.0, [], [], [], [], [], [], [], [])

    assert csv_file.render(reports.sample(series=nothing)) == ",".join(csv_file.SERIES) + "\n"


def test_the_summary_has_a_row_for_the_run_and_one_for_each_stage():
    found = rows(reports.valid(), "summary")

    assert ["run", "ramp", "normal", "peak"] == [row["part"] for row in found]
    assert {"VALID"} == {row["validity"] for row in found}
    assert float(found[0]["p95_ms"]) == pytest.approx(reports.valid().latency_ms.quantiles["p95"].value)
    assert float(found[0]["p95_low_ms"]) < float(found[0]["p95_ms"]) < float(found[0]["p95_high_ms"])
    assert ("261.4", "") == (found[3]["p95_ms"], found[3]["p95_low_ms"])


def test_tokens_and_capacity_have_columns_when_there_are_any():
    streamed, searched = rows(reports.streaming(), "summary")[0], rows(reports.capacity(), "summary")[0]

    assert ("383400", "412.0") == (streamed["completion_tokens"], searched["capacity_per_s"])
    assert "ttft_p95_ms" in streamed
    assert "ttft_p95_ms" not in searched


@pytest.mark.parametrize("which", ["series", "summary"])
def test_an_invalid_run_has_no_latency(which):
    found = rows(reports.sample(validity=reports.invalid().validity), which)

    assert not [
        row[name] for row in found for name in row if re.search(r"p\d.*_ms|mean|max_ms", name) and row[name]
    ]


@pytest.mark.parametrize("which", ["series", "summary"])
def test_every_column_says_its_unit(which):
    counts = {"run_id", "name", "part", "made_at", "url", "validity", "slo_state", "stage"} | {
        *("sent", "done", "failed", "in_flight", "prompt_tokens", "completion_tokens"),
        *("server_open_files", "server_queue_depth"),
    }
    names = {*rows(reports.streaming(), which)[0]} - counts

    assert not [name for name in names if not name.endswith(("_s", "_ms", "_percent", "_bytes"))]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"missing/run\.csv: No such file"):
        csv_file.write(reports.valid(), tmp_path / "missing/run.csv")


def test_the_file_holds_what_was_rendered(tmp_path):
    csv_file.write(reports.valid(), tmp_path / "run.csv", "summary")

    assert (tmp_path / "run.csv").read_bytes() == csv_file.render(reports.valid(), "summary").encode()
