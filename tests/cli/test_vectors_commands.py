"""`paceline vectors` on a real server, and on a folder without one: the same commands, the same answers."""

import io
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from paceline.cli import run
from paceline.cli.vectors import SUBCOMMANDS

NUMBERS = itertools.count()


@pytest.fixture(params=["server", "folder"])
def place(request, tmp_path):
    """Options that say where the collections are."""
    if request.param == "folder":
        return ("--folder", str(tmp_path / "collections"))
    return ("--url", request.getfixturevalue("vectors_server"))


@pytest.fixture
def vectors(place, capsys):
    """Run a subcommand there; returns exit status, standard output and standard error."""

    def call(*arguments):
        code = run(["vectors", *arguments, *place])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def points(vectors):
    """A collection of five points of two dimensions; its name."""
    name = f"points-{next(NUMBERS)}"
    made = vectors("create", name, "--dimension", "2", "--metric", "l2", "--precision", "fp32")
    assert made[0] == 0, made
    rows = [{"id": f"p{n}", "values": [n, n], "metadata": {"n": n, "text": f"point {n}"}} for n in range(5)]
    Path("points.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    loaded = vectors("load", name, "points.jsonl")
    assert loaded[0] == 0, loaded
    return name


@pytest.fixture
def standard_input(monkeypatch):
    def give(content: bytes, *, is_terminal=False):
        stream = io.TextIOWrapper(io.BytesIO(content))
        stream.isatty = lambda: is_terminal
        monkeypatch.setattr(sys, "stdin", stream)

    return give


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_every_subcommand_explains_itself_by_example(capsys, subcommand):
    assert run(["vectors", subcommand, "--help"]) == 0

    out = capsys.readouterr().out
    assert (
        f"Usage: paceline vectors {subcommand}" in out,
        f"    paceline vectors {subcommand} " in f"{out} ",
    ) == (True, True)


def test_a_collection_is_made_listed_described_and_dropped(vectors, standard_input):
    code, out, _ = vectors("create", "fresh", "--dimension", "3", "--precision", "fp16", "--json")
    assert (code, json.loads(out)["dimension"], json.loads(out)["precision"]) == (0, 3, "fp16")

    assert "fresh" in vectors("list")[1]
    cards = json.loads(vectors("list", "--json")[1])
    assert [card["records"] for card in cards if card["name"] == "fresh"] == [0]
    told = json.loads(vectors("describe", "fresh", "--json")[1])
    assert (told["name"], told["totalVectorCount"], told["metric"]) == ("fresh", 0, "cosine")

    standard_input(b"n\n", is_terminal=True)
    assert vectors("drop", "fresh") == (
        2,
        "",
        "delete fresh and its 0 records? [y/N] paceline: error: nothing was deleted\n",
    )
    standard_input(b"y\n", is_terminal=True)
    assert vectors("drop", "fresh")[0] == 0
    assert "fresh" not in vectors("list", "--json")[1]


def test_nothing_is_dropped_when_nobody_is_asked(vectors, points, standard_input):
    standard_input(b"")

    assert vectors("drop", points) == (
        2,
        "",
        f"paceline: error: delete {points} and its 5 records? Nobody is there to answer; add --yes\n",
    )
    assert vectors("drop", points, "--yes")[0] == 0


def test_the_nearest_are_printed_best_first(vectors, points):
    code, out, err = vectors("query", points, "--vector", "[1.2, 1.2]", "--k", "2")

    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["-0.0800", "p1", "point", "1", '{"n":1}'],
        ["-1.2800", "p2", "point", "2", '{"n":2}'],
    ]


def test_a_filter_a_record_and_json(vectors, points):
    _, out, _ = vectors(
        "query", points, "--id", "p1", "--filter", '{"n": {"$gte": 2}}', "-k", "2", "--json", "--values"
    )

    assert [(match["id"], match["values"]) for match in json.loads(out)["matches"]] == [
        ("p2", [2, 2]),
        ("p3", [3, 3]),
    ]


