"""`paceline vectors load`: batches, what is told meanwhile, and going on where it was interrupted."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from paceline.cli import run
from paceline.cli.load_pace import EVERY_S, LoadPace
from paceline.vectors.bulk_files import TextFields, TextRecord, count_records
from scripted_server import Answer, problem

CARD = {"name": "c", "dimension": 2, "metric": "l2", "precision": "fp32", "records": 9, "version": 1}
EMPTY = {**CARD, "records": 0}
DONE = Answer(body={"upsertedCount": 2})
WRONG = problem(400, "invalid_request", "vectors[1].values has 3 numbers, the collection's vectors have 2")
ONE_AT_A_TIME = ("--batch", "2", "--at-once", "1")


@pytest.fixture
def five():
    rows = [{"id": f"v{n}", "values": [n, n], "metadata": {"n": n}} for n in range(5)]
    Path("five.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return "five.jsonl"


def sent(server):
    """Ids of each batch that came."""
    return [
        [item["id"] for item in json.loads(seen["body"])["vectors"]] for seen in server.seen if seen["body"]
    ]


def test_batches_are_sent_and_the_journal_is_gone_at_the_end(server, five, capsys):
    server.says(Answer(body=CARD), DONE, DONE, DONE)

    assert run(["vectors", "load", "c", five, *ONE_AT_A_TIME, "--url", server.url]) == 0

    out, err = capsys.readouterr()
    assert (out.startswith("loaded 5 records in "), err, Path("five.jsonl.journal").exists()) == (
        True,
        "",
        False,
    )
    assert sent(server) == [["v0", "v1"], ["v2", "v3"], ["v4"]]


def test_what_failed_is_told_and_only_that_is_sent_again(server, five, capsys):
    """A batch that is refused does not end the load."""
    command = ["vectors", "load", "c", five, *ONE_AT_A_TIME, "--url", server.url, "--json"]
    server.says(Answer(body=CARD), DONE, WRONG, DONE)

    code = run(command)

    out, err = capsys.readouterr()
    assert (code, json.loads(out)["records"], [*json.loads(out)["failed"]]) == (1, 3, ["1"])
    assert err == (
        "paceline: error: 1 batch failed, the first (records 3 to 4) with: vectors[1].values has 3 numbers, the "
        "collection's vectors have 2; the same command sends again what five.jsonl.journal does not name\n"
    )

    server.says(Answer(body=CARD), DONE)
    code = run(command)

    told = json.loads(capsys.readouterr().out)
    assert (code, told["records"], told["skipped"], sent(server)) == (0, 2, 3, [["v2", "v3"]])
    assert not Path("five.jsonl.journal").exists()


def test_a_batch_is_tried_again_when_the_server_asks_for_it(server, five, capsys):
    busy = problem(503, "overloaded", "busy", retry_after_s=0.0)
    server.says(Answer(body=CARD), busy, DONE)

    assert run(["vectors", "load", "c", five, "--attempts", "2", "--url", server.url]) == 0
    assert len(sent(server)) == 2


def test_ctrl_c_keeps_the_journal_and_says_how_to_go_on(server, five, tmp_path):
    server.says(Answer(body=CARD), DONE, Answer(hang=True))
    command = [
        sys.executable,
        "-m",
        "paceline",
        "vectors",
        "load",
        "c",
        five,
        *ONE_AT_A_TIME,
        "--url",
        server.url,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while len(server.seen) < 3:
            assert server.came.wait(60)
            server.came.clear()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (130, "")
    assert err == (
        "paceline: stopped; 2 of 5 records are there\n"
        "paceline: the same command goes on from five.jsonl.journal\n"
    )
    assert (tmp_path / "five.jsonl.journal").read_text().splitlines()[1:] == ["0"]


def test_a_journal_of_another_collection_is_refused(server, five, capsys):
    """What has arrived there has not arrived here."""
    server.says(Answer(body=CARD), DONE, WRONG, DONE)
    run(["vectors", "load", "c", five, *ONE_AT_A_TIME, "--url", server.url])
    capsys.readouterr()
    server.says(Answer(body={**CARD, "name": "d"}))

    code = run(["vectors", "load", "d", five, *ONE_AT_A_TIME, "--url", server.url])

    err = capsys.readouterr().err
    assert (code, err.count("\n"), "five.jsonl.journal is the journal of" in err) == (2, 1, True)


def test_a_journal_beside_an_empty_collection_is_refused(server, five, capsys):
    """It was dropped and made again."""
    Path("five.jsonl.journal").write_text("{}\n0\n")
    server.says(Answer(body=EMPTY))

    assert run(["vectors", "load", "c", five, "--url", server.url]) == 2
    assert capsys.readouterr().err == (
        "paceline: error: five.jsonl.journal tells of records that have arrived, and c is empty; delete it to load all\n"
    )


def test_texts_are_sent_for_the_server_to_embed(server, capsys):
    Path("t.jsonl").write_text(
        '{"id": 7, "abstract": "sea", "year": 1999, "namespace": "n"}\n', encoding="utf-8"
    )
    server.says(Answer(body=CARD), DONE)

    assert run(["vectors", "load", "c", "t.jsonl", "--text-field", "abstract", "--url", server.url]) == 0

    assert json.loads(server.seen[1]["body"]) == {
        "collection": "c",
        "namespace": "n",
        "vectors": [{"id": "7", "metadata": {"year": 1999}, "text": "sea"}],
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.jsonl", None, "no.jsonl is no file; give the path of one"),
        ("a.csv", b"", "a.csv is none of .jsonl, .ndjson, .parquet, .npy; convert it to one of them"),
        ("a.jsonl", b"{", "a.jsonl:1 is no JSON"),
        ("a.jsonl", b'{"id": "a"}\n', "a.jsonl:1 has id; a record has id and vector (or values)"),
        ("a.npy", None, "a.npy is no file; give the path of one"),
    ],
)
def test_a_wrong_file_is_one_line_and_exit_status_2(server, capsys, name, content, message):
    if content is not None:
        Path(name).write_bytes(content)
    server.says(Answer(body=CARD))

    code = run(["vectors", "load", "c", name, "--url", server.url])

    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"paceline: error: {message}")


def test_a_line_that_is_wrong_ends_the_load_and_what_came_before_stays(server, five, capsys):
    with Path(five).open("a", encoding="utf-8") as file:
        file.write("no record\n")
    server.says(Answer(body=CARD), DONE, DONE)

    assert run(["vectors", "load", "c", five, *ONE_AT_A_TIME, "--url", server.url]) == 2

    err = capsys.readouterr().err
    assert ("five.jsonl:6 is no JSON" in err, err.endswith("; what came before it is loaded\n")) == (
        True,
        True,
    )


@pytest.mark.parametrize("form", ["jsonl", "parquet", "npy"])
def test_every_kind_of_file_is_loaded_into_a_folder(capsys, form):
    vectors = np.float32([[1, 0], [0, 1], [1, 1]])
    if form == "npy":
        np.save("a.npy", vectors)
    elif form == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        import pyarrow as pa

        table = {"id": ["0", "1", "2"], "values": vectors.tolist(), "n": [0, 1, 2]}
        parquet.write_table(pa.table(table), "a.parquet")
    else:
        rows = ({"id": str(n), "values": row.tolist()} for n, row in enumerate(vectors))
        Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run(["vectors", "create", "c", "--dimension", "2", "--folder", "v"]) == 0

    assert run(["vectors", "load", "c", f"a.{form}", "--folder", "v"]) == 0
    capsys.readouterr()
    assert run(["vectors", "query", "c", "--vector", "[0.9, 1]", "--k", "1", "--json", "--folder", "v"]) == 0

    assert json.loads(capsys.readouterr().out)["matches"][0]["id"] == "2"
    assert count_records(Path(f"a.{form}")) == 3


def test_texts_are_embedded_here_without_a_server(capsys):
    """By the model of the settings: the demo's."""
    Path("t.jsonl").write_text(
        '{"id": "fish", "text": "how fish sleep"}\n{"id": "rails", "text": "a history of railways"}\n',
        encoding="utf-8",
    )

    assert run(["vectors", "create", "c", "--folder", "v"]) == 0
    assert run(["vectors", "load", "c", "t.jsonl", "--text-field", "text", "--folder", "v"]) == 0
    capsys.readouterr()
    assert run(["vectors", "query", "c", "--text", "resting fishes", "--k", "1", "--folder", "v"]) == 0

    assert capsys.readouterr().out.split()[1:] == ["fish", "how", "fish", "sleep"]


def test_lines_are_told_now_and_then_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    pace = LoadPace(1000, now=100.0)

    said = [
        pace.line(100, 0, 101.0),
        pace.line(300, 100, 100.0 + EVERY_S),
        pace.line(400, 100, 101.0 + EVERY_S),
    ]

    assert said == [None, "400 of 1,000 records, 60/s, 10 s left", None]


def test_lines_are_left_to_the_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    pace = LoadPace(1000, now=0.0)

    assert (pace.line(300, 0, 60.0), pace.arrived) == (None, 300)


@pytest.mark.parametrize(("content", "count"), [(b"", 0), (b"{}\n{}\n", 2), (b"{}\n{}", 2)])
def test_lines_are_counted_without_reading_them(content, count):
    Path("a.jsonl").write_bytes(content)

    assert count_records(Path("a.jsonl")) == count


def test_all_other_fields_of_a_text_are_its_metadata():
    Path("a.jsonl").write_text(
        '{"id": "a", "gloss": "sea", "pos": "n", "metadata": {"n": 1}}\n', encoding="utf-8"
    )

    assert [*TextFields("gloss")(Path("a.jsonl"), "space")] == [
        TextRecord("a", "sea", {"pos": "n", "n": 1}, "space")
    ]
