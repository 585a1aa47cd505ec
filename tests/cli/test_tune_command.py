"""`paceline tune`: what is wrong is said in a line before any load, and one short tune from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest
from running import running

from paceline.cli import run
from paceline.tune.report import decode

KNOBS = "[knobs.workers]\nvalues = [1, 2]\nbaseline = 1\n"


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def closed(state):
    """A server that nobody administers."""
    with running(state_dir=state) as started:
        yield started


@pytest.fixture(scope="module")
def server(state):
    """A server that waits 20 ms for company, with an administrator."""
    settings = ("embed.batch.adaptive=false", "embed.batch.max_wait_ms=20", "admin.token=adm")
    with running(*settings, state_dir=state) as started:
        yield started


@pytest.fixture
def refused(capsys):
    """The one line on standard error of a command that ends with 2."""

    def ask(*arguments, code=2):
        assert run(["tune", *arguments]) == code
        told = capsys.readouterr()
        assert (told.out, told.err.count("\n")) == ("", 1), told
        return told.err

    return ask


def test_help_names_what_there_is(capsys):
    assert run(["tune", "--help"]) == 0

    told = capsys.readouterr().out
    for option in ("--url", "--slo", "--objective", "--budget", "--knob", "--launch", "--apply", "--output"):
        assert option in told
    assert "Exit status" in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--objective", "beauty"], "--objective beauty: expected latency, throughput or cost"),
        (["--launch", "sleep 1"], "--launch and --knobs go together"),
        (["--knobs", "knobs.toml"], "--launch and --knobs go together"),
        (["--candidates", "0"], "--candidates 0: expected 1 to 8"),
        (["--candidates", "9"], "--candidates 9: expected 1 to 8"),
        (["--max-runs", "4"], "--max-runs 4"),
        (["--budget", "0"], "--budget 0: must be longer than 0"),
        (["--budget", "soon"], "--budget soon: expected a duration"),
        (["--budget", "nan"], "--budget nan: expected a duration"),
        (["--margin", "200%"], "--margin 200%: expected a share"),
        (["--margin", "-1%"], "--margin"),
        (["--allowed-loss", "-0.1"], "--allowed-loss -0.1"),
        (["--allowed-loss", "nan"], "--allowed-loss nan"),
        (["--least-quality", "1"], "--least-quality 1: expected a mean score above 0 and below 1"),
        (["--least-quality", "nan"], "--least-quality nan"),
        (["--slo", "none.toml"], "none.toml"),
        (["--threshold", "p(95)<"], "p(95)<"),
        (["--threshold", "nonsense<3"], "nonsense"),
        (["--prompt-words", "0"], "--prompt-words 0"),
        (["--prompt-words", "9..3"], "--prompt-words 9..3"),
        (["--distinct", "0", "--rate", "50"], "--distinct 0: expected 1 or more"),
        (["--rate", "-5"], "-5"),
        (["--duration", "never"], "never"),
        (["--trace", "none.csv"], "none.csv"),
        (["--output", "nowhere/report.json"], "nowhere/report.json: no folder nowhere"),
        (["--output", "report.pdf"], "--output takes .html or .json"),
        (["--write", "tuned.json"], "--write takes .toml"),
        (["--write", "nowhere/tuned.toml"], "no folder nowhere"),
    ],
)
def test_wrong_options_are_refused_before_the_server_is_asked(refused, options, words):
    """Nobody listens at that address, and nobody finds out."""
    assert words in refused("--url", "http://127.0.0.1:1", *options)


def test_a_budget_too_small_for_one_tune_is_said_before_any_load(refused, server):
    before = requests_of(server)
    said = refused(*on(server), "--rate", "50", "--duration", "5s", "--budget", "20s")

    assert "--budget 20s: with trials of 5 s a tune takes" in said
    assert requests_of(server) == before


def on(server, token="adm"):
    return ["--url", server.url, "--admin-token", token]


def requests_of(server):
    """Embeddings that it was asked for."""
    told = httpx.get(f"{server.url}/metrics").text
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in told.splitlines()
        if line.startswith("paceline_requests_total") and "/v1/embeddings" in line
    )


class TestAServerThatCannotBeTuned:
    def test_nobody_there(self, refused):
        said = refused("--url", "http://127.0.0.1:1", "--admin-token", "x", code=1)

        assert "cannot reach http://127.0.0.1:1" in said

    def test_without_an_administrator(self, refused, closed):
        assert "start it with --set admin.token=SECRET" in refused(*on(closed))

    def test_a_wrong_token(self, refused, server):
        assert "refused the admin token" in refused(*on(server, "wrong"))

    def test_no_token(self, refused, server):
        assert "give --admin-token" in refused("--url", server.url)

    def test_an_unknown_knob(self, refused, server):
        said = refused(*on(server), "--rate", "50", "--knob", "embed.batch.max_sise")

        assert "--knob embed.batch.max_sise: no such setting; did you mean embed.batch.max_size?" in said

    def test_a_knob_of_the_start(self, refused, server):
        said = refused(*on(server), "--rate", "50", "--knob", "embed.threads")

        assert "--knob embed.threads: takes effect at a start only; tune it with --launch" in said

    def test_a_knob_without_values(self, refused, server):
        assert "there is no list of values to try" in refused(
            *on(server), "--rate", "50", "--knob", "embed.max_texts"
        )


class TestATrace:
    def test_with_a_gap_says_where(self, refused, server):
        rows = [f"{0.01 * number:.2f}" for number in range(60)] + [f"{100 + 0.01 * n:.2f}" for n in range(60)]
        Path("day.csv").write_text("timestamp_s\n" + "\n".join(rows) + "\n")
        before = requests_of(server)
        said = refused(*on(server), "--trace", "day.csv", "--budget", "30m")

        assert "gap of 99.4 s" in said
        assert requests_of(server) == before

    def test_of_a_handful_of_requests(self, refused, server):
        Path("few.csv").write_text("timestamp_s\n0\n0.5\n1\n")

        assert "a trial of 3 requests tells nothing" in refused(*on(server), "--trace", "few.csv")


class TestALaunch:
    @pytest.fixture(autouse=True)
    def _knob_file(self):
        Path("knobs.toml").write_text(KNOBS)

    def test_of_a_program_that_does_not_exist(self, refused, free_url):
        said = refused(
            *("--url", free_url, "--task", "http", "--rate", "50", "--duration", "1s"),
            *("--knobs", "knobs.toml", "--launch", "no-such-program {workers}"),
        )

        assert "no-such-program cannot be run" in said

    def test_of_a_program_that_ends_at_once(self, refused, free_url):
        said = refused(
            *("--url", free_url, "--task", "http", "--rate", "50", "--duration", "1s"),
            *("--knobs", "knobs.toml", "--launch", f"{sys.executable} -c 'raise SystemExit(3)' {{workers}}"),
            code=1,
        )

        assert "ended with 3 before it was ready" in said

    def test_it_runs_when_it_is_asked_what_it_speaks(self, refused, free_url):
        """As without a task or a path in the URL."""
        script = Path(__file__).parents[1] / "tune/little_server.py"
        command = f"{sys.executable} -I -S {script} --port {{port}} --threads {{workers}}"
        said = refused(
            *("--url", free_url, "--rate", "50", "--duration", "1s", "--budget", "1s"),
            *("--knobs", "knobs.toml", "--launch", command),
        )

        assert "--budget 1s: with trials of 1 s a tune takes" in said

    def test_with_an_unknown_knob(self, refused, free_url):
        said = refused(
            *("--url", free_url, "--task", "http", "--rate", "50", "--knob", "threads"),
            *("--knobs", "knobs.toml", "--launch", "sleep {workers}"),
        )

        assert "--knob threads: not in knobs.toml, which has workers" in said


SHORT = [
    "--rate",
    "80",
    "--duration",
    "1s",
    "--knob",
    "embed.batch.adaptive",
    "--candidates",
    "1",
    "--max-runs",
    "4",
]


def test_a_tune_for_an_slo_out_of_reach(server, capsys):
    """Status 1, with the closest setting and what binds; nothing is written, and the server is as it was."""
    wish = ["--threshold", "p(95)<0.1", "--output", "report.json"]
    code = run(["tune", *on(server), *SHORT, "--blackbox", "--budget", "60s", *wish])

    told = " ".join(capsys.readouterr().out.split())
    report = decode(Path("report.json").read_bytes())
    assert (code, report.outcome) == (1, "infeasible")
    assert report.closest is not None
    assert "No setting holds the SLO. Closest is" in told
    assert "for a target of 0.1 ms" in told
    assert not Path("tuned.toml").exists()
    assert lease_of(server) is None


def lease_of(server):
    answer = httpx.get(f"{server.url}/admin/settings", headers={"authorization": "Bearer adm"})
    return answer.json()["lease"]


@pytest.mark.slow
def test_a_tune_that_writes_the_winner(server, capsys):
    """One knob, searched live: the wait that nobody needs goes, and everything is written down."""
    code = run(
        ["tune", *on(server), *SHORT, "--blackbox", "--json", "--budget", "60s", "--output", "page.html"]
    )

    told = capsys.readouterr()
    report = decode(told.out.encode())
    assert (code, report.outcome, report.winner) == (0, "written", {"embed.batch.adaptive": True}), told.err
    assert report.ab.change.high < 0
    assert report.written_to == "tuned.toml"
    assert tomllib.loads(Path("tuned.toml").read_text()) == {"embed": {"batch": {"adaptive": True}}}
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert "baseline" in told.err
    assert lease_of(server) is None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_tune_that_simulates_and_applies(state):
    """As a user starts it, on a server of its own; afterwards the server has what the report says."""
    settings = ("embed.batch.adaptive=false", "embed.batch.max_wait_ms=20", "admin.token=adm")
    with running(*settings, state_dir=state) as server:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "paceline.tune", *on(server), "--rate", "80", "--duration", "3s"),
                *("--budget", "2m", "--apply", "--output", "report.json"),
            ],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        report = decode(Path("report.json").read_bytes())
        answer = httpx.get(f"{server.url}/admin/settings", headers={"authorization": "Bearer adm"})
        now = {one["name"]: one["value"] for one in json.loads(answer.text)["settings"]}

    assert (done.returncode, report.outcome) == (0, "applied"), done.stdout + done.stderr
    assert {name: now[name] for name in report.winner} == report.winner
    assert report.predictions
    assert report.calibration is not None
    assert report.seconds < 150
