"""The demo is the first thing a user runs: it must end well, and say what it saw."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from rich.console import Console

from paceline.cli.demo_tune import GUIDE, guide_for, show_tune
from paceline.settings import load
from paceline.tune.simulation import fleet


def test_the_demo_embeds_a_corpus_searches_it_and_judges_the_server(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "paceline", "demo", "--seconds", "3", "--texts", "400", "--users", "4"),
            "--no-tune",
            *("--set", f"serve.state_dir={tmp_path}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode in {0, 1}, done.stderr  # 1: a slow machine may miss a service level
    assert "400 glosses in" in done.stdout
    assert "400 of them in a collection" in done.stdout
    assert "a small boat ->" in done.stdout
    assert "300 queries by vector: p50" in done.stdout
    for row in ("p95 latency", "p99 latency", "errors", "cache hit rate", "queue depth", "CPU", "memory"):
        assert row in done.stdout
    assert "unknown" not in done.stdout
    assert "Tuning" not in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_ends_with_a_tune_of_its_server_and_tells_nobody_the_token(tmp_path):
    """The verdict is the tuner's own, so either one will do; what it rests on is shown."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "paceline", "demo", "--seconds", "1", "--texts", "100", "--users", "2"),
            *("--set", f"serve.state_dir={tmp_path}"),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path), "PACELINE_ADMIN__TOKEN": "hush-hush"},
    )

    assert done.returncode in {0, 1}, done.stderr
    assert "BATCH_FLUSH_TIMEOUT_MS=10" in done.stdout
    assert "baseline: p95" in done.stderr
    assert any(line.startswith(("WRITTEN", "KEPT", "INFEASIBLE")) for line in done.stdout.splitlines())
    (page,) = tmp_path.glob("paceline-demo-*/tune.html")
    assert str(page) in done.stdout
    assert "hush" not in done.stdout + done.stderr + page.read_text("utf-8")
    assert "Traceback" not in done.stderr


def test_a_tune_that_would_take_minutes_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(fleet, "COMPILES", False)

    assert 0 == show_tune(Console(), "http://127.0.0.1:1", "token", load())
    assert "pip install 'paceline[tune]'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sets", "changed"), [((), GUIDE), (("embed.threads=1",), GUIDE), (("embed.batch.max_size=8",), {})]
)
def test_settings_that_the_user_chose_are_tuned_as_they_are(sets, changed):
    assert changed == guide_for(load(sets=sets))


def test_the_guide_says_what_the_sources_variables_say():
    """`BATCH_MAX_SIZE=64` and `BATCH_FLUSH_TIMEOUT_MS=10` as this server understands them, and waiting by count."""
    meant = load(environ={"BATCH_MAX_SIZE": "64", "BATCH_FLUSH_TIMEOUT_MS": "10"}).settings.embed.batch

    assert GUIDE == {
        "embed.batch.max_size": meant.max_size,
        "embed.batch.max_wait_ms": meant.max_wait_ms,
        "embed.batch.adaptive": False,
    }


def test_a_wrong_number_is_refused_in_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "paceline", "demo", "--users", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 2 == done.returncode
    assert "--users 0" in done.stderr
    assert 1 == done.stderr.count("\n")