@pytest.mark.parametrize("form", ["npy", "json", "-"])
def test_vectors_come_from_files_and_standard_input_each_a_query(vectors, points, standard_input, form):
    rows = np.float32([[0, 0], [4, 4]])
    np.save("asked.npy", rows)
    Path("asked.json").write_text(json.dumps(rows.tolist()), encoding="utf-8")
    standard_input(json.dumps(rows.tolist()).encode())
    given = "-" if form == "-" else f"asked.{form}"

    code, out, _ = vectors("query", points, "--vector", given, "--k", "1", "--json")

    assert (code, [json.loads(line)["matches"][0]["id"] for line in out.splitlines()]) == (0, ["p0", "p4"])


def test_records_are_fetched_as_they_are_loaded(vectors, points):
    code, out, err = vectors("fetch", points, "p1", "nobody")

    assert (code, err) == (1, "paceline: not there: nobody\n")
    assert json.loads(out) == {"id": "p1", "values": [1, 1], "metadata": {"n": 1, "text": "point 1"}}


def test_ids_are_printed_in_order(vectors, points):
    assert vectors("ids", points, "--limit", "0") == (0, "p0\np1\np2\np3\np4\n", "")
    assert vectors("ids", points, "--limit", "2") == (
        0,
        "p0\np1\n",
        "paceline: these are the first 2; --limit 0 prints all\n",
    )


def test_records_are_changed_and_deleted(vectors, points):
    assert vectors("update", points, "p1", "--metadata", '{"text": null}', "--vector", "[-7, 7]")[0] == 0
    assert json.loads(vectors("fetch", points, "p1")[1]) == {
        "id": "p1",
        "values": [-7, 7],
        "metadata": {"n": 1},
    }
    assert vectors("delete", points, "p0")[2] == "paceline: deleted 1 record\n"
    assert json.loads(vectors("delete", points, "--filter", '{"n": {"$gt": 2}}', "--json")[1]) == {
        "deletedCount": 2
    }
    assert vectors("delete", points, "--all", "--yes")[2] == "paceline: deleted 2 records\n"


def test_a_collection_is_compacted_and_verified(vectors, points):
    assert json.loads(vectors("compact", points, "--json")[1])["records"] == 5
    assert vectors("verify", points) == (0, "", f"paceline: {points}: all files are as they were written\n")
    assert json.loads(vectors("verify", points, "--json")[1]) == {"damaged": {}}


