"""`paceline embed` against a real server: where texts come from, how vectors are written."""

import io
import json
import sys

import numpy as np
import pytest

from paceline.cli import run
from paceline.cli.embed import CHUNK
from scripted_server import embeddings, problem


@pytest.fixture
def standard_input(monkeypatch):
    def give(content: bytes):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def asked(server):
    return [json.loads(request["body"])["input"] for request in server.seen]


def test_texts_become_lines_of_json(server, capsysbinary):
    server.says(embeddings([[1, 2], [3, 4]]))

    assert run(["embed", "a", "b", "--url", server.url]) == 0

    out, err = capsysbinary.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [
        {"index": 0, "text": "a", "embedding": [1.0, 2.0]},
        {"index": 1, "text": "b", "embedding": [3.0, 4.0]},
    ]
    assert err == b"paceline: 1 of 2 texts were longer than the model's window and were cut\n"
    assert asked(server) == [["a", "b"]]


@pytest.mark.parametrize("content", ["ä\n\nc", "ä\r\n\r\nc\r\n"])
def test_every_line_of_a_file_is_a_text_the_empty_too(server, capsysbinary, tmp_path, content):
    """Rows and lines keep in step."""
    (tmp_path / "texts").write_bytes(content.encode())
    server.says(embeddings([[1], [2], [3]]))

    assert run(["embed", "--file", "texts", "--url", server.url]) == 0

    assert asked(server) == [["ä", "", "c"]]


@pytest.mark.parametrize("option", [[], ["--file", "-"]])
def test_lines_of_standard_input_are_texts(server, capsysbinary, standard_input, option):
    standard_input(b"a\nb\n")
    server.says(embeddings([[1], [2]]))

    assert run(["embed", *option, "--url", server.url]) == 0

    assert asked(server) == [["a", "b"]]


def test_many_texts_go_in_chunks_and_come_back_in_order(server, tmp_path):
    texts = [f"t{n}" for n in range(CHUNK + 2)]
    (tmp_path / "texts").write_text("\n".join(texts))
    server.says()
    server.echo = True

    assert run(["embed", "--file", "texts", "--url", server.url, "--format", "npy", "--output", "v.npy"]) == 0

    assert np.load(tmp_path / "v.npy")[:, 0].tolist() == [float(n) for n in range(CHUNK + 2)]
    assert sorted(len(texts) for texts in asked(server)) == [2, CHUNK]


def test_a_table_shows_how_near_texts_are(server, capsysbinary):
    server.says(embeddings([[1, 0], [0.6, 0.8]]))

    assert run(["embed", "one", "two", "--url", server.url, "--format", "table"]) == 0

    out = capsysbinary.readouterr().out.decode()
    assert [part in out for part in ("one", "two", "+0.6000", "1.0000", "0.6000", "2 dimensions")] == [
        True
    ] * 6


def test_model_dimensions_and_token_are_sent(server, capsysbinary, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "secret")
    server.says(embeddings([[1]]))

    assert run(["embed", "a", "--url", server.url, "--model", "m", "--dimensions", "1"]) == 0

    (request,) = server.seen
    body = json.loads(request["body"])
    assert (body["model"], body["dimensions"], request["headers"]["authorization"]) == (
        "m",
        1,
        "Bearer secret",
    )


def test_what_the_server_refuses_names_the_texts(server, capsysbinary):
    server.says(problem(400, "invalid_request", "input[1] is empty", param="input[1]"))

    assert run(["embed", "a", "", "--url", server.url]) == 1

    assert capsysbinary.readouterr() == (b"", b"paceline: error: texts 1 to 2: input[1] is empty\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--file", "texts"], "give texts or --file, not both"),
        (["--file", "none"], "--file none: No such file or directory"),
        (["--file", "latin1"], "--file latin1: not UTF-8 at byte 0"),
        (["--file", "empty"], "no texts; give some, or --file, or lines on standard input"),
        (["a", "--output", "no/such"], "--output no/such: No such file or directory"),
        (
            ["a", "--url", "host:80"],
            "base_url = 'host:80': expected http://host:port, https://host:port or unix:///path/of/socket",
        ),
    ],
)
def test_wrong_usage_is_refused(capsysbinary, tmp_path, arguments, message):
    (tmp_path / "latin1").write_bytes(b"\xff")
    (tmp_path / "empty").write_bytes(b"")

    code = run(["embed", *arguments])

    assert (code, capsysbinary.readouterr().err.decode()) == (2, f"paceline: error: {message}\n")
