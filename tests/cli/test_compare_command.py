"""`paceline compare` and `paceline runs`."""

import json

import msgspec
import pytest
from recorded import HOST, record, walk

from paceline.cli import run
from paceline.measure.analysis.summary import summarise
from paceline.measure.comparison.compare import Comparison
from paceline.measure.records.record_file import read
from paceline.measure.records.store import Store

BASE = walk(2000)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("PACELINE_RUNS", str(tmp_path / "runs"))
    return Store()


@pytest.fixture
def saved(store):
    """Save a run; its records lie beside the store."""

    def save(run_id, latencies, **options):
        path = record(store.folder / f"{run_id}.records", latencies, run_id=run_id, **options)
        store.save(summarise(read(path)), path)
        return path

    return save


class TestCompare:
    @pytest.mark.parametrize(
        ("factor", "status", "word"), [(1.0, 0, "equivalent"), (0.8, 0, "faster"), (1.2, 1, "slower")]
    )
    def test_the_verdict_is_printed_last_and_is_the_exit_status(self, saved, capsys, factor, status, word):
        saved("one", BASE)
        saved("two", [factor * value for value in BASE])

        assert run(["compare", "last~1", "last"]) == status

        out, err = capsys.readouterr()
        assert (out.splitlines()[-1].partition(":")[0], err) == (word, "")
        assert "2,000 pairs of the same request; differences within 5 % do not matter" in out

    def test_too_little_is_inconclusive(self, saved, capsys):
        saved("one", BASE[:50])
        saved("two", BASE[:50], seed=2)

        assert run(["compare", "one", "two"]) == 4
        assert (
            capsys.readouterr()
            .out.splitlines()[-1]
            .startswith("inconclusive: mean latency not known (50 samples")
        )

    def test_json_is_for_programs(self, saved, capsys):
        saved("one", BASE)

        assert run(["compare", "one", "one", "--json"]) == 0
        assert msgspec.json.decode(capsys.readouterr().out, type=Comparison).verdict == "equivalent"

    def test_records_files_and_reports(self, saved, tmp_path, capsys):
        path = saved("one", BASE)
        report = tmp_path / "report.json"
        run(["report", "one", "--json", str(report)])
        capsys.readouterr()

        assert run(["compare", str(path), str(report)]) == 0
        assert "no records of both runs, so from their intervals" in capsys.readouterr().out

    def test_the_margin_is_the_users(self, saved, capsys):
        saved("one", BASE)
        saved("two", [1.1 * value for value in BASE])

        assert [run(["compare", "one", "two", "--margin", margin]) for margin in ("20%", "0.2", "2%")] == [
            0,
            0,
            1,
        ]

    def test_other_machines_are_warned_of_on_standard_error_and_in_the_document(self, saved, capsys):
        saved("one", BASE)
        saved("two", BASE, host=msgspec.structs.replace(HOST, fingerprint="other", hostname="laptop"))

        assert run(["compare", "one", "two", "--json"]) == 0

        out, err = capsys.readouterr()
        assert err.startswith("paceline: warning: measured on different machines, bench-01 (")
        assert json.loads(out)["warnings"][0].startswith("measured on different machines")

    def test_an_invalid_run_needs_force(self, saved, capsys):
        saved("one", BASE)
        saved("two", BASE, lag_ms=40.0)

        assert run(["compare", "one", "two"]) == 2
        assert "run B (two) is INVALID: " in capsys.readouterr().err
        assert run(["compare", "one", "two", "--force"]) in {0, 1, 4}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["one", "one", "--margin", "5%%"],
                "--margin 5%%: expected a share from 0 to below 1, as 5% or 0.05",
            ),
            (
                ["one", "one", "--margin", "100%"],
                "--margin 100%: expected a share from 0 to below 1, as 5% or 0.05",
            ),
            (
                ["one", "one", "--margin", "nan"],
                "--margin nan: expected a share from 0 to below 1, as 5% or 0.05",
            ),
            (["one", "three"], "no run 'three' in "),
            (["one", "three.records"], "no file and no run 'three.records'; `paceline runs` lists the runs"),
            (["one"], "parameter B requires an argument"),
        ],
    )
    def test_wrong_usage(self, saved, capsys, arguments, message):
        saved("one", BASE[:10])

        assert run(["compare", *arguments]) == 2

        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert message in err


class TestRuns:
    def test_an_empty_store_says_how_to_fill_it(self, capsys):
        assert run(["runs"]) == 0

        out, err = capsys.readouterr()
        assert out == ""
        assert err.endswith("`paceline measure` makes one\n")

    def test_one_line_a_run_the_latest_first(self, saved, capsys):
        saved("one", BASE)
        saved("two", BASE, lag_ms=40.0, name="peak")

        assert run(["runs"]) == 0

        head, two, one = capsys.readouterr().out.splitlines()
        assert head.split() == ["id", "name", "began", "rate", "p50", "p95", "errors", "validity", "url"]
        assert one.split()[:4] == ["one", "run", "2026-03-14", "10:15"]
        # Percentiles of an invalid run are not shown as if they were some.
        assert two.split()[4:] == ["-", "-", "-", "0", "%", "INVALID", "http://localhost:8080/"]

    def test_json_and_limit(self, saved, capsys):
        for name in ("one", "two", "three"):
            saved(name, BASE[:10])
        assert run(["runs", "--json", "--limit", "2"]) == 0
        two = json.loads(capsys.readouterr().out)
        assert run(["runs", "--json", "--limit", "0"]) == 0
        everything = json.loads(capsys.readouterr().out)

        assert ([one["run_id"] for one in two], len(everything)) == (["three", "two"], 3)

    def test_records_of_a_killed_run_are_pointed_out(self, saved, store, capsys):
        saved("one", BASE[:10])
        path = record(store.folder / "killed.records", BASE[:10], broken_off_of=50)

        assert run(["runs"]) == 0
        assert capsys.readouterr().err == (
            f"paceline: {path} has no report: still running, or broken off; paceline report {path} shows it\n"
        )

    def test_rm_removes_what_was_named_and_its_records(self, saved, store, capsys):
        paths = [saved(name, BASE[:10]) for name in ("one", "two", "three")]

        assert run(["runs", "rm", "last", "last~1"]) == 0
        assert [kept.run_id for kept in store.runs()] == ["one"]
        assert [path.exists() for path in paths] == [True, False, False]
        assert capsys.readouterr().err == "paceline: removed three\npaceline: removed two\n"

    def test_rm_of_a_wrong_name_removes_nothing(self, saved, store, capsys):
        saved("one", BASE[:10])

        assert run(["runs", "rm", "one", "tow"]) == 2
        assert len(store.runs()) == 1

    def test_prune_keeps_the_latest(self, saved, store, capsys):
        for name in ("one", "two", "three"):
            saved(name, BASE[:10])

        assert run(["runs", "prune", "--keep", "1"]) == 0
        assert [kept.run_id for kept in store.runs()] == ["three"]
        assert capsys.readouterr().err == "paceline: removed 2 runs\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["rm"], "no run named; `paceline runs` lists them"),
            (["prune", "--keep", "-1"], "keep = -1: expected 0 or more runs"),
            (["--limit", "-1"], "--limit -1: expected 0 or more"),
        ],
    )
    def test_wrong_usage(self, capsys, arguments, message):
        assert (run(["runs", *arguments]), capsys.readouterr().err) == (2, f"paceline: error: {message}\n")
