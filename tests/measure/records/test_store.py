"""Runs are kept, found by the names people use, and forgotten on request."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from reports import sample

from paceline.base.errors import ConfigError
from paceline.measure.plan import OpenLoop, Plan, Stage, Target
from paceline.measure.records.store import FILE, Store, default_folder


def report(run_id, name="run", **changes):
    plan = Plan(Target("http://localhost/"), OpenLoop((Stage(1.0, 1.0),)), name=name)
    return sample(run_id=run_id, plan=plan, **changes)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def ids(runs):
    return [run.run_id for run in runs]


def test_a_saved_run_comes_back_whole(store, tmp_path):
    saved = report("r1", "baseline")
    store.save(saved, tmp_path / "r1.plr")

    assert store.report("r1") == saved
    (run,) = store.runs()
    assert (run.run_id, run.name, run.url, run.fingerprint) == (
        "r1",
        "baseline",
        "http://localhost/",
        saved.host.fingerprint,
    )
    assert (run.validity, run.slo_state, run.records) == (
        saved.validity.state,
        saved.slo_state,
        str(tmp_path / "r1.plr"),
    )
    assert run.p95_ms == saved.latency_ms.quantiles["p95"].value


def test_an_empty_store_lists_nothing(store):
    assert store.runs() == []


def test_the_latest_run_is_listed_first(store):
    for run_id in ("a", "c", "b"):
        store.save(report(run_id))

    assert (ids(store.runs()), ids(store.runs(limit=2))) == (["b", "c", "a"], ["b", "c"])


def test_a_run_saved_again_is_replaced_in_its_place(store):
    store.save(report("a", "first"))
    store.save(report("b"))
    store.save(report("a", "second"))

    assert [(run.run_id, run.name) for run in store.runs()] == [("b", "run"), ("a", "second")]
    assert store.report("a").plan.name == "second"


class TestFind:
    @pytest.fixture(autouse=True)
    def _saved(self, store):
        for run_id, name in [("20260101-aa", "smoke"), ("20260101-ab", "load"), ("20260202-cc", "smoke")]:
            store.save(report(run_id, name))

    @pytest.mark.parametrize(
        ("which", "found"),
        [
            ("20260101-ab", "20260101-ab"),
            ("last", "20260202-cc"),
            ("last~0", "20260202-cc"),
            ("last~1", "20260101-ab"),
            ("last~2", "20260101-aa"),
            ("smoke", "20260202-cc"),
            ("load", "20260101-ab"),
            ("202602", "20260202-cc"),
        ],
    )
    def test_by_id_place_name_or_beginning(self, store, which, found):
        assert store.find(which).run_id == found

    def test_a_baseline_is_never_the_run_itself(self, store):
        assert store.find("smoke", without="20260202-cc").run_id == "20260101-aa"
        assert store.find("last", without="20260202-cc").run_id == "20260101-ab"

    def test_an_id_goes_before_a_name(self, store):
        store.save(report("x", "20260101-aa"))

        assert store.find("20260101-aa").name == "smoke"

    def test_several_that_begin_so_are_named(self, store):
        with pytest.raises(ConfigError) as refused:
            store.find("20260101")

        assert refused.value.message == (
            "run '20260101' is ambiguous: 20260101-ab, 20260101-aa begin so; give more of the id"
        )

    @pytest.mark.parametrize(
        "which", ["", "nothing", "last~3", "last~x", "%", "_0260101-aa", "20260101-AA'; --"]
    )
    def test_none(self, store, which):
        with pytest.raises(ConfigError) as refused:
            store.find(which)

        assert refused.value.message == (
            f"no run {which!r} in {store.folder}; `paceline runs` lists those there are"
        )


class TestForget:
    @pytest.fixture(autouse=True)
    def _saved(self, store, tmp_path):
        store.folder.mkdir()
        for run_id in "abc":
            records = (store.folder if run_id != "b" else tmp_path) / f"{run_id}.plr"
            records.touch()
            store.save(report(run_id), records)

    def test_a_run_and_its_records(self, store):
        assert (store.remove("a"), store.remove("a")) == (True, False)
        assert ids(store.runs()) == ["c", "b"]
        assert not (store.folder / "a.plr").exists()

    def test_records_that_lie_elsewhere_are_left_alone(self, store, tmp_path):
        store.remove("b")

        assert (tmp_path / "b.plr").exists()

    def test_all_but_the_latest(self, store):
        gone = store.prune(keep=1)

        assert (sorted(ids(gone)), ids(store.runs())) == (["a", "b"], ["c"])
        assert sorted(path.name for path in store.folder.glob("*.plr")) == ["c.plr"]

    def test_fewer_than_are_kept(self, store):
        assert (store.prune(keep=3), len(store.runs())) == ([], 3)

    def test_keeping_less_than_none(self, store):
        with pytest.raises(ConfigError, match="keep = -1: expected 0 or more runs"):
            store.prune(keep=-1)


class TestUnusable:
    def test_an_unknown_report(self, store):
        with pytest.raises(ConfigError, match="no run 'x' in "):
            store.report("x")

    def test_no_folder(self, tmp_path):
        (tmp_path / "file").touch()

        with pytest.raises(ConfigError, match="PACELINE_RUNS names another folder"):
            Store(tmp_path / "file" / "runs").runs()

    def test_something_else_under_its_name(self, store):
        store.folder.mkdir()
        (store.folder / FILE).write_bytes(b"not a database" * 100)

        with pytest.raises(ConfigError, match="file is not a database; PACELINE_RUNS names another folder"):
            store.save(report("a"))

    def test_a_later_version(self, store):
        store.save(report("a"))
        base = sqlite3.connect(store.folder / FILE)
        base.execute("PRAGMA user_version = 9")
        base.close()

        with pytest.raises(ConfigError, match="has version 9 and this Paceline knows 1"):
            store.runs()

    def test_a_damaged_report(self, store):
        store.save(report("a"))
        base = sqlite3.connect(store.folder / FILE)
        base.execute("UPDATE runs SET report = x'00'")
        base.commit()
        base.close()

        with pytest.raises(ConfigError, match="remove it with `paceline runs rm a`"):
            store.report("a")


CHILD = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from reports import sample
from paceline.measure.records.store import Store
for number in range(5):
    Store(Path(sys.argv[1])).save(sample(run_id=f"{sys.argv[2]}-{number}"))
"""


def test_processes_that_save_at_once_lose_nothing(store):
    """Not even while the file is being made."""
    here = str(Path(__file__).parents[1])
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(store.folder), name, here], stderr=subprocess.PIPE)
        for name in "abc"
    ]
    errors = [child.communicate(timeout=60)[1] for child in children]

    assert errors == [b"", b"", b""]
    assert sorted(ids(store.runs())) == [f"{name}-{number}" for name in "abc" for number in range(5)]


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"PACELINE_RUNS": "/data/runs", "XDG_DATA_HOME": "/xdg"}, Path("/data/runs")),
        ({"XDG_DATA_HOME": "/xdg"}, Path("/xdg/paceline/runs")),
        ({}, Path.home() / ".local/share/paceline/runs"),
        ({"PACELINE_RUNS": ""}, Path.home() / ".local/share/paceline/runs"),
    ],
)
def test_where_the_store_lies(environ, folder):
    assert default_folder(environ) == folder
