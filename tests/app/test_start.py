"""What cannot start says why: one line, status 2, no traceback."""

from __future__ import annotations

import socket

import pytest
from running import refused


def test_a_taken_port_is_said_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, said = refused("--port", str(port))

    assert 2 == status
    assert f"serve.port = {port}" in said
    assert 1 == said.count("\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "embed.modle=x"], "did you mean"),
        (["--set", "embed.batch.max_size=0"], "embed.batch.max_size"),
        (["--model", "/no/such/folder"], "/no/such/folder"),
        (
            ["--port", "0", "--set", "tls.cert_file=/no/cert", "--set", "tls.key_file=/no/key"],
            "tls.cert_file",
        ),
        (["--prot", "80"], "--prot"),
        (["--port", "0", "--workers", "2", "--set", "embed.streams=64"], "embed.streams = 64"),
        (["--host", "no.such.host.invalid"], "serve.host"),
        (["--set", "serve.state_dir=/proc/nowhere"], "serve.state_dir"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_status_2(arguments, words):
    status, said = refused(*arguments)

    assert 2 == status
    assert words in said
    assert 1 == said.count("\n")
    assert "Traceback" not in said


def test_an_unreadable_model_folder_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    status, said = refused("--model", str(tmp_path))

    assert 2 == status
    assert str(tmp_path / "config.json") in said
    assert 1 == said.count("\n")
