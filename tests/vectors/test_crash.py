"""A killed process loses nothing that it acknowledged; the benchmark does it a hundred times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_was_acknowledged_survives_kills_at_random_moments() -> None:
    command = [sys.executable, "-m", "benchmarks.vectors_crash", "--kills", "5", "--longest-s", "0.3"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "5 kills" in done.stdout
    assert "0 lost" in done.stdout
