"""`paceline measure` against real servers: what is printed and written, and the exit status."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest
from reports import sample
from servers import serving

from paceline.base.slo import State
from paceline.cli import run
from paceline.cli.measure_run import exit_status, worse
from paceline.measure.report import LoadReport, decode


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("PACELINE_RUNS", str(tmp_path / "runs"))


@pytest.fixture(scope="module")
def server():
    with serving("ok") as running:
        yield running


def test_the_command_of_the_handbook(server, capsys):
    """`--requests 1000 --concurrency 50`; what the run was worth is told by the exit status and in words."""
    code = run(["measure", "--url", server.url, "--requests", "1000", "--concurrency", "50"])

    out, err = capsys.readouterr()
    assert code in {0, 3, 4}, out + err
    assert "1,000 sent" in out
    assert len(list(Path("runs").glob("*.records"))) == 1


def test_a_collection_is_asked_for_the_neighbours_of_each_row(vectors_server, capsys):
    """`--task vectors` with a `.npy` file; rate, percentiles and errors as of any other load."""
    rows = np.random.default_rng(2).standard_normal((300, 8)).astype("<f4")
    np.save("queries.npy", rows)
    vectors = [{"id": str(at), "values": row.tolist()} for at, row in enumerate(rows)]
    with httpx.Client(base_url=f"{vectors_server}/v1", timeout=60) as caller:
        caller.post("/collections", json={"name": "measured", "dimension": 8})
        caller.post("/collections/measured/vectors/upsert", json={"vectors": vectors})
    url = f"{vectors_server}/v1/collections/measured/query"
    run(
        [
            *("measure", "--url", url, "--task", "vectors", "--body-file", "queries.npy"),
            *("--requests", "300", "--concurrency", "2", "--json"),
        ]
    )

    report = decode(capsys.readouterr().out.encode())
    assert (report.statuses, report.plan.payload.task) == ({"200": 300}, "vectors")


def test_it_is_a_module_too(server):
    done = subprocess.run(
        [sys.executable, "-m", "paceline.measure", "--url", server.url, "--requests", "20", "--json"],
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert decode(done.stdout).sent == 20, done.stderr


def test_reports_are_written_where_they_are_wanted(server, capsys):
    outputs = ["page.html", "report.json", "table.csv", "ci.xml"]
    arguments = [word for name in outputs for word in ("--output", name)]

    run(["measure", "--url", server.url, "--requests", "50", "--records", "a.records", *arguments])

    assert decode(Path("report.json").read_bytes()).done == 50
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert "at_s" in Path("table.csv").read_text()
    assert "<testsuite" in Path("ci.xml").read_text()
    assert Path("a.records").stat().st_size > 50


def test_json_is_all_there_is_on_standard_output(server, capsys):
    run(["measure", "--url", server.url, "--requests", "50", "--json", "--threshold", "errors<=0%"])

    report = decode(capsys.readouterr().out.encode())
    assert report.statuses == {"200": 50}
    assert [row.name for row in report.slo] == ["error_percent"]


def test_no_token_is_written_down(server, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "hush-hush")

    run(
        [
            "measure",
            "--url",
            server.url,
            "--requests",
            "5",
            "--output",
            "report.json",
            "--output",
            "page.html",
        ]
    )

    assert "hush-hush" not in "".join(capsys.readouterr())
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"hush-hush" in path.read_bytes()]
    assert kept == []


def test_a_server_that_answers_only_failures_is_left_in_peace(capsys):
    """The first request already says so; with --keep-going it is measured all the same."""
    with serving("status", status=503) as server:
        code = run(["measure", "--url", f"{server.url}x", "--requests", "500"])
        asked = server.requests_seen
        error = capsys.readouterr().err
        kept = run(["measure", "--url", f"{server.url}x", "--requests", "500", "--keep-going", "--json"])
        report = decode(capsys.readouterr().out.encode())

    assert (code, asked) == (1, 1)
    assert "answered 503" in error
    assert (report.sent, report.failed) == (500, 500)
    assert kept in {2, 3, 4}


def test_an_interrupted_run_is_reported(server):
    command = [sys.executable, "-m", "paceline.measure", "--url", f"{server.url}x", "--json", "--rate", "100"]
    before = server.requests_seen

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while server.requests_seen < before + 30:
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    report = decode(out)
    assert (process.returncode, report.ended, err.count(b"Traceback")) == (130, "interrupted", 0)
    assert report.done > 0


def test_a_run_is_compared_with_an_earlier_one_of_its_name(server, capsys):
    arguments = ["measure", "--url", f"{server.url}x", "--rate", "200", "--duration", "1s", "--name", "v1"]
    run(arguments)
    capsys.readouterr()

    run([*arguments, "--baseline", "v1"])

    out, err = capsys.readouterr()
    assert "p95 latency" in out.split("differences within 5 %")[-1] or "not compared" in err


def test_nobody_there_is_one_line(capsys):
    code = run(["measure", "--url", "http://127.0.0.1:1", "--requests", "5"])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert "cannot reach 127.0.0.1:1" in err
    assert "Traceback" not in err


def test_phases_have_files_of_their_own(server, capsys):
    Path("two.toml").write_text(
        """
        name = "two"
        [[phase]]
        name = "Warm up!"
        executor = "shared-iterations"
        vus = 1
        iterations = 5
        [[phase]]
        name = "errors"
        kind = "errors"
        """
    )

    run(
        ["measure", "--url", f"{server.url}x", "--scenario", "two.toml", "--output", "r.json", "--keep-going"]
    )

    assert decode(Path("r-warm-up.json").read_bytes()).plan.name == "two Warm up!"
    assert "wrong path" in capsys.readouterr().out


def test_a_phase_that_crosses_a_critical_level_ends_the_scenario(server, capsys):
    Path("two.toml").write_text(
        """
        name = "two"
        thresholds = ["rate>1000000000|999999999"]
        [[phase]]
        name = "one"
        executor = "shared-iterations"
        vus = 1
        iterations = 5
        [[phase]]
        name = "another"
        executor = "shared-iterations"
        vus = 1
        iterations = 5
        """
    )

    code = run(["measure", "--url", f"{server.url}x", "--scenario", "two.toml"])

    assert code in {2, 3}
    assert "left out two another: two one ended with status" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--url is missing, such as --url http://localhost:8080"),
        (["--url", "http://a", "--output", "no/such/r.json"], "no folder no/such that can be written to"),
        (
            ["--url", "http://a", "--output", "r.pdf"],
            "expected a file that ends in .html, .json, .csv or .xml",
        ),
        (["--url", "http://a", "--output", "pdf=r.html"], "expected a file that ends in"),
        (["--url", "http://a", "--records", "there"], "--records there: is there already"),
        (["--url", "http://a", "--baseline", "none"], "no run 'none'"),
        (["--url", "http://a", "--rate", "5", "--concurrency", "5"], "do not go together"),
        (["--print"], "--print what? add --scenario with one of smoke, baseline"),
        (["--print", "--scenario", "spikes"], "did you mean spike?"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_sent(arguments, message, capsys):
    Path("there").touch()

    code = run(["measure", *arguments])

    error = capsys.readouterr().err
    assert code == 2, error
    assert message in error
    assert error.count("\n") == 1


def test_presets_are_listed_and_printed(capsys):
    assert run(["measure", "--list-scenarios"]) == 0
    listed = capsys.readouterr().out
    assert run(["measure", "--scenario", "spike", "--print"]) == 0
    Path("mine.toml").write_text(capsys.readouterr().out)

    assert [line.split()[0] for line in listed.splitlines()][:2] == ["smoke", "baseline"]
    assert run(["measure", "--url", "http://a/x", "--scenario", "mine.toml", "--export", "k6"]) == 0
    assert '"executor": "ramping-arrival-rate"' in capsys.readouterr().out


def test_an_export_sends_nothing(capsys, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "hush")

    code = run(["measure", "--url", "http://127.0.0.1:1", "--rate", "5", "--export", "k6"])

    out, err = capsys.readouterr()
    assert (code, "hush" in out) == (0, False)
    assert "the script asks GET /" in err


def test_the_exit_status_of_how_it_ended():
    assert exit_status(ok()) == 0
    assert exit_status(ok(ended="interrupted")) == 130


def ok(**changes) -> LoadReport:
    report = sample(**changes)
    rows = [msgspec.structs.replace(row, state="ok") for row in report.slo]
    validity = msgspec.structs.replace(report.validity, state="VALID")
    return msgspec.structs.replace(report, slo=rows, validity=validity)


@pytest.mark.parametrize(
    ("validity", "states", "asked", "status"),
    [
        ("VALID", ["ok", "warning"], True, 1),
        ("VALID", ["warning", "critical"], True, 2),
        ("VALID", ["ok", "unknown"], True, 4),
        ("VALID", ["ok", "unknown"], False, 0),
        ("INVALID", ["critical"], True, 3),
        ("INCONCLUSIVE", ["ok"], True, 4),
        ("INCONCLUSIVE", ["warning"], True, 1),
        ("INCONCLUSIVE", ["critical"], True, 2),
    ],
)
def test_the_exit_status_of_what_was_found(validity, states: list[State], asked, status):
    report = ok()
    rows = [msgspec.structs.replace(report.slo[0], state=state) for state in states]
    thresholds = ("p(95)<300",) if asked else ()
    report = msgspec.structs.replace(
        report,
        slo=rows,
        validity=msgspec.structs.replace(report.validity, state=validity),
        plan=msgspec.structs.replace(report.plan, thresholds=thresholds),
    )

    assert exit_status(report) == status


def test_of_several_phases_the_worst_counts():
    assert [worse(0, 4), worse(4, 1), worse(1, 2), worse(3, 2), worse(130, 3)] == [4, 1, 2, 3, 130]


def test_help_needs_nothing_heavy():
    script = (
        "import sys; from paceline.cli import run; run(['measure', '--help']); "
        "print(*(name for name in ('numpy', 'httpx', 'rich.live', 'uvicorn', 'psutil', 'asyncio') "
        "if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )

    assert "--requests" in done.stdout
    assert done.stderr.split() == []
