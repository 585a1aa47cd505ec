"""Going first on a shared core."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from paceline.measure.engine import promptness

ASK = """
import os, sys
from paceline.measure.engine.promptness import run_promptly
before = os.getpriority(os.PRIO_PROCESS, 0)
agreed = run_promptly(paced=sys.argv[1] == "paced")
print(agreed, os.getpriority(os.PRIO_PROCESS, 0) - before, os.sched_getscheduler(0))
"""


def ask(how: str) -> list[str]:
    """In a process of its own: what is asked for stays."""
    return subprocess.run(
        [sys.executable, "-c", ASK, how], capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="needs sched_setattr")
def test_the_kernel_agrees_and_the_policy_stays():
    agreed, nicer, policy = ask("unpaced")

    assert agreed == str(promptness.platform.machine() in promptness._NUMBERS)
    assert (int(nicer), int(policy)) == (0, os.SCHED_OTHER)


@pytest.mark.skipif(sys.platform != "linux", reason="needs sched_setattr")
def test_a_paced_load_is_nicer_to_itself_where_it_may_be():
    _, nicer, policy = ask("paced")

    assert int(nicer) in ({promptness.NICE} if os.geteuid() == 0 else {0, promptness.NICE})
    assert int(policy) == os.SCHED_OTHER
