"""The demo is the first thing a user runs: it must end well, and say what it saw."""

from __future__ import annotations

import subprocess
import sys


def test_the_demo_embeds_a_corpus_searches_it_and_judges_the_server(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "paceline", "demo", "--seconds", "3", "--texts", "400", "--users", "4"),
            *("--set", f"serve.state_dir={tmp_path}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode in {0, 1}, done.stderr  # 1: a slow machine may miss a service level
    assert "400 glosses in" in done.stdout
    assert "a small boat ->" in done.stdout
    for row in ("p95 latency", "p99 latency", "errors", "cache hit rate", "queue depth", "CPU", "memory"):
        assert row in done.stdout
    assert "unknown" not in done.stdout
    assert "Traceback" not in done.stderr


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
