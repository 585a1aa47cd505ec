"""Runs by the names that people give them."""

import msgspec
import pytest
from recorded import record, walk

from paceline.base.errors import ConfigError
from paceline.measure.analysis.summary import summarise
from paceline.measure.records.named_run import NamedRun, open_run
from paceline.measure.records.record_file import read
from paceline.measure.records.store import Store


@pytest.fixture
def base(tmp_path):
    path = record(tmp_path / "base", walk(200), run_id="base")
    return NamedRun(summarise(read(path)), path)


def test_files_of_records_and_of_reports(base, tmp_path):
    store = Store(tmp_path / "runs")
    line, pretty = tmp_path / "report.json", tmp_path / "pretty.json"
    line.write_bytes(msgspec.json.encode(base.report) + b"\n")
    pretty.write_bytes(msgspec.json.format(msgspec.json.encode(base.report)))

    assert open_run(str(base.records), store).report == base.report
    assert open_run(str(line), store).report == open_run(str(pretty), store).report == base.report


def test_a_stored_run_whose_records_were_removed(base, tmp_path):
    store = Store(tmp_path / "runs")
    store.save(base.report, base.records)
    base.records.unlink()

    named = open_run("base", store)
    assert (named.report, named.records, named.run) == (base.report, None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "is no records file"),
        (
            b'{"schema": "paceline.load-report/2"}',
            "has schema paceline.load-report/2 and this Paceline reads",
        ),
        (b'{"schema": "paceline.load-report/1"}', "is no load report: Object missing required field"),
        (b"", "is empty"),
    ],
)
def test_other_files(tmp_path, content, message):
    path = tmp_path / "file.json"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        open_run(str(path), Store(tmp_path / "runs"))


def test_neither_file_nor_run(tmp_path):
    with pytest.raises(ConfigError, match=r"no file and no run 'x\.records'; `paceline runs` lists the runs"):
        open_run("x.records", Store(tmp_path / "runs"))
