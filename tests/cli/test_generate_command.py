"""`paceline generate` against a real server: pieces as they come, whole answers, JSON."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest

from paceline.cli import run
from scripted_server import Answer, problem

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
SSE = {"content-type": "text/event-stream"}


def completion(text, reason="stop"):
    choice = {"index": 0, "text": text, "finish_reason": reason, "logprobs": None}
    told = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
    return Answer(body={**told, "choices": [choice], "usage": USAGE})


def chunks(*texts, reason="stop", end=b"data: [DONE]\n\n"):
    told = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
    blocks = []
    for place, text in enumerate(texts):
        last = place + 1 == len(texts)
        choice = {"index": 0, "text": text, "finish_reason": reason if last else None}
        blocks.append({**told, "choices": [choice]})
    blocks.append({**told, "choices": [], "usage": USAGE})
    body = b"".join(b"data: %b\n\n" % json.dumps(block).encode() for block in blocks)
    return Answer(body=body + end, headers=SSE)


def asked(server):
    return json.loads(server.seen[0]["body"])


def test_pieces_are_written_as_they_come(server, capsys):
    server.says(chunks(" is", " deep"))

    assert run(["generate", "The sea", "--url", server.url, "--max-tokens", "2", "--temperature", "0"]) == 0

    assert capsys.readouterr() == (" is deep\n", "")
    assert asked(server) == {
        "prompt": "The sea",
        "max_tokens": 2,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_an_answer_that_was_cut_says_so(server, capsys):
    server.says(chunks("a", reason="length"))

    assert run(["generate", "x", "--url", server.url]) == 0

    assert "--max-tokens takes more" in capsys.readouterr().err


def test_a_whole_answer(server, capsys):
    server.says(completion("done"))

    assert run(["generate", "x", "--no-stream", "--url", server.url]) == 0

    assert capsys.readouterr().out == "done\n"
    assert asked(server) == {"prompt": "x"}


def test_json_has_what_the_server_said(server, capsys):
    server.says(completion("done"))

    assert run(["generate", "x", "--json", "--model", "m", "--url", server.url]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["text"], told["finish_reason"], told["usage"]["total_tokens"]) == ("done", "stop", 5)
    assert asked(server)["model"] == "m"


def test_json_of_a_stream_is_a_line_for_each_piece(server, capsys):
    server.says(chunks("a", "b"))

    assert run(["generate", "x", "--json", "--stream", "--url", server.url]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == ["a", "b", ""]
    assert lines[-1]["usage"]["completion_tokens"] == 2


def test_a_chat_sends_a_turn_of_the_users(server, capsys):
    message = {"role": "assistant", "content": "hello"}
    told = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE}
    server.says(Answer(body={**told, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))

    assert run(["generate", "hi", "--chat", "--no-stream", "--url", server.url]) == 0

    assert capsys.readouterr().out == "hello\n"
    assert asked(server) == {"messages": [{"role": "user", "content": "hi"}]}


def test_the_prompt_may_come_from_standard_input(server, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("ä\nb\n".encode())))
    server.says(chunks("x"))

    assert run(["generate", "-", "--url", server.url]) == 0

    assert asked(server)["prompt"] == "ä\nb"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "standard input is empty; give a prompt"), (b"a\xff", "standard input is not UTF-8 at byte 1")],
)
def test_a_prompt_that_is_none_is_refused(capsys, monkeypatch, content, message):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    assert run(["generate", "-"]) == 2
    assert capsys.readouterr() == ("", f"paceline: error: {message}\n")


def test_what_the_server_refuses_is_one_line(server, capsys):
    server.says(problem(404, "not_found", "model 'q' does not generate text here"))

    assert run(["generate", "x", "--url", server.url]) == 1
    assert capsys.readouterr() == ("", "paceline: error: model 'q' does not generate text here\n")


def test_a_stream_that_fails_keeps_what_came(server, capsys):
    error = {
        "type": "/docs#engine_error",
        "title": "t",
        "status": 500,
        "detail": "it broke",
        "code": "engine_error",
    }
    end = b"event: error\ndata: %b\n\n" % json.dumps(error).encode()
    server.says(chunks("some", end=end))

    assert run(["generate", "x", "--url", server.url]) == 1
    assert capsys.readouterr() == ("some\n", "paceline: error: it broke\n")


def test_a_stream_without_its_end_is_no_success(server, capsys):
    server.says(chunks("some", end=b""))

    assert run(["generate", "x", "--url", server.url]) == 1
    assert "broke off" in capsys.readouterr().err


def test_ctrl_c_ends_it_here_and_there(server):
    server.says(Answer(hang=True))
    process = subprocess.Popen(
        [sys.executable, "-m", "paceline", "generate", "x", "--url", server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    )

    assert server.came.wait(60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out, err) == (130, b"", b"")
    assert server.left.wait(60)
