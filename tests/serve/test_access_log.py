"""The access log: a line for each reply whichever way it took, and never what a caller said."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import refused, running

from paceline.base.errors import ConfigError, Overloaded
from paceline.flow.limiter import LimitPolicy
from paceline.measure.load.trace import load_trace
from paceline.measure.plan import Payload, Plan, Replay, Target
from paceline.serve.access_log import AccessLog, Line, open_access_log, pieces
from paceline.serve.policy import AuthPolicy

LINE = Line(at=1.5, method="GET", path="/", status=200, duration_ms=0.25, request_id="a")


@pytest.fixture
def logged(build, serve, tmp_path):
    """Ask a real server what `talk` asks it; the lines of its log."""

    def make(talk, **parts):
        path = tmp_path / "access.jsonl"
        with open_access_log(str(path)) as log:
            house = build(access_log=log, **parts)
            with serve(house.app) as url, httpx.Client(base_url=url) as caller:
                talk(house, caller)
        return [json.loads(line) for line in path.read_text().splitlines()]

    return make


def test_a_reply_is_told_with_its_arrival_its_cost_and_its_end(logged):
    began_at = time.time()
    one, two = logged(
        lambda _, caller: [
            caller.post("/v1/embeddings", json={"input": ["a", "b"], "priority": "low"}) for _ in range(2)
        ]
    )

    assert began_at - 0.001 <= one["at"] <= two["at"] <= time.time()
    assert 0 <= one["duration_ms"] < 30_000
    assert one["request_id"] != two["request_id"]
    for line in (one, two):
        del line["at"], line["duration_ms"], line["request_id"]
    said = {
        "method": "POST",
        "path": "/v1/embeddings",
        "status": 200,
        "prompt_tokens": 6,
        "rows": 2,
        "priority": "low",
    }
    assert [one, two] == [{**said, "tier": "miss"}, {**said, "tier": "l1"}]


def test_every_kind_of_reply_is_there(logged):
    def talk(house, caller):
        caller.get("/health")
        caller.get("/nowhere?secret=query")
        caller.post("/v1/embeddings", content=b"{")
        caller.post("/v1/embeddings", json={"input": "a"}, headers={"authorization": "Bearer wrong"})
        house.embedder.refusal = Overloaded("full", retry_after_s=1)
        caller.post("/v1/embeddings", json={"input": "b"}, headers={"x-request-id": "mine"})
        house.embedder.refusal, house.embedder.error = None, ZeroDivisionError()
        caller.post("/v1/infer", json={"task": "embed", "input": "b"})

    lines = logged(talk)

    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/health", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/v1/embeddings", 400),
        ("POST", "/v1/embeddings", 200),
        ("POST", "/v1/embeddings", 503),
        ("POST", "/v1/infer", 500),
    ]
    assert (lines[4]["request_id"], lines[4]["priority"]) == ("mine", "normal")
    assert "prompt_tokens" not in lines[4]


def test_refusals_at_the_door_are_there(logged):
    def talk(_, caller):
        for token in ("wrong", "secret-token", "secret-token"):
            caller.post("/v1/embeddings", json={"input": "a"}, headers={"authorization": f"Bearer {token}"})

    lines = logged(talk, auth=AuthPolicy(token="secret-token"), limits=LimitPolicy(rpm=1))

    assert [line["status"] for line in lines] == [401, 200, 429]


def test_what_callers_say_is_never_there(logged):
    told = "told-in-confidence"

    def talk(_, caller):
        headers = {"authorization": f"Bearer {told}", "cookie": told, "x-mine": told}
        for _ in range(2):
            caller.post(f"/v1/embeddings?q={told}", json={"input": told}, headers=headers)
            caller.post("/v1/embeddings", json={"input": told, "user": told}, headers=headers)
        caller.post("/v1/embeddings", json={"input": "a", "model": told}, headers=headers)
        caller.post("/v1/embeddings", content=told, headers=headers)

    lines = logged(talk)

    assert [line["status"] for line in lines] == [200, 200, 200, 200, 404, 400]
    assert told not in json.dumps(lines)


def test_a_caller_who_leaves_is_told_as_499(build, tmp_path):
    path = tmp_path / "log"

    async def main(house):
        house.embedder.hold, leave = asyncio.Event(), asyncio.Event()
        asking = asyncio.ensure_future(house.ask("POST", "/v1/embeddings", b'{"input": "a"}', leave=leave))
        await house.embedder.entered.wait()
        leave.set()
        await asking

    with open_access_log(str(path)) as log:
        asyncio.run(main(build(access_log=log)))

    assert json.loads(path.read_text())["status"] == 499


def test_the_quick_path_and_the_ordinary_path_log_the_same(logged):
    """A query keeps a request from the quick path."""

    def talk(house, caller):
        caller.post("/v1/embeddings", json={"input": "a"})
        for query in ("", "?ordinary"):
            caller.post(f"/v1/embeddings{query}", json={"input": "a"}, headers={"x-request-id": "one"})
            house.embedder.refusal = Overloaded("full", retry_after_s=1)
            caller.post(f"/v1/embeddings{query}", json={"input": "b"}, headers={"x-request-id": "two"})
            house.embedder.refusal = None

    lines = logged(talk)[1:]
    for line in lines:
        del line["at"], line["duration_ms"]

    assert lines[0] == lines[2]
    assert lines[1]["status"] == 503
    assert lines[3]["status"] == 200  # the ordinary path computes what only `check` refuses


def test_the_log_is_replayed_by_measure(logged, tmp_path):
    def talk(_, caller):
        caller.get("/health")
        for texts in (["a"], ["a", "b", "c"], ["d"]):
            caller.post("/v1/embeddings", json={"input": texts})

    lines = logged(talk)
    plan = Plan(Target("http://h"), Replay(str(tmp_path / "access.jsonl")), payload=Payload("embeddings"))
    trace = load_trace(plan)

    calls = lines[1:]
    assert [trace.shapes[one].rows for one in trace.request] == [1, 3, 1]
    assert [trace.shapes[one].words for one in trace.request] == [3, 9, 3]
    assert [at / 1e9 for at in trace.at_ns] == pytest.approx(
        [line["at"] - calls[0]["at"] for line in calls], abs=2e-6
    )


def test_it_is_off_by_default(house, serve):
    with serve(house.app) as url:
        assert httpx.get(f"{url}/health").status_code == 200
    assert house.app.entrance.access_log is None
    with open_access_log("") as log:
        assert log is None


# -- the file ---------------------------------------------------------------------------------------------------------


def test_lines_are_written_within_the_flush_time_and_at_the_end(tmp_path):
    path = tmp_path / "log"
    log = AccessLog(str(path), flush_s=0.01)
    log.add(LINE)
    _until(lambda: path.stat().st_size > 0)
    early = path.read_text()
    log.add(LINE)
    log.close()

    assert early == '{"at":1.5,"method":"GET","path":"/","status":200,"duration_ms":0.25,"request_id":"a"}\n'
    assert path.read_text() == early * 2
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_writers_of_several_processes_append_whole_lines(tmp_path):
    path = tmp_path / "log"
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            try:
                log = AccessLog(str(path), flush_s=0.001)
                for serial in range(2_000):
                    log.add(Line(serial, "GET", "/" + "x" * 100, 200, number, str(number)))
                log.close()
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    assert len(lines) == 8_000
    for number in range(4):
        assert [line["at"] for line in lines if line["request_id"] == str(number)] == list(range(2_000))


def test_a_log_that_was_rotated_away_is_made_anew(tmp_path):
    path, old = tmp_path / "log", tmp_path / "log.1"
    log = AccessLog(str(path), flush_s=0.01)
    log.add(LINE)
    _until(lambda: path.stat().st_size > 0)
    path.rename(old)
    log.add(LINE)
    _until(path.exists)
    log.close()

    assert old.read_text() == path.read_text()


def test_a_reader_that_stalls_holds_nobody_up_and_what_was_lost_is_said(tmp_path, caplog):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(str(path), flush_s=0.001, max_waiting=1_000)
    for _ in range(3_000):
        log.add(LINE)
    os.set_blocking(reader, True)
    received = bytearray()
    reading = threading.Thread(
        target=lambda: received.extend(b"".join(iter(lambda: os.read(reader, 65536), b"")))
    )
    reading.start()
    log.close()
    reading.join(30)
    os.close(reader)
    lines = received.decode().splitlines()

    assert {json.dumps(json.loads(line), separators=(",", ":")) for line in lines} == {
        '{"at":1.5,"method":"GET","path":"/","status":200,"duration_ms":0.25,"request_id":"a"}'
    }
    assert 1_000 <= len(lines) < 3_000
    assert f"{3_000 - len(lines)} lines were lost" in caplog.text


def test_a_disk_that_is_full_is_said_once_and_when_it_is_not_any_more_the_log_goes_on(tmp_path, caplog):
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    log = AccessLog(str(path), flush_s=0.001)
    for failed in (1, 2, 3):
        log.add(LINE)
        _until(lambda failed=failed: log._failed == failed)
    path.unlink()
    log.add(LINE)
    log.close()

    assert caplog.text.count("No space left on device") == 1
    assert "3 lines were lost" in caplog.text
    assert json.loads(path.read_text())["at"] == 1.5


@given(st.lists(st.binary(max_size=6000).map(lambda line: line.replace(b"\n", b"")), max_size=8))
def test_pieces_are_small_whole_lines_where_they_can_be(lines):
    text = b"".join(line + b"\n" for line in lines)
    made = list(pieces(text))

    assert b"".join(made) == text
    assert all(len(piece) <= 4096 for piece in made)
    if all(len(line) < 4096 for line in lines):
        assert all(piece.endswith(b"\n") for piece in made if piece)


@pytest.mark.parametrize(("path", "why"), [("/no/such/log", "No such file"), ("/tmp", "Is a directory")])
def test_a_file_that_cannot_be_is_refused(path, why):
    with pytest.raises(ConfigError, match=f"serve.access_log = '{path}': {why}"):
        AccessLog(path)


# -- the whole server -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_the_setting_turns_it_on_for_all_workers(tmp_path, workers):
    path = tmp_path / "log"
    settings = "embed.model=", f"serve.access_log={path}", f"serve.workers={workers}"
    with running(*settings, state_dir=str(tmp_path)) as server:
        for _ in range(8):
            assert httpx.get(f"{server.url}/health/live").status_code == 200
        assert server.stop() == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    assert [line["path"] for line in lines] == ["/health/live"] * 8


def test_a_server_whose_log_cannot_be_written_does_not_start():
    status, said = refused("--set", "serve.access_log=/no/such/log", "--set", "embed.model=", "--port", "0")

    assert (status, "serve.access_log = '/no/such/log': No such file" in said) == (2, True)


def _until(condition):
    """Wait for another thread; the test's own time limit ends it if need be."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.002)
