"""Who may die during a tune, and what is left behind."""

from __future__ import annotations

import subprocess
import sys

import pytest
from running import running

from paceline.app.tuning.admin import Admin
from paceline.tune.report import decode

SIZE = "embed.batch.max_size"

TUNER = """
import sys, tempfile
from pathlib import Path

from paceline.app.tuning.admin import Admin
from paceline.app.tuning.load import with_texts
from paceline.app.tuning.bench import LoadBench
from paceline.measure.plan import OpenLoop, Payload, Plan, Stage, Target
from paceline.measure.probe import name_model

(url,) = sys.argv[1:]
load = OpenLoop((Stage(60.0, 50.0),))
plan = name_model(Plan(Target(url + "/v1/embeddings"), load, Payload(task="embeddings")))
plan = with_texts(plan, Path(tempfile.mkdtemp()), (4, 8), None)
LoadBench(plan, Admin(url, "adm", lease_s=1.0)).run({"embed.batch.max_size": 2})
"""
"""A run of a minute on trial settings, whose lease is a second long."""


@pytest.fixture
def own_server(state_dir):
    with running("admin.token=adm", state_dir=state_dir) as started:
        yield started


@pytest.fixture
def size_of(own_server):
    admin = Admin(own_server.url, "adm")
    yield lambda: admin.settings()[SIZE]["value"]
    admin.close()


def test_a_tuner_killed_in_the_middle_of_a_trial_leaves_the_baseline(own_server, size_of, until, tmp_path):
    """The lease that nobody renews ends, and with it the trial."""
    tuner = subprocess.Popen(
        [sys.executable, "-c", TUNER, own_server.url], stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    until(lambda: size_of() == 2)
    tuner.kill()
    tuner.wait()
    until(lambda: size_of() == 32, limit_s=5.0)

    assert tuner.returncode == -9


def test_a_server_killed_during_a_trial_ends_the_tune_with_a_report(own_server, size_of, until, tmp_path):
    """Status 1, the run that failed in the report, and the reason on the terminal."""
    tuner = subprocess.Popen(
        [
            *(sys.executable, "-m", "paceline.tune", "--url", own_server.url, "--admin-token", "adm"),
            *("--rate", "60", "--duration", "2s", "--knob", SIZE, "--blackbox", "--max-runs", "7"),
            *("--output", "report.json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
    )
    until(lambda: size_of() != 32, limit_s=60.0)
    own_server.process.kill()
    said, _ = tuner.communicate(timeout=60)
    report = decode((tmp_path / "report.json").read_bytes())

    assert (tuner.returncode, report.outcome) == (1, "failed"), said
    assert (report.trials[0].setting, report.trials[0].failed) == ({}, "")
    assert report.trials[1].setting.keys() == {SIZE}
    assert report.trials[-1].failed
    assert report.why[0].startswith("Could not go on: ")
    assert report.why[0] in " ".join(said.split())
    assert not (tmp_path / "tuned.toml").exists()
