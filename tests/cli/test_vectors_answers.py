"""What `paceline vectors` prints, and how it ends, by what a server answered."""

import json

from paceline.cli import run
from scripted_server import Answer, problem


def test_a_shard_that_was_not_searched_is_named(server, capsys):
    server.says(Answer(body={"matches": [], "partial": True, "missing": {"3": "no answer in 10 s"}}))

    assert run(["vectors", "query", "c", "--id", "a", "--url", server.url]) == 0
    assert capsys.readouterr().err == (
        "paceline: nothing found\npaceline: warning: shard 3 was not searched: no answer in 10 s\n"
    )


def test_the_token_is_sent(server, capsys):
    server.says(Answer(body={"collections": []}))

    assert run(["vectors", "list", "--url", server.url, "--token", "secret"]) == 0
    assert server.seen[0]["headers"]["authorization"] == "Bearer secret"
    assert capsys.readouterr().err == "paceline: no collections; `paceline vectors create NAME` makes one\n"


def test_damaged_files_are_an_exit_status(server, capsys):
    server.says(Answer(body={"damaged": {"3": "codes.npy: checksum"}}))

    assert run(["vectors", "verify", "c", "--url", server.url]) == 1
    assert capsys.readouterr().out == "segment 3 is set aside: codes.npy: checksum\n"


LEVELS = [
    {
        "ef": ef,
        "candidates": 32,
        "recall": recall,
        "bound": recall - 0.01,
        "p50Ms": 0.1,
        "p99Ms": 0.2,
        "qps": 9000,
    }
    for ef, recall in ((100, 0.99), (64, 0.95))
]
TUNED = {
    "k": 10,
    "target": 0.9,
    "confidence": 0.95,
    "queries": 200,
    "levels": LEVELS,
    "chosen": LEVELS[1],
    "applied": True,
}


def test_tuning_prints_the_table_and_what_was_chosen(server, capsys):
    server.says(Answer(body=TUNED))

    assert run(["vectors", "tune", "c", "--recall", "0.9", "--url", server.url]) == 0

    out, err = capsys.readouterr()
    assert [line.split()[:3] for line in out.splitlines()[1:3]] == [
        ["100", "32", "0.9900"],
        ["64", "32", "0.9500"],
    ]
    assert out.splitlines()[2].endswith("<- chosen")
    assert err == "paceline: c: ef 64, 32 re-scored; searches use it from now on\n"
    assert json.loads(server.seen[0]["body"])["vectors"] is None


def test_a_recall_that_no_setting_holds_is_an_exit_status(server, capsys):
    server.says(Answer(body={**TUNED, "chosen": None, "applied": False}))

    assert run(["vectors", "tune", "c", "--recall", "0.9", "--url", server.url, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["chosen"] is None


def test_snapshots_are_kept_listed_and_restored(server, capsys):
    kept = {"snapshots": {"c": ["monday"], "d": ["x"]}}
    card = {"name": "old", "dimension": 2, "metric": "l2", "precision": "fp32", "records": 5, "version": 1}
    server.says(Answer(body=kept), Answer(body=kept), Answer(body=card))

    codes = [
        run(["vectors", *arguments, "--url", server.url])
        for arguments in (
            ["snapshot", "c", "monday"],
            ["snapshots", "c"],
            ["restore", "c", "monday", "--into", "old", "--json"],
        )
    ]

    out, err = capsys.readouterr()
    assert (codes, out.splitlines()[0], json.loads(out.splitlines()[1])["records"]) == (
        [0, 0, 0],
        "c  monday",
        5,
    )
    assert err == "paceline: kept c as monday; `paceline vectors restore c monday` brings it back\n"
    assert [(seen["path"], json.loads(seen["body"] or b"{}")) for seen in server.seen] == [
        ("/v1/collections/c/snapshot", {"name": "monday"}),
        ("/v1/snapshots", {}),
        ("/v1/collections/old/restore", {"source": "c", "name": "monday"}),
    ]


def test_another_precision_and_number_of_shards_are_asked_for(server, capsys):
    card = {"name": "c", "dimension": 2, "metric": "l2", "precision": "fp16", "records": 5, "version": 1}
    server.says(Answer(body=card), Answer(body={"slotsMoved": 512, "recordsMoved": 2500}))

    assert run(["vectors", "reencode", "c", "--precision", "fp16", "--url", server.url]) == 0
    assert run(["vectors", "reshard", "c", "--shards", "2", "--url", server.url]) == 0

    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:5] == ["c", "5", "2", "l2", "fp16"]
    assert err == "paceline: c has 2 shards: 512 slots, 2,500 records moved\n"


def test_a_failure_of_the_store_is_exit_status_1(server, capsys):
    server.says(
        problem(507, "storage_full", "no room for a write"),
        problem(507, "storage_full", "no room for a write"),
        problem(507, "storage_full", "no room for a write"),
    )

    assert run(["vectors", "update", "c", "a", "--metadata", "{}", "--url", server.url]) == 1
    assert capsys.readouterr().err == "paceline: error: no room for a write\n"