def test_a_collection_is_looked_after(vectors, points):
    """Snapshots, another precision, more shards, and a setting that holds a recall."""
    old = f"{points}-old"
    np.save("asked.npy", np.random.default_rng(0).uniform(0, 4, (120, 2)).astype(np.float32))

    assert vectors("snapshot", points, "monday")[0] == 0
    assert json.loads(vectors("snapshots", points, "--json")[1]) == {points: ["monday"]}
    assert vectors("delete", points, "p0", "p1")[0] == 0
    assert json.loads(vectors("restore", points, "monday", "--into", old, "--json")[1])["records"] == 5
    assert json.loads(vectors("reencode", old, "--precision", "bf16", "--json")[1])["precision"] == "bf16"
    code, out, err = vectors("tune", points, "--recall", "0.9", "--k", "2", "--queries", "asked.npy")
    assert (code, "<- chosen" in out, "searches use it from now on" in err) == (0, True, True)
    code, _, err = vectors("precisions", points)
    assert (code, "holds 3 records; 1000 are the fewest" in err) == (2, True)
    assert vectors("ids", points)[1].split() == ["p2", "p3", "p4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["query", "NAME", "--vector", "[1, 2, 3]"],
            "vector has 3 numbers, the collection's vectors have 2; embed it",
        ),
        (["query", "NAME", "--vector", "[NaN, 1]"], "vector holds NaN or an infinity; send finite numbers"),
        (["query", "NAME", "--id", "p1", "--filter", '{"m": 1}'], "no record has the field 'm'"),
        (["query", "NAME", "--id", "p1", "--filter", '{"n": {"$gt": "x"}}'], "n"),
        (["query", "NAME", "--id", "p1", "--k", "0"], "k"),
        (["query", "NAME", "--id", "p1", "--k", "100000"], "k"),
        (["query", "NAME", "--id", "nobody"], "no"),
        (["query", "no-such", "--id", "p1"], "no collection 'no-such'; there are:"),
        (["create", "NAME", "--dimension", "2"], "exists"),
        (["create", "Upper", "--dimension", "2"], "collection name 'Upper': use"),
        (["create", "other", "--dimension", "2", "--kept", "5"], "5 of 2 dimensions cannot be kept"),
        (
            ["tune", "NAME", "--recall", "0.99", "--queries", "[[1, 2]]"],
            "1 queries tell too little about recall 0.99",
        ),
        (["update", "NAME", "nobody", "--metadata", "{}"], "no record 'nobody'"),
    ],
)
def test_what_is_refused_is_one_line_and_exit_status_2(vectors, points, arguments, message):
    """By a server as by a folder."""
    code, out, err = vectors(*(points if one == "NAME" else one for one in arguments))

    assert (code, out, err.count("\n"), err.startswith("paceline: error: ")) == (2, "", 1, True)
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query", "c"], "say what to look for: one of --vector, --text, --id"),
        (["query", "c", "--id", "a", "--text", "b"], "say what to look for: one of --vector, --text, --id"),
        (["query", "c", "--id", "a", "--mode", "words"], "--mode words looks for words; give --text"),
        (
            ["query", "c", "--id", "a", "--filter", "{year: 1}"],
            "--filter: no JSON at character 2 (Expecting property name enclosed in double quotes)",
        ),
        (
            ["query", "c", "--id", "a", "--filter", "[1]"],
            """--filter [1]: expected an object, as '{"year": {"$gte": 2000}}'""",
        ),
        (["query", "c", "--vector", "none.npy"], "--vector none.npy: No such file or directory"),
        (
            ["query", "c", "--vector", '["a"]'],
            "--vector: expected numbers, as [0.1, 0.2], or rows of as many each",
        ),
        (
            ["query", "c", "--vector", "[[]]"],
            "--vector: numbers of shape (1, 0); expected (dimensions,) or (count, dimensions)",
        ),
        (["fetch", "c"], "no ids; `paceline vectors ids NAME` prints them"),
        (["ids", "c", "--limit", "-1"], "--limit -1: expected 0 or more"),
        (["update", "c", "a"], "nothing to change; give --metadata, --vector or both"),
        (
            ["update", "c", "a", "--vector", "[[1], [2]]"],
            "--vector [[1], [2]]: 2 vectors; one record has one",
        ),
        (["delete", "c"], "say what to delete: ids, --filter or --all"),
        (["list", "--folder", "none"], "--folder none: no such folder; `paceline vectors create` makes one"),
        (["list", "--folder", ".", "--url", "http://x"], "give --folder, or --url and --token, not both"),
        (
            ["list", "--url", "x"],
            "base_url = 'x': expected http://host:port, https://host:port or unix:///path/of/socket",
        ),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_asked(capsys, arguments, message):
    code = run(["vectors", *arguments])

    assert (code, capsys.readouterr()) == (2, ("", f"paceline: error: {message}\n"))


def test_a_folder_in_use_is_told(tmp_path, capsys):
    """Two processes never open the same collection."""
    from paceline.vectors.policy import Schema
    from paceline.vectors.store import VectorStore

    with VectorStore(tmp_path / "v") as store:
        store.create("held", Schema(2))
        code = run(["vectors", "describe", "held", "--folder", "v"])

    err = capsys.readouterr().err
    assert (code, err.count("\n"), "is open in process" in err) == (1, 1, True)
