"""`paceline ab`: two settings of a real server, two foreign servers, and what it refuses."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from running import running
from servers import serving

from paceline.cli import run
from paceline.tune.ab_report import decode

SHORT = ["--rate", "100", "--prompt-words", "6", "--block-duration", "250ms"]
WAITING = "[embed.batch]\nadaptive = false\nmax_wait_ms = 50\n"
"""Clearly worse: every batch waits for 50 ms."""
ADMIN = {"authorization": "Bearer adm"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running("admin.token=adm", state_dir=str(tmp_path_factory.mktemp("state"))) as started:
        yield started


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("PACELINE_ADMIN__TOKEN", "adm")


def file(name, text):
    Path(name).write_text(text)
    return name


def in_force(server):
    """Value by name, and the lease if there is one."""
    told = httpx.get(f"{server.url}/admin/settings", headers=ADMIN).json()
    return {one["name"]: one["value"] for one in told["settings"]}, told.get("lease")


def test_a_setting_that_waits_is_worse(server, capsys):
    """With its interval, and the server is back on its own settings."""
    before = in_force(server)
    b = file("waiting.toml", WAITING)
    code = run(["ab", "--url", server.url, "--b", b, *SHORT, "--json", "--output", "ab.html"])

    out, err = capsys.readouterr()
    report = decode(out.encode())
    assert (code, report.outcome, report.ended) == (1, "worse", f"worse after {len(report.blocks)} blocks")
    assert report.ab.change.low > 0.0
    assert report.b.setting == {"embed.batch.adaptive": False, "embed.batch.max_wait_ms": 50.0}
    assert err.count("block ") == len(report.blocks)
    assert in_force(server) == before
    assert "B is worse than A" in Path("ab.html").read_text()


def test_the_same_settings_on_both_sides_are_not_better(server, capsys):
    """The margin is so wide that noise cannot be a difference."""
    same = file("same.toml", "embed.batch.max_wait_ms = 5\n")
    sides = ["--a", same, "--b", same, "--margin", "90%", "--blocks", "7"]
    code = run(["ab", "--url", server.url, *sides, *SHORT, "--json"])

    report = decode(capsys.readouterr().out.encode())
    assert (report.outcome, code) in {("equivalent", 0), ("undecided", 4)}
    assert report.a.setting == report.b.setting == {"embed.batch.max_wait_ms": 5.0}


def test_two_foreign_servers_need_no_admin(capsys, monkeypatch):
    monkeypatch.delenv("PACELINE_ADMIN__TOKEN")
    load = ["--rate", "150", "--block-duration", "200ms"]
    with serving("ok", delay_ms=30) as slow, serving("ok") as quick:
        code = run(["ab", "--a-url", f"{slow.url}x", "--b-url", f"{quick.url}x", *load])
        asked = slow.requests_seen, quick.requests_seen

    out = capsys.readouterr().out
    assert code == 0
    assert out.startswith("BETTER  B is better than A: p95 latency ")
    assert f"A is {slow.url}x" in out
    assert min(asked) > 6 * 20


def test_interrupted_it_reports_the_blocks_so_far(server):
    """And the server is back on its own settings before the command ends."""
    before = in_force(server)
    command = [sys.executable, "-m", "paceline", "ab", "--url", server.url, "--json", *SHORT]
    command += ["--b", file("waiting.toml", WAITING), "--blocks", "400", "--margin", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "block 2:" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    report = decode(out.encode())
    assert (process.returncode, report.outcome, "Traceback" in err) == (130, "interrupted", False)
    assert len(report.blocks) >= 2
    assert report.ended == f"stopped by hand after {len(report.blocks)} blocks"
    assert in_force(server) == before


def test_a_setting_that_the_server_refuses_is_said_before_any_load(server, capsys):
    """Another trial goes on: whoever holds the lease is not disturbed."""
    trial = httpx.patch(
        f"{server.url}/admin/settings",
        json={"changes": {"embed.batch.max_size": 9}, "lease_s": 60},
        headers=ADMIN,
    ).json()
    code = run(["ab", "--url", server.url, "--b", file("b.toml", WAITING), *SHORT])
    held = in_force(server)[0]["embed.batch.max_size"]
    httpx.delete(f"{server.url}/admin/settings/lease/{trial['lease']['id']}", headers=ADMIN)

    out, err = capsys.readouterr()
    assert (code, out, held) == (1, "", 9)
    assert "paceline: error: b.toml: the server did not take" in err
    assert "on trial by" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[embed.batch]\nmax_szie = 3\n",
            "embed.batch.max_szie (from b.toml:2): no such setting; did you mean",
        ),
        (
            "[serve]\nport = 3\n",
            "serve.port (from b.toml:2): takes effect at a start only; start a second server with it",
        ),
        ("embed.batch.max_size = -1\n", "embed.batch.max_size = -1 (from b.toml:1): expected an integer"),
        ("# nothing\n", "settings file b.toml sets nothing"),
        ("= 3\n", "settings file b.toml is not TOML"),
    ],
)
def test_a_file_that_cannot_be_tried_is_one_line(capsys, text, words):
    """With the file and the line; nobody is asked before."""
    code = run(["ab", "--url", "http://127.0.0.1:1", "--b", file("b.toml", text)])

    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "what is to be compared? Give --url with --b FILE"),
        (["--url", "http://x", "--a", "a.toml"], "what is to be compared?"),
        (["--a-url", "http://x"], "--a-url needs --b-url too"),
        (["--b-url", "http://x"], "--b-url needs --a-url too"),
        (["--a-url", "http://x", "--b-url", "http://y", "--b", "b.toml"], "give one or the other"),
        (["--b", "good.toml"], "--url"),
        (["--url", "http://x", "--b", "none.toml"], "settings file none.toml: No such file"),
        (
            ["--url", "http://x", "--b", "good.toml", "--blocks", "5"],
            "--blocks 5: fewer than 6 cannot decide",
        ),
        (["--url", "http://x", "--b", "good.toml", "--block-duration", "x"], "--block-duration"),
        (["--url", "http://x", "--b", "good.toml", "--margin", "2"], "--margin 2: expected a share"),
        (["--url", "http://x", "--b", "good.toml", "--objective", "speed"], "--objective speed: expected"),
        (["--url", "http://x", "--b", "good.toml", "--output", "ab.pdf"], "--output ab.pdf: expected a name"),
        (["--url", "http://x", "--b", "good.toml", "--output", "no/ab.html"], "no folder no"),
    ],
)
def test_wrong_usage_is_one_line(capsys, arguments, words):
    file("good.toml", WAITING)
    code = run(["ab", *arguments])

    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            ["--duration", "1s", "--block-duration", "100ms"],
            "10 requests for each side of a block tell little, 20 or more are needed",
        ),
        (["--duration", "1s", "--block-duration", "10s"], "--block-duration 10s: the load lasts 1 s"),
    ],
)
def test_blocks_that_tell_nothing_are_refused(capsys, more, words):
    with serving("ok") as server:
        arguments = ["--a-url", f"{server.url}x", "--b-url", f"{server.url}x", "--arrivals", "constant"]
        code = run(["ab", *arguments, "--rate", "100", *more])

    assert code == 2
    assert words in capsys.readouterr().err


def test_a_server_without_admin_says_how_to_switch_it_on(capsys):
    with serving("status", status=404) as server:
        code = run(["ab", "--url", server.url, "--b", file("b.toml", WAITING)])

    assert code == 2
    assert "start it with --set admin.token=SECRET" in capsys.readouterr().err


def test_nobody_there_is_one_line(capsys):
    code = run(["ab", "--a-url", "http://127.0.0.1:1/x", "--b-url", "http://127.0.0.1:1/x", "--rate", "50"])

    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "cannot reach 127.0.0.1:1: Connection refused" in err


def test_a_side_that_answers_only_failures_is_said_before_the_first_block(capsys):
    with serving("ok") as good, serving("status", status=503) as bad:
        arguments = ["--a-url", f"{good.url}x", "--b-url", f"{bad.url}x", "--rate", "50"]
        code = run(["ab", *arguments])
        asked = good.requests_seen, bad.requests_seen

    assert (code, asked) == (1, (1, 1))
    assert f"{bad.url}x answers 503" in capsys.readouterr().err
