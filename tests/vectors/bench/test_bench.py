"""Whole runs, with real workers."""

import json

import pytest
from small_corpus import HOST, SETTINGS, small_corpus

from paceline.base.errors import ConfigError
from paceline.vectors.bench.bench import Asked, Bench
from paceline.vectors.bench.measure_build import BUILT
from paceline.vectors.bench.roster import Entry, chosen


def bench(folder, names, *, interrupted=lambda: False, say=lambda _: None, corpus=None, **asked):
    entries = names if isinstance(names[0], Entry) else chosen(names)
    return Bench(
        Asked(entries, SETTINGS, **asked),
        corpus or small_corpus(),
        folder,
        host=HOST,
        interrupted=interrupted,
        say=say,
    )


def test_a_run_measures_all_parts_and_its_numbers_agree(tmp_path):
    said = []
    report = bench(
        tmp_path,
        ["faiss-flat"],
        parts=("build", "curve", "rounds", "changes"),
        efforts=(10, 64),
        say=said.append,
    ).run()

    [found] = report.results
    assert found.failed == ""
    assert found.build.vectors_per_s * found.build.seconds == pytest.approx(1_200)
    assert 4 * 48 < found.size.held_bytes < found.size.disk_bytes
    assert [point.effort for point in found.curve] == [10, 64][: len(found.curve)]
    assert all(0 < point.p50_ms <= point.p99_ms for point in found.curve)
    for held in found.held:
        assert held.recall >= held.target
        assert held.qps_low <= held.qps <= held.qps_high
    assert found.changes.reason
    assert said[0] == "faiss-flat: building"


def test_a_kept_folder_is_not_built_again(tmp_path):
    bench(tmp_path, ["faiss-flat"], parts=("build",)).run()
    before = (tmp_path / "faiss-flat" / BUILT).read_bytes()
    said = []

    report = bench(tmp_path, ["faiss-flat"], parts=("build",), say=said.append).run()

    assert (report.results[0].build.was_kept, said) == (True, [])
    assert json.loads(before)["seconds"] == report.results[0].build.seconds


def test_a_folder_of_other_vectors_is_refused_before_anything_is_built(tmp_path):
    small_corpus(1_300).write(tmp_path)

    with pytest.raises(ConfigError, match="not of these"):
        bench(tmp_path, ["faiss-flat"]).run()


def test_one_that_fails_is_told_and_those_that_are_absent_are_named(tmp_path):
    broken = Entry("faiss-sq8", (), "faiss-cpu", "faiss_index:Faiss", "sq8", "library")
    absent = Entry("other", ("no_such_module_anywhere",), "other-py", "faiss_index:Faiss", "", "product")
    corpus = small_corpus()
    run = bench(tmp_path, [broken, absent], corpus=corpus, parts=("build",))
    corpus.write(tmp_path)
    (tmp_path / "vectors.npy").write_bytes(b"no array")

    report = run.run()

    assert "faiss-sq8 ended with" in report.results[0].failed
    assert [(one.name, one.install) for one in report.absent] == [("other", "pip install other-py")]


def test_ctrl_c_ends_the_run_with_what_there_is_and_ends_the_worker(tmp_path):
    asked = iter([False, True])
    run = bench(tmp_path, ["faiss-flat"], interrupted=lambda: next(asked, True))

    report = run.run()

    assert report.interrupted
    assert [result.name for result in report.results] == ["faiss-flat"]
    assert not (tmp_path / "faiss-flat" / BUILT).exists()


@pytest.mark.slow
def test_ours_is_measured_with_its_precisions_and_changes(tmp_path):
    report = bench(tmp_path, ["paceline"], corpus=small_corpus(12_000), efforts=(16, 64)).run()

    [found] = report.results
    assert (found.failed, found.changes.reason) == ("", "")
    assert found.changes.recall_after > 0.95
    assert [one.precision for one in report.precisions] == ["fp32", "fp16", "bf16", "int8", "binary"]
    recalls = {one.precision: one.levels[-1].recall for one in report.precisions}
    assert min(recalls["fp32"], recalls["int8"]) > 0.99
    assert recalls["fp32"] >= recalls["binary"]
    assert [one.code_bytes for one in report.precisions] == sorted(
        (one.code_bytes for one in report.precisions), reverse=True
    )
