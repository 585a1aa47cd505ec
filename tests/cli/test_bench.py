"""`paceline bench vectors`."""

import json

import numpy as np
import pytest

from paceline.cli import run

FEW = ["--most-queries", "20", "--rounds", "1", "--only", "faiss-flat"]


@pytest.fixture
def base(tmp_path):
    drawn = np.random.default_rng(1).standard_normal((1_500, 24)).astype(np.float32)
    np.save(tmp_path / "base.npy", drawn)
    return tmp_path / "base.npy"


def test_a_file_is_measured_and_the_report_is_written_in_both_forms(base, tmp_path, capsys):
    files = [tmp_path / "bench.json", tmp_path / "bench.html"]
    output = [part for file in files for part in ("--output", str(file))]

    assert run(["bench", "vectors", "--data", str(base), *FEW, "--part", "curve", *output]) == 0

    out = capsys.readouterr().out
    report = json.loads(files[0].read_text())
    assert "faiss-flat" in out
    assert report["corpus"]["vectors"] == 1_500 - 20
    assert report["corpus"]["queries_from"] == "held out"
    assert report["results"][0]["curve"][-1]["recall"] > 0.9
    assert "<!doctype html>" in files[1].read_text()


def test_json_is_all_that_is_printed(base, tmp_path, capsys):
    kept = ["--folder", str(tmp_path / "kept"), "--part", "build", "--json"]

    assert run(["bench", "vectors", "--data", str(base), "--queries", str(base), *FEW, *kept]) == 0

    report = json.loads(capsys.readouterr().out)
    assert (report["results"][0]["curve"], report["corpus"]["queries_from"]) == ([], "base.npy")
    assert (tmp_path / "kept" / "faiss-flat" / "built.json").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "one of --data FILE and --clustered COUNT"),
        (["--data", "a.npy", "--clustered", "5000"], "one of --data FILE and --clustered COUNT"),
        (["--clustered", "10"], "--clustered 10: 1,000 or more"),
        (["--data", "missing.npy"], "missing.npy is no file"),
        (["--data", "base.csv"], "base.csv is none of .jsonl, .ndjson, .parquet, .npy"),
        (["--clustered", "2000", "--only", "pinecone"], "no contestant 'pinecone'"),
        (["--clustered", "2000", "--recall", "99"], "--recall 99.0: more than 0 and at most 1"),
        (["--clustered", "2000", "--rounds", "0"], "--rounds 0"),
        (["--clustered", "2000", "--pass-seconds", "0"], "--pass-seconds 0.0: more than 0"),
        (["--clustered", "2000", "--part", "all"], "--part all: there are build, curve"),
        (["--clustered", "2000", "--output", "a.txt"], "end it in .json or .html"),
        (["--clustered", "2000", "--output", "no/a.html"], "no is no folder"),
    ],
)
def test_wrong_usage_is_one_line_and_nothing_is_built(arguments, told, capsys):
    assert run(["bench", "vectors", *arguments]) == 2

    err = capsys.readouterr().err
    assert told in err.splitlines()[-1]
    assert "building" not in err


def test_queries_of_another_length_are_refused(base, tmp_path, capsys):
    np.save(tmp_path / "query.npy", np.ones((5, 12), np.float32))

    assert run(["bench", "vectors", "--data", str(base), "--queries", str(tmp_path / "query.npy"), *FEW]) == 1
    assert "queries have shape (5, 12), vectors (1500, 24)" in capsys.readouterr().err
