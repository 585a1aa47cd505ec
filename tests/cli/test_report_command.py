"""`paceline report`."""

import xml.etree.ElementTree as ET

import pytest
from recorded import record, walk

from paceline.cli import run
from paceline.measure.analysis.summary import summarise
from paceline.measure.records.record_file import read
from paceline.measure.records.store import Store
from paceline.measure.report import decode

BASE = walk(500)


@pytest.fixture(autouse=True)
def _store(tmp_path, monkeypatch):
    monkeypatch.setenv("PACELINE_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def path(tmp_path):
    return record(tmp_path / "run.records", BASE, run_id="r1")


def test_a_records_file_is_summarised_and_shown(path, capsys):
    assert run(["report", str(path)]) == 0

    out, err = capsys.readouterr()
    assert ("500" in out, str(path) in out, err) == (True, True, "")


def test_a_broken_off_run_is_shown_as_far_as_it_goes(tmp_path, capsys):
    path = record(tmp_path / "cut.records", BASE[:300], broken_off_of=500)
    with path.open("ab") as file:
        file.write(b"PLR1 and then the power went")

    assert run(["report", str(path), "--json", "-"]) == 0

    report = decode(capsys.readouterr().out.encode())
    assert (report.ended, report.done) == ("broken_off", 300)
    assert "28 bytes at the end of the records could not be read" in report.ended_because


def test_a_stored_run_is_the_report_that_was_stored(path, capsys):
    report = summarise(read(path))
    Store().save(report)

    assert run(["report", "last", "--json", "-"]) == 0
    assert decode(capsys.readouterr().out.encode()) == report


def test_every_form_is_written(path, tmp_path, capsys):
    files = {form: tmp_path / f"report.{form}" for form in ("html", "json", "csv", "junit")}

    assert (
        run(
            [
                "report",
                str(path),
                *(part for form, file in files.items() for part in (f"--{form}", str(file))),
            ]
        )
        == 0
    )

    assert capsys.readouterr().err == "".join(f"paceline: wrote {file}\n" for file in files.values())
    assert files["html"].read_text().lower().startswith("<!doctype html>")
    assert decode(files["json"].read_bytes()).run_id == "r1"
    assert files["csv"].read_text().startswith("at_s,")
    assert ET.parse(files["junit"]).getroot().tag in {"testsuites", "testsuite"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no run 'nothing' in "),
        (
            ["last", "--html", "missing/report.html"],
            "--html missing/report.html cannot be written: No such file",
        ),
    ],
)
def test_wrong_usage(path, capsys, arguments, message):
    Store().save(summarise(read(path))) if arguments[0] == "last" else None

    assert run(["report", *arguments]) == 2
    assert message in capsys.readouterr().err
